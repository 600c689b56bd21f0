/**
 * A strict reader of DER (X.690): definite lengths in the shortest form, low tag numbers, no bytes left over.
 * Evidence is signed bytes; a lenient reader would let two parties read the same bytes differently.
 */

/** Bytes that are not DER, or not the DER that was asked for. Callers turn it into their own reason code. */
export class DerError extends Error {
  override readonly name = 'DerError'
}

/** Identifier octets of the types used in certificates and CRLs. */
export const derTag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  printableString: 0x13,
  teletexString: 0x14,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
} as const

/** Identifier octet of context tag `[number]`, constructed (EXPLICIT, or IMPLICIT over SEQUENCE/SET). */
export function contextTag(number: number): number {
  return 0xa0 | number
}

/** Identifier octet of context tag `[number]` IMPLICIT over a primitive type. */
export function contextPrimitiveTag(number: number): number {
  return 0x80 | number
}

/** One tag-length-value. All arrays are views into the input, not copies. */
export interface DerElement {
  /** The whole identifier octet (class, constructed bit and number). */
  readonly tag: number
  readonly content: Uint8Array
  /** Identifier, length and content octets. */
  readonly raw: Uint8Array
}

/** Reads consecutive elements from `bytes`. */
export class DerReader {
  readonly #bytes: Uint8Array
  #offset = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get done(): boolean {
    return this.#offset >= this.#bytes.length
  }

  /** The identifier octet of the next element, or undefined at the end. */
  peekTag(): number | undefined {
    return this.#bytes[this.#offset]
  }

  /** The next element; with `tag`, it must have that identifier octet. */
  next(tag?: number): DerElement {
    const start = this.#offset
    const found = this.#byte()
    if ((found & 0x1f) === 0x1f) throw new DerError('high tag number')
    if (tag !== undefined && found !== tag) {
      throw new DerError(`expected tag 0x${tag.toString(16)}, found 0x${found.toString(16)}`)
    }
    const length = this.#length()
    const from = this.#offset
    const to = from + length
    if (to > this.#bytes.length) throw new DerError('length past the end')
    this.#offset = to
    return { tag: found, content: this.#bytes.subarray(from, to), raw: this.#bytes.subarray(start, to) }
  }

  /** The next element when it has the identifier octet `tag`, else undefined. */
  optional(tag: number): DerElement | undefined {
    return this.peekTag() === tag ? this.next() : undefined
  }

  /** Demands that nothing is left. */
  end(): void {
    if (!this.done) throw new DerError('trailing bytes')
  }

  #byte(): number {
    const byte = this.#bytes[this.#offset]
    if (byte === undefined) throw new DerError('truncated')
    this.#offset += 1
    return byte
  }

  #length(): number {
    const first = this.#byte()
    if (first < 0x80) return first
    const count = first & 0x7f
    if (count === 0 || count > 4) throw new DerError('indefinite or oversized length')
    let length = 0
    for (let index = 0; index < count; index += 1) length = length * 256 + this.#byte()
    if (length < 0x80 || length < 256 ** (count - 1)) throw new DerError('length not in shortest form')
    return length
  }
}

/** Reads exactly one element; with `tag`, of that type. Trailing bytes are an error. */
export function readDer(bytes: Uint8Array, tag?: number): DerElement {
  const reader = new DerReader(bytes)
  const element = reader.next(tag)
  reader.end()
  return element
}

/** A reader over the content of a constructed element. */
export function readerOf(element: DerElement): DerReader {
  if ((element.tag & 0x20) === 0) throw new DerError('not a constructed element')
  return new DerReader(element.content)
}

/** All elements inside a constructed element. */
export function derChildren(element: DerElement): DerElement[] {
  const reader = readerOf(element)
  const children: DerElement[] = []
  while (!reader.done) children.push(reader.next())
  return children
}

/** Content octets of an INTEGER, checked to be of the shortest form. Big endian, two's complement. */
export function derIntegerBytes(element: DerElement, tag: number = derTag.integer): Uint8Array {
  expectTag(element, tag)
  const [first, second] = element.content
  if (first === undefined) throw new DerError('empty integer')
  if (second !== undefined && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80))) {
    throw new DerError('integer not in shortest form')
  }
  return element.content
}

/** A non-negative INTEGER of at most `Number.MAX_SAFE_INTEGER`. `tag` for IMPLICIT tagging or ENUMERATED. */
export function derUnsigned(element: DerElement, tag: number = derTag.integer): number {
  const bytes = derIntegerBytes(element, tag)
  if ((bytes[0] ?? 0) >= 0x80) throw new DerError('negative integer')
  let value = 0
  for (const byte of bytes) {
    value = value * 256 + byte
    if (!Number.isSafeInteger(value)) throw new DerError('integer too large')
  }
  return value
}

