import type { KeyValueStore } from '../key-value-store.ts'
import type { SecretBackend } from './secret-backend.ts'

/** Secrets in the namespace of a store: Trustee's `KvStorage` (spec 01 §5.2). Keeps no versions. */
export function storedSecrets(store: KeyValueStore): SecretBackend {
  return {
    read: (path) => store.get(path),
    async write(path, value) {
      await store.set(path, value)
    },
    delete: (path) => store.delete(path),
    // the storage has a probe of its own
    ping: async () => {},
  }
}
