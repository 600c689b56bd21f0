/** Just enough CBOR (RFC 8949) to write CoRIMs in tests, by itself so that it is no echo of the reader. */
export type CborItem =
  | number
  | string
  | Uint8Array
  | readonly CborItem[]
  | ReadonlyMap<number | string, CborItem>
  | { readonly tag: number; readonly value: CborItem }

export function cbor(item: CborItem): Uint8Array {
  if (typeof item === 'number') return item < 0 ? head(1, -1 - item) : head(0, item)
  if (typeof item === 'string') return withHead(3, Buffer.from(item))
  if (item instanceof Uint8Array) return withHead(2, item)
  if (Array.isArray(item)) return Buffer.concat([head(4, item.length), ...item.map(cbor)])
  if (item instanceof Map) {
    const entries = [...item] as [number | string, CborItem][]
    return Buffer.concat([
      head(5, entries.length),
      ...entries.flatMap(([key, value]) => [cbor(key), cbor(value)]),
    ])
  }
  const { tag, value } = item as { readonly tag: number; readonly value: CborItem }
  return Buffer.concat([head(6, tag), cbor(value)])
}

export const map = (...entries: [number | string, CborItem][]) => new Map(entries)
export const tagged = (tag: number, value: CborItem) => ({ tag, value })

function withHead(major: number, content: Uint8Array): Uint8Array {
  return Buffer.concat([head(major, content.length), content])
}

function head(major: number, value: number): Buffer {
  if (value < 24) return Buffer.from([(major << 5) | value])
  if (value < 0x100) return Buffer.from([(major << 5) | 24, value])
  const bytes = Buffer.alloc(value < 0x10000 ? 3 : 5)
  bytes[0] = (major << 5) | (value < 0x10000 ? 25 : 26)
  if (value < 0x10000) bytes.writeUInt16BE(value, 1)
  else bytes.writeUInt32BE(value, 1)
  return bytes
}
