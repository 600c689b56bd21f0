import { createPublicKey, type KeyObject, verify } from 'node:crypto'

/** Who may sign reference values, and whether they have to be signed. */
export interface ReferenceValueTrust {
  readonly keys: readonly KeyObject[]
  /** What nobody trusted has signed is refused. */
  readonly requireSigned: boolean
}

/** The key cannot be one that signs reference values. */
export class TrustedKeyError extends Error {
  override readonly name = 'TrustedKeyError'
}

/** The hash that goes with a curve (RFC 9053 §2.1). */
const hashes: Readonly<Record<string, string>> = { prime256v1: 'sha256', secp384r1: 'sha384' }

/** Reads a public key or certificate in PEM: EC P-256, P-384 or Ed25519. @throws TrustedKeyError */
export function readTrustedKey(pem: string): KeyObject {
  if (pem.includes('PRIVATE KEY')) throw new TrustedKeyError('is a private key; give the public half')
  let key: KeyObject
  try {
    key = createPublicKey(pem)
  } catch {
    // OpenSSL's text may quote the input
    throw new TrustedKeyError('cannot be read as PEM public key')
  }
  if (key.asymmetricKeyType !== 'ed25519' && hashOf(key) === undefined)
    throw new TrustedKeyError('is not of the kinds P-256, P-384 and Ed25519')
  return key
}

function hashOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): string | undefined {
  return asymmetricKeyType === 'ec' ? hashes[asymmetricKeyDetails?.namedCurve ?? ''] : undefined
}

/**
 * Whether `key` has signed. A key signs in one way only: ECDSA with the hash of its curve, or Ed25519.
 * @param form of an ECDSA signature: ASN.1 (DSSE, as its signers write it) or r and s (COSE).
 */
export function hasSigned(
  key: KeyObject,
  signed: Uint8Array,
  signature: Uint8Array,
  form: 'der' | 'ieee-p1363',
): boolean {
  return verify(hashOf(key) ?? null, signed, { key, dsaEncoding: form }, signature)
}

/** The COSE algorithm of a key (RFC 9053 §2). */
export function coseAlgorithms(key: KeyObject): readonly number[] {
  if (key.asymmetricKeyType === 'ed25519') return [-8, -19]
  return hashOf(key) === 'sha256' ? [-7, -9] : [-35, -51]
}
