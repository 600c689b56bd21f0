import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { type RsaTeePublicKey, TeeKeyError, type TeePublicKey, teePublicKeyOf } from './tee-key.ts'

/** The guest's half: the private key that opens a JWE, with the public key it sends. */
export interface TeePrivateKey {
  readonly publicKey: TeePublicKey
  readonly key: KeyObject
}

/** How guests name the kinds of key they can make (their option `tee_key_algorithm`, spec 01 §3.1). */
export const teeKeyKinds = [
  'ECDH-ES+A256KW-P256',
  'ECDH-ES+A256KW-P521',
  'RSA-OAEP-256',
  'ML-KEM-768+A192KW',
] as const

export type TeeKeyKind = (typeof teeKeyKinds)[number]

const rsaBits = 2048

/** Makes a fresh key pair. P-256 is what guests make unless told otherwise. */
export function generateTeeKeyPair(kind: TeeKeyKind = 'ECDH-ES+A256KW-P256'): TeePrivateKey {
  return teePrivateKeyOf(generated(kind), 'RSA-OAEP-256')
}

/**
 * Reads a private TEE key: EC P-256 or P-521 (PKCS#8 or SEC1), RSA (PKCS#1 or PKCS#8), ML-KEM-768 (PKCS#8). RSA keys
 * become RSA-OAEP-256 keys unless told otherwise.
 * @throws TeeKeyError
 */
export function importTeePrivateKeyPem(
  pem: string,
  rsaAlgorithm: RsaTeePublicKey['alg'] = 'RSA-OAEP-256',
): TeePrivateKey {
  let key: KeyObject
  try {
    key = createPrivateKey({ key: pem, format: 'pem' })
  } catch (cause) {
    throw new TeeKeyError('malformed', 'not an unencrypted private key in PEM form', { cause })
  }
  return teePrivateKeyOf(key, rsaAlgorithm)
}

/**
 * Writes a private TEE key as `kbs-client` and the attestation agent do: RSA as PKCS#1, EC as PKCS#8 (spec 01 §3.4).
 * For ML-KEM they have no form; it becomes PKCS#8 too, which only this house's tools read.
 */
export function exportTeePrivateKeyPem({ publicKey, key }: TeePrivateKey): string {
  if (publicKey.kty === 'RSA') return key.export({ format: 'pem', type: 'pkcs1' }).toString()
  return key.export({ format: 'pem', type: 'pkcs8' }).toString()
}

function generated(kind: TeeKeyKind): KeyObject {
  switch (kind) {
    case 'ECDH-ES+A256KW-P256':
      return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    case 'ECDH-ES+A256KW-P521':
      return generateKeyPairSync('ec', { namedCurve: 'P-521' }).privateKey
    case 'RSA-OAEP-256':
      return generateKeyPairSync('rsa', { modulusLength: rsaBits }).privateKey
    case 'ML-KEM-768+A192KW':
      return generateKeyPairSync('ml-kem-768').privateKey
  }
}

function teePrivateKeyOf(key: KeyObject, rsaAlgorithm: RsaTeePublicKey['alg']): TeePrivateKey {
  return Object.freeze({
    publicKey: teePublicKeyOf(createPublicKey(key), algorithmOf(key, rsaAlgorithm)),
    key,
  })
}

function algorithmOf(key: KeyObject, rsaAlgorithm: RsaTeePublicKey['alg']): TeePublicKey['alg'] {
  switch (key.asymmetricKeyType) {
    case 'ec':
      return 'ECDH-ES+A256KW'
    case 'rsa':
      return rsaAlgorithm
    case 'ml-kem-768':
      return 'ML-KEM-768+A192KW'
    default:
      throw new TeeKeyError('refused', 'neither an EC, an RSA nor an ML-KEM-768 key')
  }
}
