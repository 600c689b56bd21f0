import { InvalidStorageKey, StorageUnavailable } from './key-value-store.ts'

/**
 * Longest key, counted as LocalFs writes it (`/` and `:` as four characters), so that every back end accepts the same
 * keys: one file name holds 255 bytes on the file systems we meet.
 */
export const MAX_KEY_LENGTH = 255

/** Longest value any back end stores or reads. Far above a policy or a secret; keeps one bad file from filling memory. */
export const MAX_VALUE_BYTES = 16 * 1024 * 1024

const keySegment = /^[A-Za-z0-9_.:-]+$/
const namespaceName = /^[A-Za-z0-9_.-]{1,63}$/

/**
 * Refuses what a key must not be, on reads as on writes (spec 01 §5.3, §11.5 no. 40): segments of letters, digits and
 * `-_.:`, separated by `/`, none empty, `.` or `..`. The error does not repeat the key: it may be a guest's secret.
 *
 * @throws InvalidStorageKey
 */
export function assertStorageKey(key: string): void {
  const written = key.length + 3 * (key.match(/[/:]/g)?.length ?? 0)
  if (written > MAX_KEY_LENGTH) throw new InvalidStorageKey('storage key is too long')
  for (const segment of key.split('/')) {
    if (segment === '') throw new InvalidStorageKey('storage key has an empty segment')
    if (segment === '.' || segment === '..') throw new InvalidStorageKey('storage key has a dot segment')
    if (!keySegment.test(segment)) {
      throw new InvalidStorageKey('storage key has a character other than letters, digits and "-_./:"')
    }
  }
}

/** Whether `assertStorageKey` accepts it. */
export function isStorageKey(key: string): boolean {
  try {
    assertStorageKey(key)
    return true
  } catch {
    return false
  }
}

/**
 * A namespace is one folder in LocalFs, the part before the first `:` in Redis, and a table's name, of at most 63 bytes,
 * in PostgreSQL; so it may hold neither `/` nor `:`.
 *
 * @throws InvalidStorageKey
 */
export function assertNamespace(name: string): void {
  if (!isNamespace(name)) {
    throw new InvalidStorageKey('storage namespace must be letters, digits and "-_.", and no dot segment')
  }
}

/** Whether `assertNamespace` accepts it. */
export function isNamespace(name: string): boolean {
  return namespaceName.test(name) && name !== '.' && name !== '..'
}

/** @throws ValueTooLarge */
export function assertValueSize(value: Uint8Array): void {
  if (value.byteLength > MAX_VALUE_BYTES) throw new ValueTooLarge(`value is over ${MAX_VALUE_BYTES} bytes`)
}

/** For what a store answers that others can write to, too. @throws StorageUnavailable */
export function assertReadSize(value: Uint8Array): void {
  if (value.byteLength > MAX_VALUE_BYTES)
    throw new StorageUnavailable(`stored value is over ${MAX_VALUE_BYTES} bytes`)
}

/** The value is over `MAX_VALUE_BYTES`; nothing was written. */
export class ValueTooLarge extends Error {
  override readonly name = 'ValueTooLarge'
}
