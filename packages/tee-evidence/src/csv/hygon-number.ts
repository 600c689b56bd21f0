/** Bytes of a number field in Hygon structures: little endian in the first 32, the rest zero (spec 04 §9.2). */
export const numberFieldSize = 72

const significantBytes = 32

/** The number in a field of 72 bytes; undefined when bytes 32..71 are not zero, for such a number is never valid. */
export function hygonNumber(field: Uint8Array): bigint | undefined {
  if (field.subarray(significantBytes).some((byte) => byte !== 0)) return undefined
  const bigEndian = Buffer.from(field.subarray(0, significantBytes)).reverse()
  return BigInt(`0x${bigEndian.toString('hex')}`)
}
