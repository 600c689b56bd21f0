/** DER (X.690), written by hand so that tests can also write what a library would refuse to. */

/** One element: identifier octet, shortest length, content. */
export function tlv(tag: number, ...contents: readonly Uint8Array[]): Uint8Array {
  const content = Buffer.concat(contents)
  return Buffer.concat([Uint8Array.of(tag), lengthOctets(content.length), content])
}

function lengthOctets(length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(length)
  const hex = length.toString(16)
  const octets = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex')
  return Buffer.concat([Uint8Array.of(0x80 | octets.length), octets])
}

export function sequence(...items: readonly Uint8Array[]): Uint8Array {
  return tlv(0x30, ...items)
}

export function set(...items: readonly Uint8Array[]): Uint8Array {
  return tlv(0x31, ...items)
}

/** `[number] EXPLICIT`. */
export function explicit(number: number, ...items: readonly Uint8Array[]): Uint8Array {
  return tlv(0xa0 | number, ...items)
}

/** A non-negative INTEGER in its shortest form. */
export function integer(value: number | bigint): Uint8Array {
  const hex = value.toString(16)
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex')
  const sign = (bytes[0] ?? 0) >= 0x80 ? Uint8Array.of(0) : new Uint8Array()
  return tlv(0x02, sign, bytes)
}

/** An INTEGER with the given content octets, sign octet included. */
export function integerOctets(octets: Uint8Array): Uint8Array {
  return tlv(0x02, octets)
}

export function boolean(value: boolean): Uint8Array {
  return tlv(0x01, Uint8Array.of(value ? 0xff : 0))
}

export function nullValue(): Uint8Array {
  return tlv(0x05)
}

export function octetString(bytes: Uint8Array): Uint8Array {
  return tlv(0x04, bytes)
}

/** A BIT STRING; `unused` bits of the last byte are not part of it. */
export function bitString(bytes: Uint8Array, unused = 0): Uint8Array {
  return tlv(0x03, Uint8Array.of(unused), bytes)
}

export function utf8String(text: string): Uint8Array {
  return tlv(0x0c, Buffer.from(text, 'utf8'))
}

export function printableString(text: string): Uint8Array {
  return tlv(0x13, Buffer.from(text, 'latin1'))
}

export function ia5String(text: string): Uint8Array {
  return tlv(0x16, Buffer.from(text, 'latin1'))
}

/** An OBJECT IDENTIFIER from its dotted form. */
export function oid(dotted: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  return tlv(0x06, Uint8Array.from([first * 40 + second, ...rest].flatMap(base128)))
}

function base128(arc: number): number[] {
  const digits = [arc % 128]
  for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128))
    digits.unshift(128 + (left % 128))
  return digits
}

/** UTCTime before 2050, GeneralizedTime from then on (RFC 5280 §4.1.2.5). Whole seconds. */
export function time(at: Date): Uint8Array {
  const digits = at.toISOString().replace(/[-:T]/g, '').slice(0, 14)
  if (at.getUTCFullYear() < 2050) return tlv(0x17, Buffer.from(`${digits.slice(2)}Z`, 'latin1'))
  return tlv(0x18, Buffer.from(`${digits}Z`, 'latin1'))
}
