import type { Config, PluginConfig } from '@passport-kbs/service'
import {
  directorySecrets,
  mountSecrets,
  type OpenSecretBackend,
  openAzureKeyVault,
  openVaultSecrets,
  type SecretBackend,
  type Storage,
  storedSecrets,
} from '@passport-kbs/storage'

/** Opens the back end of the plugin `resource` with what is mounted beside it; undefined where there is no such plugin. */
export async function openSecrets(
  config: Config,
  storage: Storage,
): Promise<{ readonly backend: SecretBackend; readonly close: () => Promise<void> } | undefined> {
  const plugin = config.plugins.find(({ name }) => name === 'resource')
  if (plugin === undefined) return undefined
  const main = await openBackend(plugin, storage)
  const mounts = plugin.mounts.map(({ prefix, directory }) => ({
    prefix,
    backend: directorySecrets(directory),
  }))
  return { backend: mountSecrets(main, mounts), close: () => main.close() }
}

async function openBackend(plugin: PluginConfig, storage: Storage): Promise<OpenSecretBackend> {
  switch (plugin.storageBackendType) {
    case 'KvStorage':
      return { ...storedSecrets(storage.namespace('repository')), close: async () => {} }
    case 'Vault':
      return openVaultSecrets(plugin)
    case 'AzureKeyVault':
      return openAzureKeyVault(plugin)
  }
}
