import { fail } from '../rejection.ts'
import { hygonNumber, numberFieldSize } from './hygon-number.ts'
import { type Sm2PublicKey, verifySm2 } from './sm2.ts'

/** Bytes of a CA certificate (HRK, HSK) and of a CSV certificate (CEK, PEK); spec 04 §9.2. */
export const caCertificateSize = 832
export const csvCertificateSize = 2084

/** What a key may be used for; also the usage of the signer in a signature slot of a CSV certificate. */
export const hygonKeyUsage = {
  rootKey: 0x0,
  signingKey: 0x13,
  platformEndorsementKey: 0x1002,
  chipEndorsementKey: 0x1004,
} as const

export type HygonKeyUsage = (typeof hygonKeyUsage)[keyof typeof hygonKeyUsage]

const curveSm2 = 3
/** SM2 signature with SM3. */
export const hygonSm2Algorithm = 4
const longestUserId = 254

/** A public key that signs: with its user id, because SM2 hashes it. Coordinates are unchecked fields of 72 bytes. */
export interface HygonKey {
  readonly x: Uint8Array
  readonly y: Uint8Array
  readonly userId: Uint8Array
}

/** A certificate with the right form, usage, curve, algorithm and user id. Its signature is not checked. */
export interface HygonCertificate {
  readonly key: HygonKey
  /** CA certificates only: 16 bytes. */
  readonly keyId?: Uint8Array
  readonly signerKeyId: Uint8Array
  /** The bytes that the issuer signed. */
  readonly signedBytes: Uint8Array
  readonly signatures: readonly SignatureSlot[]
}

interface SignatureSlot {
  /** Usage of the signing key; CA certificates have one signature and do not name it. It is outside the signed bytes. */
  readonly usage?: number
  readonly signature: Uint8Array
}

/**
 * Reads a CA certificate (HRK or HSK), 832 bytes.
 * @throws CheckFailure CSV_CERT_MALFORMED for another size, usage or curve, or a user id of other than 1 to 254 bytes.
 */
export function readCaCertificate(bytes: Uint8Array, usage: HygonKeyUsage, name: string): HygonCertificate {
  const view = fieldsOf(bytes, caCertificateSize, name)
  requireValue(view.getUint32(36, true), usage, `${name}: key usage`)
  requireValue(view.getUint32(64, true), curveSm2, `${name}: curve`)
  return {
    key: keyAt(bytes, 68, userIdAt(bytes, 212, name)),
    keyId: bytes.subarray(4, 20),
    signerKeyId: bytes.subarray(20, 36),
    signedBytes: bytes.subarray(0, 576),
    signatures: [{ signature: bytes.subarray(576, 576 + 2 * numberFieldSize) }],
  }
}

/**
 * Reads a CSV certificate (CEK or PEK), 2084 bytes.
 * @throws CheckFailure CSV_CERT_MALFORMED for another size, usage, algorithm or curve, or a user id of other than 1 to
 *   254 bytes.
 */
export function readCsvCertificate(bytes: Uint8Array, usage: HygonKeyUsage, name: string): HygonCertificate {
  const view = fieldsOf(bytes, csvCertificateSize, name)
  requireValue(view.getUint32(8, true), usage, `${name}: key usage`)
  requireValue(view.getUint32(12, true), hygonSm2Algorithm, `${name}: key algorithm`)
  requireValue(view.getUint32(16, true), curveSm2, `${name}: curve`)
  return {
    key: keyAt(bytes, 20, userIdAt(bytes, 164, name)),
    signerKeyId: bytes.subarray(420, 436),
    signedBytes: bytes.subarray(0, 1044),
    signatures: [1044, 1564].map((slot) => ({
      usage: view.getUint32(slot, true),
      signature: bytes.subarray(slot + 8, slot + 8 + 2 * numberFieldSize),
    })),
  }
}

/**
 * Whether `key` signed `message`.
 * @param signature r and s, 72 bytes each, little endian (spec 04 §9.4).
 */
export function verifyHygonSignature(key: HygonKey, message: Uint8Array, signature: Uint8Array): boolean {
  const publicKey = publicKeyOf(key)
  const r = hygonNumber(signature.subarray(0, numberFieldSize))
  const s = hygonNumber(signature.subarray(numberFieldSize))
  if (publicKey === undefined || r === undefined || s === undefined) return false
  return verifySm2(publicKey, key.userId, message, { r, s })
}

/**
 * Whether `key` signed `certificate`.
 * @param usage the usage that a slot must name; absent for a CA certificate, whose one signature names none.
 */
export function verifyHygonCertificate(
  certificate: HygonCertificate,
  key: HygonKey,
  usage?: HygonKeyUsage,
): boolean {
  return certificate.signatures
    .filter((slot) => slot.usage === usage)
    .some((slot) => verifyHygonSignature(key, certificate.signedBytes, slot.signature))
}

function publicKeyOf({ x, y }: HygonKey): Sm2PublicKey | undefined {
  const [xNumber, yNumber] = [hygonNumber(x), hygonNumber(y)]
  return xNumber === undefined || yNumber === undefined ? undefined : { x: xNumber, y: yNumber }
}

function fieldsOf(bytes: Uint8Array, size: number, name: string): DataView {
  if (bytes.length !== size) fail('CSV_CERT_MALFORMED', `${name} has ${bytes.length} bytes, not ${size}`)
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function requireValue(actual: number, expected: number, field: string): void {
  if (actual !== expected) {
    fail('CSV_CERT_MALFORMED', `${field} is 0x${actual.toString(16)}, not 0x${expected.toString(16)}`)
  }
}

/** The key whose x stands at `offset`, y behind it. */
function keyAt(bytes: Uint8Array, offset: number, userId: Uint8Array): HygonKey {
  const y = offset + numberFieldSize
  return { x: bytes.subarray(offset, y), y: bytes.subarray(y, y + numberFieldSize), userId }
}

/** The user id whose u16 length stands at `offset`. */
function userIdAt(bytes: Uint8Array, offset: number, name: string): Uint8Array {
  const length = (bytes[offset] ?? 0) + (bytes[offset + 1] ?? 0) * 256
  if (length < 1 || length > longestUserId) {
    fail('CSV_CERT_MALFORMED', `${name}: user id of ${length} bytes`)
  }
  return bytes.subarray(offset + 2, offset + 2 + length)
}
