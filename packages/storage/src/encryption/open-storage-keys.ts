import type { Storage } from '../key-value-store.ts'
import { openAzureKeyService } from './azure-key-service.ts'
import type { EncryptionConfig, KeyServiceConfig } from './encryption-config.ts'
import type { KeyService } from './key-service.ts'
import { openStorageKeyring, readKeyFiles, type StorageKeyring } from './storage-keyring.ts'
import { fixedKeys, type StorageKeys } from './storage-keys.ts'
import { openTransitKeyService } from './transit-key-service.ts'
import { WrappedKeys, type WrappedKeysOptions } from './wrapped-keys.ts'

export type StorageKeysOptions = Pick<WrappedKeysOptions, 'onNotice' | 'firstRetryMs' | 'now'>

/**
 * The keys of a storage, from where the configuration says. A key service, or a storage, that is down is no error here.
 *
 * @param storage the one beneath, where the record of wrapped keys is
 * @throws StorageConfigError for a file, a key or a record that cannot be used
 */
export async function openStorageKeys(
  config: EncryptionConfig,
  storage: Storage,
  options: StorageKeysOptions = {},
): Promise<StorageKeys> {
  const { keyService, previousKeyService } = config
  if (keyService !== undefined) return openWrappedKeys({ ...config, keyService }, storage, options)
  const keyring = await openStorageKeyring(config)
  if (previousKeyService === undefined) return fixedKeys(keyring)
  const service = await openKeyService(previousKeyService)
  const previous = await WrappedKeys.open({ ...options, storage, service, mayBegin: false })
  return withPrevious(keyring, previous)
}

/** The same for keys that a service wraps, and what can be done with these. @throws StorageConfigError */
export async function openWrappedKeys(
  config: EncryptionConfig & { readonly keyService: KeyServiceConfig },
  storage: Storage,
  options: StorageKeysOptions = {},
): Promise<WrappedKeys> {
  const { keyService, previousKeyService, previousKeyFiles } = config
  const previousKeys = await readKeyFiles(previousKeyFiles)
  const service = await openKeyService(keyService)
  const previousService = previousKeyService && (await openKeyService(previousKeyService))
  return WrappedKeys.open({ ...options, storage, service, previousService, previousKeys })
}

function openKeyService(config: KeyServiceConfig): Promise<KeyService> {
  return config.kind === 'azure_key_vault' ? openAzureKeyService(config) : openTransitKeyService(config)
}

/** Writes with keys from files, and still reads what wrapped keys have encrypted. */
function withPrevious(keyring: StorageKeyring, previous: WrappedKeys): StorageKeys {
  const joined = (wrapped: StorageKeyring): StorageKeyring => ({
    current: keyring.current,
    find: (id) => keyring.find(id) ?? wrapped.find(id),
  })
  return {
    known: () => joined(previous.known()),
    lookAgain: async () => joined(await previous.lookAgain()),
    forWriting: async () => keyring,
    ping: () => previous.ping(),
    close: () => previous.close(),
  }
}