/** BOOLEAN: 0x00 or 0xFF, nothing else. */
export function derBoolean(element: DerElement): boolean {
  expectTag(element, derTag.boolean)
  const [value, more] = element.content
  if (more !== undefined || (value !== 0 && value !== 0xff)) throw new DerError('not a DER boolean')
  return value === 0xff
}

/** OBJECT IDENTIFIER in dotted form. */
export function derOid(element: DerElement): string {
  expectTag(element, derTag.oid)
  const arcs: number[] = []
  let arc = 0
  let begun = false
  for (const byte of element.content) {
    if (!begun && byte === 0x80) throw new DerError('object identifier not in shortest form')
    arc = arc * 128 + (byte & 0x7f)
    if (!Number.isSafeInteger(arc)) throw new DerError('object identifier arc too large')
    begun = byte >= 0x80
    if (begun) continue
    if (arcs.length === 0) {
      const root = Math.min(Math.floor(arc / 40), 2)
      arcs.push(root, arc - root * 40)
    } else {
      arcs.push(arc)
    }
    arc = 0
  }
  if (begun || arcs.length === 0) throw new DerError('truncated object identifier')
  return arcs.join('.')
}

/** BIT STRING of whole bytes (no unused bits), as keys and signatures are. */
export function derBitStringBytes(element: DerElement): Uint8Array {
  expectTag(element, derTag.bitString)
  if (element.content[0] !== 0) throw new DerError('bit string with unused bits')
  return element.content.subarray(1)
}

/**
 * Named bits of a BIT STRING such as keyUsage: bit 0 is the most significant bit of the first byte.
 * Unused bits must be zero.
 */
export function derNamedBits(element: DerElement): (bit: number) => boolean {
  expectTag(element, derTag.bitString)
  const unused = element.content[0] ?? 8
  const bits = element.content.subarray(1)
  const last = bits.at(-1) ?? 0
  if (unused > 7 || (bits.length === 0 && unused !== 0) || (last & ((1 << unused) - 1)) !== 0) {
    throw new DerError('malformed bit string')
  }
  return (bit) => ((bits[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0
}

/** Content of an OCTET STRING. */
export function derOctets(element: DerElement): Uint8Array {
  expectTag(element, derTag.octetString)
  return element.content
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Text of a UTF8String, PrintableString, IA5String or TeletexString (read as Latin-1). */
export function derText(element: DerElement): string {
  const { tag, content } = element
  if (tag === derTag.utf8String) {
    try {
      return utf8.decode(content)
    } catch (cause) {
      throw new DerError('invalid UTF-8', { cause })
    }
  }
  if (tag !== derTag.printableString && tag !== derTag.ia5String && tag !== derTag.teletexString) {
    throw new DerError(`tag 0x${tag.toString(16)} is not a text`)
  }
  if (tag !== derTag.teletexString && content.some((byte) => byte > 0x7f)) throw new DerError('not ASCII')
  return String.fromCharCode(...content)
}

const utcTime = /^(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/
const generalizedTime = /^(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/

/** UTCTime or GeneralizedTime in the forms of RFC 5280 §4.1.2.5: seconds present, zone `Z`, no fraction. */
export function derTime(element: DerElement): Date {
  const isUtc = element.tag === derTag.utcTime
  if (!isUtc) expectTag(element, derTag.generalizedTime)
  const match = (isUtc ? utcTime : generalizedTime).exec(String.fromCharCode(...element.content))
  if (match === null) throw new DerError('malformed time')
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1).map(Number)
  const fullYear = isUtc ? (year < 50 ? 2000 + year : 1900 + year) : year
  const time = new Date(Date.UTC(fullYear, month - 1, day, hour, minute, second))
  // Date.UTC carries 32 January over to February and moves years below 100; a valid date comes back unchanged.
  const same =
    time.getUTCFullYear() === fullYear &&
    time.getUTCMonth() === month - 1 &&
    time.getUTCDate() === day &&
    time.getUTCHours() === hour &&
    time.getUTCMinutes() === minute &&
    time.getUTCSeconds() === second
  if (!same) throw new DerError('no such time')
  return time
}

function expectTag(element: DerElement, tag: number): void {
  if (element.tag !== tag) {
    throw new DerError(`expected tag 0x${tag.toString(16)}, found 0x${element.tag.toString(16)}`)
  }
}
