import { constants, type KeyObject, verify } from 'node:crypto'

/** How a value of `alg` signs (RFC 7518 §3.1, RFC 8037, RFC 9864), in OpenSSL's terms. */
interface Scheme {
  readonly hash: string | null
  readonly padding?: number
  readonly saltLength?: number
  readonly dsaEncoding?: 'ieee-p1363'
  /** Bytes of a signature, where the algorithm fixes them. */
  readonly length?: number
}

const pkcs1 = (hash: string): Scheme => ({ hash, padding: constants.RSA_PKCS1_PADDING })
const pss = (hash: string): Scheme => ({
  hash,
  padding: constants.RSA_PKCS1_PSS_PADDING,
  saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
})
const ecdsa = (hash: string, length: number): Scheme => ({ hash, dsaEncoding: 'ieee-p1363', length })
const ed25519: Scheme = { hash: null, length: 64 }

const schemes: ReadonlyMap<string, Scheme> = new Map([
  ['ES256', ecdsa('sha256', 64)],
  ['ES384', ecdsa('sha384', 96)],
  ['ES512', ecdsa('sha512', 132)],
  ['RS256', pkcs1('sha256')],
  ['RS384', pkcs1('sha384')],
  ['RS512', pkcs1('sha512')],
  ['PS256', pss('sha256')],
  ['PS384', pss('sha384')],
  ['PS512', pss('sha512')],
  ['EdDSA', ed25519],
  ['Ed25519', ed25519],
])

/**
 * Verifies a JWS signature in the calling thread, which for one signature is faster than handing it to another.
 * @param algorithm already matched with the key; one that is not in the table verifies nothing
 */
export function isValidSignature(
  algorithm: string,
  key: KeyObject,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  const scheme = schemes.get(algorithm)
  if (scheme === undefined || (scheme.length !== undefined && scheme.length !== signature.byteLength))
    return false
  const { hash, length: _, ...options } = scheme
  try {
    return verify(hash, message, { key, ...options }, signature)
  } catch {
    // a key that does not go with the scheme
    return false
  }
}
