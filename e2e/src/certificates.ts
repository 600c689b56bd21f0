import { createPrivateKey, type KeyObject } from 'node:crypto'
import { makeCertificate, makeServerIdentity, type TestIdentity } from '@passport-kbs/testing/tls'

export { makeCertificate, makeServerIdentity, type TestIdentity }

/** A CA for token keys, and under it one key with its chain: what a Trustee 1 makes once (spec 01 §10). */
export interface TokenIdentity {
  readonly key: KeyObject
  readonly keyPem: string
  /** Leaf, then CA. */
  readonly chainPem: string
  readonly ca: TestIdentity
  /** Base64 of DER, as in `x5c`. */
  readonly x5c: readonly string[]
}

/** @param ca an existing CA, for a second key under it. */
export function makeTokenIdentity(
  name: string,
  ca = makeCertificate({ name: `${name} CA`, ca: true }),
): TokenIdentity {
  const leaf = makeCertificate({ name: `${name} signer`, issuer: ca })
  return {
    key: createPrivateKey(leaf.keyPem),
    keyPem: leaf.keyPem,
    chainPem: leaf.pem + ca.pem,
    ca,
    x5c: [leaf, ca].map(({ der }) => der.toString('base64')),
  }
}
