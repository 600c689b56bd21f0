import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  X509Certificate,
} from 'node:crypto'

/** The signing key or its certificate chain cannot be used. Never holds key material. */
export class SigningKeyError extends Error {
  override readonly name = 'SigningKeyError'
}

/** A P-256 public key as a JWK with its RFC 7638 thumbprint. */
export interface TokenJwk {
  readonly kty: 'EC'
  readonly crv: 'P-256'
  readonly alg: 'ES256'
  readonly use: 'sig'
  readonly kid: string
  readonly x: string
  readonly y: string
  readonly x5c?: readonly string[]
  readonly x5u?: string
}

/** Certificates of a key, checked against it. */
export interface CertificateChain {
  /** Base64 of DER, leaf first, as in `x5c`. */
  readonly x5c: readonly string[]
  /** When the first of them expires. */
  readonly notAfter: Date
}

/** The key in use: never changed, only replaced as a whole. */
export interface SigningState {
  readonly key: KeyObject
  readonly jwk: TokenJwk
  readonly chain: CertificateChain | undefined
  /** Other public keys to publish. */
  readonly previous: readonly TokenJwk[]
  /** Changes when a file changes. */
  readonly stamp: string
}

const maxCertificates = 10
const maxPemLength = 128 * 1024

/**
 * Reads a private EC key on P-256 from PEM (SEC 1 or PKCS #8).
 * @throws SigningKeyError
 */
export function readSigningKey(pem: string | Buffer): KeyObject {
  let key: KeyObject
  try {
    key = createPrivateKey(pem)
  } catch {
    // the cause is left out: OpenSSL's texts do not repeat the key, but nothing promises that
    throw new SigningKeyError('the signing key is not an unencrypted PEM private key')
  }
  return assertP256(key)
}

/**
 * Reads a public P-256 key from PEM: a public key, a certificate, or a private key, of which only the public half is
 * taken.
 * @throws SigningKeyError
 */
export function readPublicKey(pem: string | Buffer): KeyObject {
  try {
    return assertP256(createPublicKey(pem))
  } catch (error) {
    if (error instanceof SigningKeyError) throw error
    throw new SigningKeyError('not a PEM public key or certificate')
  }
}

/** The public half of `key` as it is published. */
export function tokenJwk(key: KeyObject): TokenJwk {
  const { x, y } = (key.type === 'private' ? createPublicKey(key) : key).export({ format: 'jwk' })
  if (typeof x !== 'string' || typeof y !== 'string') throw new SigningKeyError('not an elliptic-curve key')
  const kid = createHash('sha256')
    .update(JSON.stringify({ crv: 'P-256', kty: 'EC', x, y }))
    .digest('base64url')
  return { kty: 'EC', crv: 'P-256', alg: 'ES256', use: 'sig', kid, x, y }
}

/**
 * Reads a certificate chain from PEM and checks it against `key`: the first certificate is of this key, each is signed
 * by the next, all are valid at `now` (spec 02 W-10).
 * @throws SigningKeyError
 */
export function readCertificateChain(pem: string, key: KeyObject, now: Date): CertificateChain {
  const chain = certificates(pem)
  const [leaf] = chain
  if (!leaf) throw new SigningKeyError('the certificate file has no certificate')
  if (!leaf.checkPrivateKey(key)) throw new SigningKeyError('the first certificate is not of the signing key')
  for (const [index, certificate] of chain.entries()) assertLink(certificate, chain[index + 1], index, now)
  const notAfter = new Date(Math.min(...chain.map(({ validToDate }) => validToDate.getTime())))
  return { x5c: chain.map(({ raw }) => raw.toString('base64')), notAfter }
}

/** A new private key on P-256. */
export function generateSigningKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
}

/**
 * 32 bytes that only holders of the private `key` know: HKDF-SHA-256 (RFC 5869) of its private scalar, which every
 * encoding of the key has in common, with `purpose` as info.
 */
export function deriveSecret(key: KeyObject, purpose: string): Uint8Array {
  const { d } = key.export({ format: 'jwk' })
  if (typeof d !== 'string') throw new SigningKeyError('not a private elliptic-curve key')
  return new Uint8Array(hkdfSync('sha256', Buffer.from(d, 'base64url'), '', purpose, 32))
}

/** The public half of `key` with its certificates, as it is published and put into headers. */
export function certifiedJwk(
  key: KeyObject,
  chain: CertificateChain | undefined,
  certUrl: string | undefined,
): TokenJwk {
  return {
    ...tokenJwk(key),
    ...(certUrl === undefined ? {} : { x5u: certUrl }),
    ...(chain ? { x5c: chain.x5c } : {}),
  }
}

function certificates(pem: string): X509Certificate[] {
  if (pem.length > maxPemLength) throw new SigningKeyError('the certificate file is too large')
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? []
  if (blocks.length > maxCertificates) throw new SigningKeyError('the certificate chain is too long')
  try {
    return blocks.map((block) => new X509Certificate(block))
  } catch (cause) {
    throw new SigningKeyError('the certificate file has a malformed certificate', { cause })
  }
}

function assertLink(
  certificate: X509Certificate,
  issuer: X509Certificate | undefined,
  index: number,
  now: Date,
): void {
  const which = `certificate ${index + 1} of the chain`
  if (certificate.validFromDate > now) throw new SigningKeyError(`${which} is not valid yet`)
  if (certificate.validToDate <= now) throw new SigningKeyError(`${which} has expired`)
  if (issuer && !(certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey))) {
    throw new SigningKeyError(`${which} is not issued by the one after it`)
  }
}

function assertP256(key: KeyObject): KeyObject {
  if (key.asymmetricKeyType !== 'ec' || key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw new SigningKeyError('the key is not on the curve P-256')
  }
  return key
}
