import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject, randomBytes } from 'node:crypto'
import { StorageUnavailable } from '../key-value-store.ts'
import { STORAGE_KEY_BYTES, STORAGE_KEY_ID_BYTES, type StorageKeyring } from './storage-keyring.ts'

/** Where a value is stored. An envelope opens there and nowhere else. */
export interface ValuePlace {
  readonly namespace: string
  readonly key: string
}

/** Begins every envelope; the last byte is the version. */
const MAGIC = Uint8Array.of(0x50, 0x4b, 0x42, 0x53, 0x65, 0x6e, 0x63, 0x01) // "PKBSenc", 1
const NONCE_BYTES = 12
const TAG_BYTES = 16
const HEADER_BYTES = MAGIC.byteLength + STORAGE_KEY_ID_BYTES
const WRAPPED_KEY_BYTES = NONCE_BYTES + STORAGE_KEY_BYTES + TAG_BYTES

/** What an envelope adds to a value. */
export const ENVELOPE_OVERHEAD_BYTES = HEADER_BYTES + WRAPPED_KEY_BYTES + NONCE_BYTES + TAG_BYTES

/**
 * Encrypts a value with a random key of its own, and that with the keyring's current key, each by AES-256-GCM:
 *
 *     magic and version (8) | id of the wrapping key (8)
 *     nonce (12) | the value's key, wrapped (32) | tag (16)
 *     nonce (12) | the value, encrypted | tag (16)
 *
 * Both are bound to header, namespace and key, so an envelope that is moved to another place does not open there. The
 * wrapping key only ever encrypts keys: it may do so 2^32 times under random nonces (NIST SP 800-38D, 8.3).
 */
export function sealValue(keyring: StorageKeyring, place: ValuePlace, value: Uint8Array): Uint8Array {
  const header = Buffer.concat([MAGIC, keyring.current.id])
  const bytes = randomBytes(STORAGE_KEY_BYTES)
  const wrapped = encrypt(keyring.current.key, associatedData(header, 'key', place), bytes)
  const sealed = encrypt(createSecretKey(bytes), associatedData(header, 'value', place), value)
  bytes.fill(0)
  return new Uint8Array(Buffer.concat([header, wrapped, sealed]))
}

/** Whether the stored bytes are an envelope rather than a value in clear. */
export function isSealed(stored: Uint8Array): boolean {
  // Other versions too: what a newer program has encrypted is no secret in clear.
  const name = MAGIC.subarray(0, -1)
  return Buffer.compare(stored.subarray(0, name.byteLength), name) === 0
}

/** Whether the envelope was made with the keyring's current key. */
export function isSealedWithCurrentKey(keyring: StorageKeyring, stored: Uint8Array): boolean {
  return isSealed(stored) && Buffer.compare(keyIdOf(stored), keyring.current.id) === 0
}

/**
 * The value in an envelope.
 *
 * @throws StorageUnavailable when it was changed or moved, or needs a key that the keyring does not have
 */
export function openValue(keyring: StorageKeyring, place: ValuePlace, stored: Uint8Array): Uint8Array {
  if (Buffer.compare(stored.subarray(0, MAGIC.byteLength), MAGIC) !== 0) {
    throw new StorageUnavailable('a stored value is encrypted in a way that this version does not know')
  }
  const wrapping = keyring.find(keyIdOf(stored))
  if (wrapping === undefined) {
    throw new StorageUnavailable('a stored value is encrypted with a key that is not configured')
  }
  const header = stored.subarray(0, HEADER_BYTES)
  const wrapped = stored.subarray(HEADER_BYTES, HEADER_BYTES + WRAPPED_KEY_BYTES)
  const sealed = stored.subarray(HEADER_BYTES + WRAPPED_KEY_BYTES)
  try {
    const bytes = decrypt(wrapping.key, associatedData(header, 'key', place), wrapped)
    const key = createSecretKey(bytes)
    bytes.fill(0)
    return new Uint8Array(decrypt(key, associatedData(header, 'value', place), sealed))
  } catch {
    throw new StorageUnavailable('a stored value was changed, or moved to another key')
  }
}

/** The id of the key that an envelope needs. */
export function keyIdOf(stored: Uint8Array): Uint8Array {
  return stored.subarray(MAGIC.byteLength, HEADER_BYTES)
}

/** Neither a namespace nor a key holds a NUL, so no two places give the same bytes. */
function associatedData(header: Uint8Array, use: 'key' | 'value', { namespace, key }: ValuePlace): Buffer {
  return Buffer.concat([header, Buffer.from(`${use}\0${namespace}\0${key}`)])
}

function encrypt(key: KeyObject, associated: Uint8Array, plain: Uint8Array): Buffer {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES }).setAAD(associated)
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

function decrypt(key: KeyObject, associated: Uint8Array, sealed: Uint8Array): Buffer {
  if (sealed.byteLength < NONCE_BYTES + TAG_BYTES) throw new RangeError('too short')
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, NONCE_BYTES), {
    authTagLength: TAG_BYTES,
  })
  decipher.setAAD(associated).setAuthTag(sealed.subarray(-TAG_BYTES))
  return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()])
}
