/**
 * Encodings within inputs: evidence is JSON with hexadecimal, base64 or arrays of bytes in it, tokens are base64url of
 * JSON, certificates are nested DER. A layer is a part of an input that stands for other bytes; changing those, and
 * encoding them again, gets past what only checks the outer form.
 */
import type { Random } from './random.ts'

export interface Layer {
  readonly content: Buffer
  /** The whole input with `content` in place of the old. */
  encode(content: Buffer): Buffer
}

/** A random layer of `bytes`; undefined when there is none. */
export function pickLayer(bytes: Buffer, random: Random): Layer | undefined {
  const first = bytes[0]
  if (first === 0x30 || first === 0x31) {
    const der = derLayer(bytes, random)
    if (der !== undefined) return der
  }
  const text = bytes.toString('latin1')
  const layers = [
    ...spans(text, /"(?:[^"\\]|\\.){2,}"/g, quotedLayer),
    ...spans(text, /\[(?:\s*\d{1,3}\s*,)+\s*\d{1,3}\s*\]/g, byteArrayLayer),
    ...spans(text, /-----BEGIN [A-Z0-9 ]+-----\s*[A-Za-z0-9+/=\s]+/g, pemLayer),
    ...spans(text, /(?<![\w"+/=-])[\w-]{16,}(?=\.|$)/g, base64UrlLayer),
  ]
  if (layers.length === 0) return undefined
  const { match, at, decode } = random.pick(layers)
  const layer = decode(match)
  if (layer === undefined) return undefined
  return {
    content: layer.content,
    encode: (content) =>
      Buffer.concat([
        bytes.subarray(0, at),
        Buffer.from(layer.encode(content), 'latin1'),
        bytes.subarray(at + match.length),
      ]),
  }
}

interface Decoded {
  readonly content: Buffer
  encode(content: Buffer): string
}

type Decode = (match: string) => Decoded | undefined

function spans(
  text: string,
  pattern: RegExp,
  decode: Decode,
): { match: string; at: number; decode: Decode }[] {
  return [...text.matchAll(pattern)].map((match) => ({ match: match[0], at: match.index, decode }))
}

function quotedLayer(match: string): Decoded | undefined {
  const inner = match.slice(1, -1)
  const plain = simpleLayer(inner)
  if (plain !== undefined) return { content: plain.content, encode: (bytes) => `"${plain.encode(bytes)}"` }
  try {
    // a string of any other text: JSON or PEM within JSON
    const content = Buffer.from(String(JSON.parse(match)))
    return {
      content,
      encode: (bytes) => Buffer.from(JSON.stringify(bytes.toString('utf8'))).toString('latin1'),
    }
  } catch {
    return undefined
  }
}

function simpleLayer(text: string): Decoded | undefined {
  if (/^([0-9a-f]{2})+$/i.test(text)) {
    return { content: Buffer.from(text, 'hex'), encode: (bytes) => bytes.toString('hex') }
  }
  if (text.length < 8) return undefined
  if (/^[A-Za-z0-9+/]+={0,2}$/.test(text) && text.length % 4 === 0) {
    return { content: Buffer.from(text, 'base64'), encode: (bytes) => bytes.toString('base64') }
  }
  return /^[\w-]+$/.test(text) ? base64UrlLayer(text) : undefined
}

function base64UrlLayer(text: string): Decoded {
  return { content: Buffer.from(text, 'base64url'), encode: (bytes) => bytes.toString('base64url') }
}

function byteArrayLayer(match: string): Decoded {
  const content = Buffer.from(match.slice(1, -1).split(',').map(Number))
  return { content, encode: (bytes) => `[${bytes.join(',')}]` }
}

function pemLayer(match: string): Decoded {
  const [head = '', ...lines] = match.split('\n')
  const content = Buffer.from(lines.join(''), 'base64')
  return { content, encode: (bytes) => `${head}\n${bytes.toString('base64').replace(/.{64}/g, '$&\n')}\n` }
}

interface Element {
  /** Where its header begins, its content begins, and it ends. */
  readonly start: number
  readonly content: number
  readonly end: number
  readonly parent: Element | undefined
}

/** The content of a DER element; with the lengths of what is around it kept right. */
function derLayer(bytes: Buffer, random: Random): Layer | undefined {
  const elements: Element[] = []
  collectElements(bytes, 0, bytes.length, undefined, elements, 0)
  if (elements.length === 0) return undefined
  const chosen = random.pick(elements)
  return {
    content: Buffer.from(bytes.subarray(chosen.content, chosen.end)),
    encode: (content) => rebuilt(bytes, chosen, content),
  }
}

function collectElements(
  bytes: Buffer,
  from: number,
  to: number,
  parent: Element | undefined,
  elements: Element[],
  depth: number,
): void {
  let at = from
  while (at + 2 <= to && elements.length < 2000) {
    const content = at + 2 + ((bytes[at + 1] ?? 0) > 0x80 ? (bytes[at + 1] ?? 0) & 0x7f : 0)
    if (content > to || content - at > 6) return
    const length = content === at + 2 ? (bytes[at + 1] ?? 0) : bytes.readUIntBE(at + 2, content - at - 2)
    const end = content + length
    if (end > to) return
    const element: Element = { start: at, content, end, parent }
    elements.push(element)
    const constructed = ((bytes[at] ?? 0) & 0x20) !== 0
    const wraps = bytes[at] === 0x04 && length > 2
    if ((constructed || wraps) && depth < 16) {
      collectElements(bytes, content, end, element, elements, depth + 1)
    }
    at = end
  }
}

function rebuilt(bytes: Buffer, element: Element, content: Buffer): Buffer {
  let inner = Buffer.concat([header(bytes[element.start] ?? 0, content.length), content])
  let { start, end } = element
  for (let parent = element.parent; parent !== undefined; parent = parent.parent) {
    const body = Buffer.concat([
      bytes.subarray(parent.content, start),
      inner,
      bytes.subarray(end, parent.end),
    ])
    inner = Buffer.concat([header(bytes[parent.start] ?? 0, body.length), body])
    ;({ start, end } = parent)
  }
  return Buffer.concat([bytes.subarray(0, start), inner, bytes.subarray(end)])
}

function header(tag: number, length: number): Buffer {
  if (length < 0x80) return Buffer.from([tag, length])
  const size = length < 0x100 ? 1 : length < 0x1_0000 ? 2 : length < 0x100_0000 ? 3 : 4
  const bytes = Buffer.alloc(2 + size)
  bytes[0] = tag
  bytes[1] = 0x80 | size
  bytes.writeUIntBE(length, 2, size)
  return bytes
}
