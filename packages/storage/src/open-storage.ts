import { encryptedStorage } from './encryption/encrypted-storage.ts'
import { openStorageKeyring } from './encryption/storage-keyring.ts'
import type { Storage } from './key-value-store.ts'
import { openLocalFsStorage } from './local-fs/local-fs-storage.ts'
import { openLocalJsonStorage } from './local-json/local-json-storage.ts'
import { openMemoryStorage } from './memory-storage.ts'
import { openPostgresStorage } from './postgres/postgres-storage.ts'
import { openRedisStorage } from './redis/redis-storage.ts'
import type { StorageConfig } from './storage-config.ts'

/**
 * Opens a storage back end, and encrypts in it what the configuration says. Files must be usable now; a server that is down is not an error here: the storage opens,
 * its methods and `ping` throw `StorageUnavailable` until the server is back, so a service starts and reports "not ready".
 *
 * @throws StorageUnavailable when the folder of LocalFs or LocalJson cannot be opened
 * @throws StorageConfigError when a file named in the configuration (password, CA, key) cannot be used
 */
export async function openStorage(config: StorageConfig): Promise<Storage> {
  if (config.encryption === undefined) return openPlainStorage(config)
  const keyring = await openStorageKeyring(config.encryption)
  return encryptedStorage(await openPlainStorage(config), keyring, config.encryption)
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
