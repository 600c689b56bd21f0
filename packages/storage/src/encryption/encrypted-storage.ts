import type { KeyValueStore, Storage } from '../key-value-store.ts'
import { StorageUnavailable } from '../key-value-store.ts'
import { sameBytes } from '../memory-storage.ts'
import { assertValueSize, MAX_VALUE_BYTES, ValueTooLarge } from '../storage-key.ts'
import { ENVELOPE_OVERHEAD_BYTES, isSealed, keyIdOf, openValue, sealValue } from './envelope.ts'
import type { StorageKeyring } from './storage-keyring.ts'
import { fixedKeys, type StorageKeys } from './storage-keys.ts'

export interface EncryptionOptions {
  /** Namespaces to encrypt; the others are as they are in the storage beneath. Default `repository`, the secrets. */
  readonly namespaces?: readonly string[]
  /** Whether a value in clear is refused on reading, rather than read. Default false. */
  readonly require?: boolean
}

/** Writers that change one key while another compares it, before that one is told to try again. */
const MAX_ATTEMPTS = 100

/**
 * A storage that encrypts values at rest. Who reads the storage beneath, or its backups, learns keys (names) and sizes;
 * who writes to it cannot make up or exchange values, but can delete them and put back old ones, and unless `require`
 * is set put values in clear.
 *
 * Reading throws `StorageUnavailable` for a value that was tampered with or needs a key we do not have.
 */
export function encryptedStorage(
  storage: Storage,
  keyring: StorageKeyring | StorageKeys,
  { namespaces = ['repository'], require = false }: EncryptionOptions = {},
): Storage {
  const encrypted = new Set(namespaces)
  const keys = 'forWriting' in keyring ? keyring : fixedKeys(keyring)
  return {
    namespace(name) {
      const store = storage.namespace(name)
      return encrypted.has(name) ? encryptedNamespace(store, name, keys, require) : store
    },
    async ping() {
      await storage.ping()
      await keys.ping()
    },
    async close() {
      await keys.close()
      await storage.close()
    },
  }
}

function encryptedNamespace(
  store: KeyValueStore,
  namespace: string,
  keys: StorageKeys,
  require: boolean,
): KeyValueStore {
  const seal = async (key: string, value: Uint8Array) => {
    assertSealableSize(value)
    return sealValue(await keys.forWriting(), { namespace, key }, value)
  }
  const open = async (key: string, stored: Uint8Array) => {
    const known = keys.known()
    const keyring = known.find(keyIdOf(stored)) === undefined ? await keys.lookAgain() : known
    return openValue(keyring, { namespace, key }, stored)
  }
  const read = async (key: string, stored: Uint8Array | undefined) => {
    if (stored === undefined) return undefined
    if (isSealed(stored)) return open(key, stored)
    if (require) throw new StorageUnavailable('a stored value is not encrypted')
    return stored
  }
  return {
    get: async (key) => read(key, await store.get(key)),
    set: async (key, value, options) => store.set(key, await seal(key, value), options),
    /** The same value has a new envelope each time: compare what is in it, and swap the envelope that was read. */
    async compareAndSet(key, expected, value) {
      const sealed = await seal(key, value)
      if (expected === undefined) return store.compareAndSet(key, undefined, sealed)
      for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        const stored = await store.get(key)
        if (stored === undefined || !sameBytes(await read(key, stored), expected)) return false
        if (await store.compareAndSet(key, stored, sealed)) return true
        // Not the expected value any more, or the same in another envelope, as after a re-wrapping.
      }
      throw new StorageUnavailable('the value is being changed by others')
    },
    getMany: async (names) => {
      const stored = await store.getMany(names)
      return Promise.all(names.map((key, index) => read(key, stored[index])))
    },
    delete: (key) => store.delete(key),
    list: () => store.list(),
  }
}

/** So that no envelope is over the limit of the storage beneath. @throws ValueTooLarge */
function assertSealableSize(value: Uint8Array): void {
  assertValueSize(value)
  const limit = MAX_VALUE_BYTES - ENVELOPE_OVERHEAD_BYTES
  if (value.byteLength > limit) throw new ValueTooLarge(`value is over ${limit} bytes`)
}
