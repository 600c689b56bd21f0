import { createPublicKey, type KeyObject } from 'node:crypto'
import { isJsonObject, type JsonObject, type JsonValue } from '@passport-kbs/protocol'
import { calculateJwkThumbprint, type JWK } from 'jose'
import type { CompactToken } from './compact-token.ts'
import { isValidSignature } from './signature.ts'

/** A public key with everything that decides which tokens it may verify. */
export interface VerificationKey {
  readonly kid: string | undefined
  /** RFC 7638, SHA-256, base64url. */
  readonly thumbprint: string
  /** Values of a token's `alg` that this key accepts. */
  readonly algorithms: readonly string[]
  readonly key: KeyObject
}

/** The key cannot be used to verify tokens; the message says why, without the key. */
export class UnusableKey extends Error {
  override readonly name = 'UnusableKey'
}

const rsaAlgorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']
const curveAlgorithms: Readonly<Record<string, string>> = {
  'P-256': 'ES256',
  'P-384': 'ES384',
  'P-521': 'ES512',
}
const edAlgorithms = ['EdDSA', 'Ed25519']
const smallestRsaBits = 2048
const maxPemKeys = 8
/** With 1, whatever is padded is its own signature. */
const smallestRsaExponent = 3n

/**
 * Takes the public key of a JWK: EC P-256, P-384, P-521, RSA from 2048 bits, Ed25519. Exactly one algorithm fits a key:
 * its `alg`; without one that of the curve, and RS256 for RSA as OpenID providers mean it. Symmetric keys are refused:
 * who can verify with them can also forge.
 * @throws UnusableKey
 */
export async function keyFromJwk(value: JsonValue): Promise<VerificationKey> {
  if (!isJsonObject(value)) throw new UnusableKey('is no object')
  const jwk = publicMembers(value)
  if (text(value, 'use') !== undefined && text(value, 'use') !== 'sig')
    throw new UnusableKey('is not for signatures')
  const operations = value.key_ops
  if (Array.isArray(operations) && !operations.includes('verify'))
    throw new UnusableKey('is not for verifying')
  const key = importPublicKey({ key: jwk, format: 'jwk' })
  const fitting = algorithmsOf(key)
  const declared = text(value, 'alg')
  if (declared !== undefined && !fitting.includes(declared))
    throw new UnusableKey('has an alg that does not fit')
  const algorithms = fitting === edAlgorithms ? fitting : [declared ?? fitting[0] ?? '']
  return { ...(await keyFromObject(key)), kid: text(value, 'kid'), algorithms }
}

/**
 * Takes the public key of a PEM text (a public key or a certificate). An RSA key accepts RS and PS algorithms, for
 * nothing in the PEM says which.
 * @throws UnusableKey
 */
export async function keyFromPem(pem: string): Promise<VerificationKey> {
  if (/PRIVATE KEY/.test(pem)) throw new UnusableKey('is a private key; give the public half')
  return keyFromObject(importPublicKey(pem))
}

/** All public keys of a PEM text: the new and the former, while one replaces the other. @throws UnusableKey for any of them */
export async function keysFromPem(pem: string): Promise<readonly VerificationKey[]> {
  const blocks = pem.match(/-----BEGIN ([A-Z ]+)-----[^-]*-----END \1-----/g) ?? [pem]
  // one that is half written, or is no plain PEM, is not passed over
  if (pem.split('-----BEGIN ').length - 1 > blocks.length) throw new UnusableKey('cannot be read')
  if (blocks.length > maxPemKeys) throw new UnusableKey(`is one of more than ${maxPemKeys}`)
  return Promise.all(blocks.map(keyFromPem))
}

/** @throws UnusableKey */
export async function keyFromObject(key: KeyObject): Promise<VerificationKey> {
  const algorithms = algorithmsOf(key)
  return {
    kid: undefined,
    thumbprint: await calculateJwkThumbprint(key.export({ format: 'jwk' }) as JWK),
    algorithms,
    key,
  }
}

/** Whether `key` has signed the token, with an algorithm that the key is for. */
export function isSignedBy(token: CompactToken, key: VerificationKey): boolean {
  const fits = key.algorithms.includes(token.algorithm)
  return fits && isValidSignature(token.algorithm, key.key, token.signingInput, token.signature)
}

function importPublicKey(input: Parameters<typeof createPublicKey>[0]): KeyObject {
  try {
    return createPublicKey(input)
  } catch {
    // OpenSSL's text may quote the input
    throw new UnusableKey('cannot be read')
  }
}

function algorithmsOf(key: KeyObject): readonly string[] {
  const details = key.asymmetricKeyDetails
  switch (key.asymmetricKeyType) {
    case 'ed25519':
      return edAlgorithms
    case 'rsa':
      if ((details?.modulusLength ?? 0) < smallestRsaBits)
        throw new UnusableKey('is an RSA key below 2048 bits')
      if ((details?.publicExponent ?? 0n) < smallestRsaExponent)
        throw new UnusableKey('is an RSA key with an exponent below 3')
      return rsaAlgorithms
    case 'ec': {
      const algorithm = curveAlgorithms[key.export({ format: 'jwk' }).crv ?? '']
      if (algorithm !== undefined) return [algorithm]
    }
  }
  throw new UnusableKey('is of a kind that is not accepted')
}

function publicMembers(value: JsonObject): JWK {
  const kty = text(value, 'kty')
  if (kty === undefined || !['EC', 'RSA', 'OKP'].includes(kty))
    throw new UnusableKey('has a kty that is not accepted')
  const members = ['crv', 'x', 'y', 'n', 'e'].flatMap((name) => {
    const member = text(value, name)
    return member === undefined ? [] : [[name, member]]
  })
  return { kty, ...Object.fromEntries(members) }
}

function text(value: JsonObject, name: string): string | undefined {
  const member = value[name]
  return typeof member === 'string' ? member : undefined
}
