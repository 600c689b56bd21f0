/** Bytes as text: hexadecimal, base64 and base64url, decoded strictly (spec 03 §2.4.4-5, spec 01 §3.2). */

/** The text is not in the encoding that it should be in. The message never repeats the text. */
export class EncodingError extends Error {
  override readonly name = 'EncodingError'
}

/** Decodes an even number of hexadecimal digits of either case, without prefix or separators. */
export function decodeHex(text: string): Uint8Array {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) throw new EncodingError('not hexadecimal')
  return bytesOf(text, 'hex')
}

/** Writes lower-case hexadecimal. */
export function encodeHex(bytes: Uint8Array): string {
  return bufferOf(bytes).toString('hex')
}

/** Decodes standard base64 (RFC 4648 §4): padding required, unused bits zero, no white space. */
export function decodeBase64(text: string): Uint8Array {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw new EncodingError('not base64')
  return canonicalBytes(text, 'base64', 'base64')
}

/** Writes standard base64 with padding. */
export function encodeBase64(bytes: Uint8Array): string {
  return bufferOf(bytes).toString('base64')
}

/**
 * Decodes base64url (RFC 4648 §5) with or without padding. Padding, where there is any, must be complete; unused bits
 * must be zero; no white space (spec 03 §2.4.5).
 */
export function decodeBase64Url(text: string): Uint8Array {
  const padding = text.indexOf('=')
  if (padding === -1) return decodeBase64UrlNoPad(text)
  if (text.length % 4 !== 0 || !/^={1,2}$/.test(text.slice(padding))) {
    throw new EncodingError('not base64url')
  }
  return decodeBase64UrlNoPad(text.slice(0, padding))
}

/** Decodes base64url that must not have padding, as JOSE and the members of a JWE have it. */
export function decodeBase64UrlNoPad(text: string): Uint8Array {
  if (text.length % 4 === 1 || !/^[A-Za-z0-9_-]*$/.test(text)) throw new EncodingError('not base64url')
  return canonicalBytes(text, 'base64url', 'base64url')
}

/** Writes base64url without padding. */
export function encodeBase64Url(bytes: Uint8Array): string {
  return bufferOf(bytes).toString('base64url')
}

/** Writes UTF-8. */
export function encodeUtf8(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

/** Decodes UTF-8; a byte order mark stays in the text. */
export function decodeUtf8(bytes: Uint8Array): string {
  try {
    return strictUtf8.decode(bytes)
  } catch {
    throw new EncodingError('not UTF-8')
  }
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function canonicalBytes(text: string, encoding: 'base64' | 'base64url', name: string): Uint8Array {
  const bytes = bytesOf(text, encoding)
  // unused low bits of the last character are the only freedom left: written again, they would be zero
  if (text.length > 0 && !text.endsWith(bufferOf(lastGroup(bytes)).toString(encoding))) {
    throw new EncodingError(`not canonical ${name}`)
  }
  return bytes
}

/** The bytes of the last group of four characters. */
function lastGroup(bytes: Uint8Array): Uint8Array {
  return bytes.subarray(Math.floor((bytes.length - 1) / 3) * 3)
}

/** A copy with a buffer of its own, so that no one sees Node's shared pool through `.buffer`. */
function bytesOf(text: string, encoding: BufferEncoding): Uint8Array {
  return new Uint8Array(Buffer.from(text, encoding))
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
