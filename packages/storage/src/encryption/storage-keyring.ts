import { createHmac, createSecretKey, type KeyObject } from 'node:crypto'
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { StorageConfigError } from '../storage-config-error.ts'
import type { EncryptionConfig } from './encryption-config.ts'

/** Bytes of a key-encryption key: AES-256. */
export const STORAGE_KEY_BYTES = 32
/** Bytes of the id that says in an envelope which key it needs. */
export const STORAGE_KEY_ID_BYTES = 8

/** 32 bytes in base64 and a line's end; a file that is much larger is something else. */
const MAX_KEY_FILE_BYTES = 1_024

/** A key that wraps the keys of values. */
export interface StorageKey {
  /** From the key itself, so that no two keys are confused and nobody has to number them. */
  readonly id: Uint8Array
  readonly key: KeyObject
}

/** The key that new values are encrypted with, and all that old ones may be. */
export interface StorageKeyring {
  readonly current: StorageKey
  find(id: Uint8Array): StorageKey | undefined
}

/** @param bytes exactly 32 */
export function storageKey(bytes: Uint8Array): StorageKey {
  if (bytes.byteLength !== STORAGE_KEY_BYTES) throw new RangeError('a storage key has 32 bytes')
  const id = createHmac('sha256', bytes).update('passport-kbs storage key id').digest()
  return { id: new Uint8Array(id.subarray(0, STORAGE_KEY_ID_BYTES)), key: createSecretKey(bytes) }
}

export function createStorageKeyring(
  current: StorageKey,
  previous: readonly StorageKey[] = [],
): StorageKeyring {
  const keys = [current, ...previous]
  return { current, find: (id) => keys.find((candidate) => Buffer.compare(candidate.id, id) === 0) }
}

/**
 * Reads the keys from the files that the configuration names.
 *
 * @throws StorageConfigError for a file that cannot be read, that others may read, or that does not hold a key
 */
export async function openStorageKeyring({
  keyFile,
  previousKeyFiles,
}: EncryptionConfig): Promise<StorageKeyring> {
  if (keyFile === undefined) throw new StorageConfigError('storage_backend.encryption.key_file is missing')
  const [current, previous] = await Promise.all([readKeyFile(keyFile), readKeyFiles(previousKeyFiles)])
  return createStorageKeyring(current, previous)
}

/** @throws StorageConfigError as `openStorageKeyring` */
export function readKeyFiles(paths: readonly string[]): Promise<readonly StorageKey[]> {
  return Promise.all(paths.map(readKeyFile))
}

async function readKeyFile(path: string): Promise<StorageKey> {
  const refuse = (problem: string, cause?: unknown) =>
    new StorageConfigError(`storage_backend.encryption: the key file ${path} ${problem}`, { cause })
  let text: string
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      const { mode, size } = await file.stat()
      // Its group may read it: that is how orchestrators hand secrets to who is not root.
      if ((mode & 0o037) !== 0) throw refuse('may be read by others or written by its group: chmod 600')
      if (size > MAX_KEY_FILE_BYTES) throw refuse('does not hold 32 bytes in base64')
      text = await file.readFile('utf8')
    } finally {
      await file.close()
    }
  } catch (cause) {
    if (cause instanceof StorageConfigError) throw cause
    throw refuse('cannot be read', cause)
  }
  const line = text.replace(/\r?\n$/, '')
  const bytes = Buffer.from(line, 'base64')
  if (bytes.byteLength !== STORAGE_KEY_BYTES || bytes.toString('base64') !== line) {
    throw refuse('does not hold 32 bytes in base64')
  }
  const key = storageKey(bytes)
  bytes.fill(0)
  return key
}
