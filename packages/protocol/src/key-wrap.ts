import {
  constants,
  createCipheriv,
  createDecipheriv,
  createHash,
  decapsulate,
  diffieHellman,
  encapsulate,
  type KeyObject,
  privateDecrypt,
  publicEncrypt,
} from 'node:crypto'
import { kmac256 } from '@noble/hashes/sha3-addons.js'
import type { RsaTeePublicKey } from './tee-key.ts'

/** How a content encryption key travels to a TEE: one pair of functions for each key type (spec 01 §3.3). */

/** RFC 3394 §2.2.3.1. */
const keyWrapIv = Buffer.alloc(8, 0xa6)

/** AES key wrap (RFC 3394); a wrapping key of 32 bytes gives A256KW, one of 24 bytes A192KW. Adds 8 bytes. */
export function wrapKey(wrappingKey: Uint8Array, key: Uint8Array): Uint8Array {
  const cipher = createCipheriv(wrapCipher(wrappingKey), wrappingKey, keyWrapIv)
  return Buffer.concat([cipher.update(key), cipher.final()])
}

/** The inverse of `wrapKey`. Throws if the key was wrapped with another key. */
export function unwrapKey(wrappingKey: Uint8Array, wrapped: Uint8Array): Uint8Array {
  const decipher = createDecipheriv(wrapCipher(wrappingKey), wrappingKey, keyWrapIv)
  return Buffer.concat([decipher.update(wrapped), decipher.final()])
}

function wrapCipher(wrappingKey: Uint8Array): string {
  return wrappingKey.length === 24 ? 'id-aes192-wrap' : 'id-aes256-wrap'
}

const ecdhAlgorithm = Buffer.from('ECDH-ES+A256KW', 'ascii')

/**
 * The wrapping key of ECDH-ES+A256KW: Concat KDF of RFC 7518 §4.6.2 with empty party information, 32 bytes. The shared
 * secret Z is the x coordinate in the curve's full width, leading zeros included.
 */
export function ecdhWrappingKey(privateKey: KeyObject, publicKey: KeyObject): Uint8Array {
  const z = diffieHellman({ privateKey, publicKey })
  const wrappingKey = createHash('sha256')
    .update(uint32(1))
    .update(z)
    .update(uint32(ecdhAlgorithm.length))
    .update(ecdhAlgorithm)
    .update(uint32(0))
    .update(uint32(0))
    .update(uint32(256))
    .digest()
  z.fill(0)
  return wrappingKey
}

const mlKemInfo = Buffer.concat([uint32(17), Buffer.from('ML-KEM-768+A192KW', 'ascii'), uint32(192)])

/** The wrapping key of ML-KEM-768+A192KW: KMAC256 keyed with the shared secret, 24 bytes (spec 01 §3.3, A.4). */
export function mlKemWrappingKey(sharedSecret: Uint8Array): Uint8Array {
  return kmac256(sharedSecret, mlKemInfo, { dkLen: 24 })
}

/** ML-KEM-768 encapsulation (FIPS 203): a fresh secret of 32 bytes and its ciphertext of 1088. */
export function mlKemEncapsulate(publicKey: KeyObject): { secret: Uint8Array; ciphertext: Uint8Array } {
  const { sharedKey, ciphertext } = encapsulate(publicKey)
  return { secret: sharedKey, ciphertext }
}

/** ML-KEM-768 decapsulation. A wrong ciphertext gives a wrong secret, not an error. */
export function mlKemDecapsulate(privateKey: KeyObject, ciphertext: Uint8Array): Uint8Array {
  return decapsulate(privateKey, ciphertext)
}

/** RSA encryption: OAEP with SHA-256 for hash and mask and an empty label, or PKCS#1 v1.5. */
export function rsaEncrypt(alg: RsaTeePublicKey['alg'], publicKey: KeyObject, key: Uint8Array): Uint8Array {
  return publicEncrypt({ key: publicKey, ...rsaPadding(alg) }, key)
}

/** The inverse of `rsaEncrypt`. */
export function rsaDecrypt(
  alg: RsaTeePublicKey['alg'],
  privateKey: KeyObject,
  encrypted: Uint8Array,
): Uint8Array {
  return privateDecrypt({ key: privateKey, ...rsaPadding(alg) }, encrypted)
}

function rsaPadding(alg: RsaTeePublicKey['alg']): { padding: number; oaepHash?: string } {
  if (alg === 'RSA1_5') return { padding: constants.RSA_PKCS1_PADDING }
  return { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
