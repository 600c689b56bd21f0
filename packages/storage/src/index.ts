export * from './derived-value.ts'
export { type AzureKeyConfig, openAzureKeyService } from './encryption/azure-key-service.ts'
export { type EncryptionOptions, encryptedStorage } from './encryption/encrypted-storage.ts'
export {
  type EncryptionConfig,
  encryptionSectionSchema,
  type KeyServiceConfig,
} from './encryption/encryption-config.ts'
export { KeyRefused, type KeyService, type Wrapping } from './encryption/key-service.ts'
export { openStorageKeys, openWrappedKeys, type StorageKeysOptions } from './encryption/open-storage-keys.ts'
export { type RewrapResult, rewrapNamespace } from './encryption/rewrap.ts'
export {
  createStorageKeyring,
  openStorageKeyring,
  STORAGE_KEY_BYTES,
  type StorageKey,
  type StorageKeyring,
  storageKey,
} from './encryption/storage-keyring.ts'
export type { StorageKeys } from './encryption/storage-keys.ts'
export { openTransitKeyService, type TransitConfig } from './encryption/transit-key-service.ts'
export { SUPERSEDED_MS, WrappedKeys, type WrappedKeysOptions } from './encryption/wrapped-keys.ts'
export * from './key-value-store.ts'
export { DEFAULT_MAX_SESSIONS, openSessionStore, type SessionStoreConfig } from './open-session-store.ts'
export { openPlainStorage, openStorage } from './open-storage.ts'
export { type PostgresConfig, postgresSectionSchema } from './postgres/postgres-config.ts'
export type { AzureSeams } from './secrets/azure/azure-access.ts'
export { azureAccessKeys } from './secrets/azure/azure-access-schema.ts'
export { type AzureKeyVaultConfig, openAzureKeyVault } from './secrets/azure/azure-key-vault.ts'
export { directorySecrets } from './secrets/directory-secrets.ts'
export { mountSecrets, type SecretMount } from './secrets/mounted-secrets.ts'
export * from './secrets/secret-backend.ts'
export { storedSecrets } from './secrets/stored-secrets.ts'
export { hasOneVaultCredential, vaultAccessKeys, vaultPath } from './secrets/vault/vault-access-schema.ts'
export type { VaultConfig } from './secrets/vault/vault-config.ts'
export { openVaultSecrets } from './secrets/vault/vault-secrets.ts'
export * from './session-store.ts'
export { newSessionId } from './sessions/session-id.ts'
export {
  localFsSectionSchema,
  localJsonSectionSchema,
  type RedisConfig,
  redisSectionSchema,
  resolveStorageConfig,
  type StorageBackendSection,
  type StorageConfig,
  type StorageType,
  storageBackendSchema,
  storageConfigSchema,
  storageTypeSchema,
} from './storage-config.ts'
export { StorageConfigError } from './storage-config-error.ts'
export {
  assertStorageKey,
  isStorageKey,
  MAX_KEY_LENGTH,
  MAX_VALUE_BYTES,
  ValueTooLarge,
} from './storage-key.ts'
export {
  createVersionHistory,
  type NewVersion,
  type VersionHistory,
  type VersionHistoryOptions,
  type VersionOrigin,
  type VersionRecord,
} from './version-history.ts'
