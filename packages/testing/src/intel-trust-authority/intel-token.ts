import { createHash, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { type JsonObject, stringifyJson } from '@passport-kbs/protocol'
import { CompactSign, type JWK } from 'jose'
import { KeyUsageFlags, makeCertificate, type TestIdentity } from '../tls/certificates.ts'

/** A token before it is signed; every part can be made wrong on its own. */
export interface IntelTokenDraft {
  header: { alg: string; kid?: string; jku?: string; typ?: string; jwk?: JWK; [name: string]: unknown }
  claims: JsonObject
  key: KeyObject
}

/** A signing key as `/certs` publishes it: RSA 3072 for PS384, certified by "Signing CA" and "Root CA". */
export interface IntelSigningKey {
  readonly kid: string
  readonly privateKey: KeyObject
  readonly jwk: JWK
}

/** The chain above Intel's signing keys. */
export function makeSigningAuthorities(): readonly [signing: TestIdentity, root: TestIdentity] {
  const usage = KeyUsageFlags.keyCertSign
  const root = makeCertificate({ name: 'Virtual Intel Trust Authority Root CA', ca: true, usage })
  return [
    makeCertificate({ name: 'Virtual Intel Trust Authority Signing CA', issuer: root, ca: true, usage }),
    root,
  ]
}

export function makeSigningKey(authorities: readonly [TestIdentity, TestIdentity]): IntelSigningKey {
  const keys = generateKeyPairSync('rsa', { modulusLength: 3072 })
  const [issuer] = authorities
  const leaf = makeCertificate({ name: 'Virtual Attestation Token Signing', issuer, keys })
  const { n = '', e = '' } = createPublicKey(keys.privateKey).export({ format: 'jwk' })
  const kid = createHash('sha384').update(n).digest('hex')
  const x5c = [leaf, ...authorities].map(({ der }) => der.toString('base64'))
  return { kid, privateKey: keys.privateKey, jwk: { kty: 'RSA', alg: 'PS384', kid, n, e, x5c } }
}

export async function signIntelToken({ header, claims, key }: IntelTokenDraft): Promise<string> {
  return await new CompactSign(Buffer.from(stringifyJson(claims))).setProtectedHeader(header).sign(key)
}
