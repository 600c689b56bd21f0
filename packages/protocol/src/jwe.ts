import { createDecipheriv, createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { decodeBase64UrlNoPad, encodeBase64Url } from './encoding.ts'
import {
  isJsonObject,
  JsonDecimal,
  type JsonObject,
  type JsonValue,
  parseJson,
  stringifyJson,
} from './json.ts'
import { sealWith } from './jwe-seal.ts'
import { ecdhWrappingKey, mlKemDecapsulate, mlKemWrappingKey, rsaDecrypt, unwrapKey } from './key-wrap.ts'
import { coordinateSize, type EcTeePublicKey, type TeePublicKey } from './tee-key.ts'
import type { TeePrivateKey } from './tee-private-key.ts'

/** The answer to a resource request: a flattened JWE (RFC 7516 §7.2.2), every member base64url without padding. */
export interface JweResponse {
  readonly protected: string
  readonly encrypted_key: string
  readonly iv: string
  readonly ciphertext: string
  readonly tag: string
}

/** The JWE is malformed, or not for this key, or was tampered with. The message holds nothing of its content. */
export class JweError extends Error {
  override readonly name = 'JweError'
}

/** Encrypts `plaintext` (which may be empty) so that only the TEE that holds the private half of `key` can read it. */
export function sealForTee(key: TeePublicKey, plaintext: Uint8Array): JweResponse {
  const cek = randomBytes(32)
  try {
    return sealWith(key, plaintext, {
      cek,
      iv: randomBytes(12),
      ephemeralKey: (curve) => generateKeyPairSync('ec', { namedCurve: curve }).privateKey,
    })
  } finally {
    cek.fill(0)
  }
}

/**
 * Decrypts an answer as the guest does, strict where any guest is: no padding, header members exactly those that the
 * guest writes again, coordinates of full width, nothing but A256GCM.
 * @throws JweError
 */
export function openWithTeeKey(privateKey: TeePrivateKey, jwe: JweResponse): Uint8Array {
  const header = protectedHeader(jwe.protected)
  const iv = decoded('iv', jwe.iv, 12)
  const tag = decoded('tag', jwe.tag, 16)
  const ciphertext = decoded('ciphertext', jwe.ciphertext)
  const cek = decryptedCek(privateKey, header, decoded('encrypted_key', jwe.encrypted_key))
  const decipher = createDecipheriv('aes-256-gcm', cek, iv, { authTagLength: 16 })
  decipher.setAAD(Buffer.from(rewritten(header), 'ascii'))
  decipher.setAuthTag(tag)
  try {
    return new Uint8Array(Buffer.concat([decipher.update(ciphertext), decipher.final()]))
  } catch (cause) {
    throw new JweError('content does not decrypt', { cause })
  } finally {
    cek.fill(0)
  }
}

/** Reads a JWE from JSON: five members, all strings; others are ignored. The guest side of the answer. */
export function parseJweResponse(value: JsonValue): JweResponse {
  if (!isJsonObject(value)) throw new JweError('not an object')
  const member = (name: keyof JweResponse) => {
    const text = Object.hasOwn(value, name) ? value[name] : undefined
    if (typeof text !== 'string') throw new JweError(`${name} is not a string`)
    return text
  }
  return {
    protected: member('protected'),
    encrypted_key: member('encrypted_key'),
    iv: member('iv'),
    ciphertext: member('ciphertext'),
    tag: member('tag'),
  }
}

function protectedHeader(encoded: string): JsonObject {
  let header: JsonValue
  try {
    header = parseJson(decodeBase64UrlNoPad(encoded), { maxBytes: 8192, maxDepth: 4 })
  } catch (cause) {
    throw new JweError('protected header is not base64url of JSON', { cause })
  }
  if (!isJsonObject(header)) throw new JweError('protected header is not an object')
  return header
}

/**
 * The additional data as the guest computes it: it does not keep the text of the header but writes what it decoded,
 * `alg` and `enc` first, all else in alphabetical order (spec 01 §3.3).
 */
function rewritten(header: JsonObject): string {
  const { alg, enc, ...others } = header
  const ordered = { alg, enc, ...(sorted(others as JsonObject) as JsonObject) } as JsonObject
  return encodeBase64Url(Buffer.from(stringifyJson(ordered), 'utf8'))
}

function sorted(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null || value instanceof JsonDecimal) return value
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(members.map(([name, member]) => [name, sorted(member)]))
}

function decryptedCek(privateKey: TeePrivateKey, header: JsonObject, encryptedKey: Uint8Array): Uint8Array {
  const { publicKey, key } = privateKey
  if (header.enc !== 'A256GCM') throw new JweError('enc is not A256GCM')
  if (header.alg !== publicKey.alg) throw new JweError('alg is not that of the key')
  let cek: Uint8Array
  try {
    cek = cekFor(publicKey, key, header, encryptedKey)
  } catch (cause) {
    if (cause instanceof JweError) throw cause
    throw new JweError('key does not decrypt', { cause })
  }
  if (cek.length !== 32) throw new JweError('content encryption key has not 32 bytes')
  return cek
}

function cekFor(
  publicKey: TeePublicKey,
  key: TeePrivateKey['key'],
  header: JsonObject,
  encryptedKey: Uint8Array,
): Uint8Array {
  switch (publicKey.kty) {
    case 'EC':
      return unwrapKey(ecdhWrappingKey(key, ephemeralKey(header.epk, publicKey.crv)), encryptedKey)
    case 'RSA':
      return rsaDecrypt(publicKey.alg, key, encryptedKey)
    case 'AKP': {
      const ek = header.ek
      if (typeof ek !== 'string') throw new JweError('ek is not a string')
      return unwrapKey(mlKemWrappingKey(mlKemDecapsulate(key, decoded('ek', ek, 1088))), encryptedKey)
    }
  }
}

function ephemeralKey(epk: JsonValue | undefined, crv: EcTeePublicKey['crv']) {
  if (!isJsonObject(epk)) throw new JweError('epk is not an object')
  const { x, y } = epk
  if (epk.kty !== 'EC' || epk.crv !== crv || typeof x !== 'string' || typeof y !== 'string') {
    throw new JweError("epk is not a key on the TEE key's curve")
  }
  decoded('epk.x', x, coordinateSize[crv])
  decoded('epk.y', y, coordinateSize[crv])
  return createPublicKey({ key: { kty: 'EC', crv, x, y }, format: 'jwk' })
}

function decoded(name: string, text: string, size?: number): Uint8Array {
  let bytes: Uint8Array
  try {
    bytes = decodeBase64UrlNoPad(text)
  } catch (cause) {
    throw new JweError(`${name} is not base64url without padding`, { cause })
  }
  if (size !== undefined && bytes.length !== size) throw new JweError(`${name} has not ${size} bytes`)
  return bytes
}
