import { decode } from 'cborg'

/** A CBOR item with its tag (RFC 8949 §3.4). */
export class Tagged {
  readonly tag: number
  readonly value: unknown
  constructor(tag: number, value: unknown) {
    this.tag = tag
    this.value = value
  }
}

/** Keeps every tag, known or not, so that who reads decides what it means. */
const keepTags = new Proxy<Record<number, (content: () => unknown) => Tagged>>(
  {},
  { get: (_, tag) => (content: () => unknown) => new Tagged(Number(tag), content()) },
)

/**
 * Decodes one CBOR item: maps become `Map`, tags `Tagged`. Duplicate keys, trailing bytes, undefined, NaN and infinities
 * are refused. Throws whatever the decoder throws.
 */
export function decodeCbor(bytes: Uint8Array): unknown {
  return decode(bytes, {
    useMaps: true,
    tags: keepTags,
    rejectDuplicateMapKeys: true,
    allowUndefined: false,
    allowNaN: false,
    allowInfinity: false,
  })
}
