import { encryptedStorage } from './encryption/encrypted-storage.ts'
import { openStorageKeys, type StorageKeysOptions } from './encryption/open-storage-keys.ts'
import type { Storage } from './key-value-store.ts'
import { openLocalFsStorage } from './local-fs/local-fs-storage.ts'
import { openLocalJsonStorage } from './local-json/local-json-storage.ts'
import { openMemoryStorage } from './memory-storage.ts'
import { openPostgresStorage } from './postgres/postgres-storage.ts'
import { openRedisStorage } from './redis/redis-storage.ts'
import type { StorageConfig } from './storage-config.ts'

/**
 * Opens a storage back end, and encrypts in it what the configuration says. Files must be usable now. A server that is
 * down is not an error here, be it the back end's or one that unwraps keys: the storage opens, its methods and `ping`
 * throw `StorageUnavailable` until the server is back, so a service starts and reports "not ready".
 *
 * @throws StorageUnavailable when the folder of LocalFs or LocalJson cannot be opened
 * @throws StorageConfigError when a file named in the configuration (password, CA, key) cannot be used, or the key that
 *   wraps others is not there or not the one that has wrapped them
 */
export async function openStorage(config: StorageConfig, options: StorageKeysOptions = {}): Promise<Storage> {
  const storage = await openPlainStorage(config)
  if (config.encryption === undefined) return storage
  try {
    const keys = await openStorageKeys(config.encryption, storage, options)
    return encryptedStorage(storage, keys, config.encryption)
  } catch (error) {
    await storage.close()
    throw error
  }
}

/** The storage as it is, envelopes and all: for re-wrapping. @throws as `openStorage` */
export async function openPlainStorage(config: StorageConfig): Promise<Storage> {
  switch (config.type) {
    case 'Memory':
      return openMemoryStorage()
    case 'LocalFs':
      return openLocalFsStorage(config.dirPath)
    case 'LocalJson':
      return openLocalJsonStorage(config.folder)
    case 'Redis':
      return openRedisStorage(config.redis)
    case 'Postgres':
      return openPostgresStorage(config.postgres)
  }
}
