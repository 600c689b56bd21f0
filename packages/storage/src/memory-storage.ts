import type { KeyValueStore, Storage } from './key-value-store.ts'
import { assertNamespace, assertStorageKey, assertValueSize } from './storage-key.ts'

/**
 * Values in this process, lost with it. Every method does its work before it first yields, so each is one atomic step.
 * Values are copied on the way in and out: nobody holds a reference into the store.
 */
export function openMemoryStorage(): Storage {
  const namespaces = new Map<string, KeyValueStore>()
  return {
    namespace(name) {
      assertNamespace(name)
      let store = namespaces.get(name)
      if (store === undefined) {
        store = memoryNamespace()
        namespaces.set(name, store)
      }
      return store
    },
    async ping() {},
    async close() {
      namespaces.clear()
    },
  }
}

function memoryNamespace(): KeyValueStore {
  const values = new Map<string, Uint8Array>()
  const read = (key: string) => {
    assertStorageKey(key)
    return values.get(key)
  }
  return {
    async get(key) {
      return read(key)?.slice()
    },
    async set(key, value, options = {}) {
      assertValueSize(value)
      if (read(key) !== undefined && options.ifAbsent === true) return false
      values.set(key, Uint8Array.from(value))
      return true
    },
    async compareAndSet(key, expected, value) {
      assertValueSize(value)
      if (!sameBytes(read(key), expected)) return false
      values.set(key, Uint8Array.from(value))
      return true
    },
    async getMany(keys) {
      return keys.map((key) => read(key)?.slice())
    },
    async delete(key) {
      assertStorageKey(key)
      return values.delete(key)
    },
    async list() {
      return [...values.keys()].sort()
    },
  }
}

/** Whether two values are equal, "no value" being equal to itself only. */
export function sameBytes(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  return Buffer.compare(a, b) === 0
}
