import { type KeyValueStore, type Storage, StorageUnavailable } from '../key-value-store.ts'
import { isSealed, isSealedWithCurrentKey, openValue, sealValue } from './envelope.ts'
import type { StorageKeyring } from './storage-keyring.ts'

/** What became of the values of one namespace. */
export interface RewrapResult {
  /** Encrypted with the current key already. */
  readonly current: number
  /** Encrypted with an earlier key before, with the current one now. */
  readonly rewrapped: number
  /** In clear before, encrypted now. */
  readonly encrypted: number
  /** Could not be read or written: the key, and why. They are as they were. */
  readonly failed: readonly { readonly key: string; readonly reason: string }[]
}

type Outcome = 'current' | 'rewrapped' | 'encrypted' | 'gone'

/** Writers that change one key meanwhile; each of them leaves a value in the current key, if it is up to date. */
const MAX_ATTEMPTS = 100

/**
 * Brings every value of a namespace under the keyring's current key. The services may go on: each value is swapped
 * atomically, and what others write meanwhile stays. Broken off, it goes on where it was when it is run again.
 *
 * @param storage the one beneath, not the encrypted one
 * @throws StorageUnavailable when the keys cannot be listed
 */
export async function rewrapNamespace(
  storage: Storage,
  namespace: string,
  keyring: StorageKeyring,
): Promise<RewrapResult> {
  const store = storage.namespace(namespace)
  const counts: Record<Outcome, number> = { current: 0, rewrapped: 0, encrypted: 0, gone: 0 }
  const failed: { key: string; reason: string }[] = []
  for (const key of await store.list()) {
    try {
      counts[await rewrapValue(store, namespace, key, keyring)]++
    } catch (error) {
      failed.push({ key, reason: error instanceof Error ? error.message : 'unknown error' })
    }
  }
  const { current, rewrapped, encrypted } = counts
  return { current, rewrapped, encrypted, failed }
}

async function rewrapValue(
  store: KeyValueStore,
  namespace: string,
  key: string,
  keyring: StorageKeyring,
): Promise<Outcome> {
  const place = { namespace, key }
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const stored = await store.get(key)
    if (stored === undefined) return 'gone'
    const wasSealed = isSealed(stored)
    const value = wasSealed ? openValue(keyring, place, stored) : stored
    if (isSealedWithCurrentKey(keyring, stored)) return 'current'
    if (await store.compareAndSet(key, stored, sealValue(keyring, place, value))) {
      return wasSealed ? 'rewrapped' : 'encrypted'
    }
  }
  throw new StorageUnavailable('the value is being changed by others')
}
