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

/**
 * As `utf8Text`, without the control characters (Unicode category Cc), but with a space for U+0010: it separates the
 * parameters of a kernel command line that td-shim logs. Works on bytes, because a log may hold a million of them.
 */
export function utf8TextWithoutControls(bytes: Uint8Array): string | undefined {
  if (!isUtf8(bytes)) return undefined
  const kept = new Uint8Array(bytes.length)
  let length = 0
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0
    if (byte === 0x10) kept[length++] = 0x20
    else if (byte === 0xc2 && (bytes[at + 1] ?? 0) < 0xa0) at++
    else if (byte >= 0x20 && byte !== 0x7f) kept[length++] = byte
  }
  return lossyUtf8Text(kept.subarray(0, length))
}
