import { isUtf8 } from 'node:buffer'

/** The text of UTF-8 bytes; undefined if they are not UTF-8. A byte order mark stays in the text. */
export function utf8Text(bytes: Uint8Array): string | undefined {
  return isUtf8(bytes) ? lossyUtf8Text(bytes) : undefined
}

/** The text of bytes that should be UTF-8, with U+FFFD for what is not. */
export function lossyUtf8Text(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
}

/** UTF-16LE units as they are, lone surrogates included. An odd last byte is not looked at. */
export function utf16Text(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf16le')
}
