import { resolve } from 'node:path'
import { ConfigError, loadStorageChoices } from '@passport-kbs/service'
import {
  openPlainStorage,
  openStorageKeyring,
  rewrapNamespace,
  type StorageConfig,
  StorageConfigError,
  StorageUnavailable,
} from '@passport-kbs/storage'
import { CommandFailed, type Terminal } from '../terminal.ts'

export interface StorageRewrapOptions {
  /** The configuration of the server whose store it is. */
  readonly configFile: string
}

/**
 * Brings all that a server stores encrypted, or should, under the current key of its configuration. The server may run
 * meanwhile, and the command may be broken off and run again.
 *
 * @returns whether every value was brought there
 */
export async function storageRewrap(terminal: Terminal, options: StorageRewrapOptions): Promise<boolean> {
  let complete = true
  try {
    for (const store of await storesOf(terminal, options.configFile)) {
      complete = (await rewrapStore(terminal, store)) && complete
    }
  } catch (error) {
    const isExpected =
      error instanceof ConfigError ||
      error instanceof StorageConfigError ||
      error instanceof StorageUnavailable
    if (isExpected) throw new CommandFailed(error.message, { cause: error })
    throw error
  }
  return complete
}

/** Each store once, though it may hold policies, reference values and secrets. @throws CommandFailed */
async function storesOf(terminal: Terminal, file: string): Promise<readonly StorageConfig[]> {
  const { data, attestationPolicies, referenceValues } = await loadStorageChoices(
    resolve(terminal.cwd, file),
    terminal.env,
  )
  const all = [data, attestationPolicies, referenceValues]
  if (data.encryption === undefined) throw new CommandFailed(`${file} has no [storage_backend.encryption]`)
  const kept = new Map(
    all.filter(({ type }) => type !== 'Memory').map((store) => [JSON.stringify(store), store]),
  )
  if (kept.size === 0) throw new CommandFailed('what is in memory ends with the server: nothing to re-wrap')
  return [...kept.values()]
}

async function rewrapStore(terminal: Terminal, config: StorageConfig): Promise<boolean> {
  if (config.encryption === undefined) return true
  const keyring = await openStorageKeyring(config.encryption)
  const storage = await openPlainStorage(config)
  let complete = true
  try {
    for (const namespace of config.encryption.namespaces) {
      const { current, rewrapped, encrypted, failed } = await rewrapNamespace(storage, namespace, keyring)
      const counts = `${rewrapped} re-wrapped, ${encrypted} encrypted for the first time, ${current} current before`
      terminal.out(`${config.type} ${namespace}: ${counts}, ${failed.length} failed`)
      for (const { key, reason } of failed) terminal.err(`${namespace}/${key}: ${reason}`)
      complete &&= failed.length === 0
    }
  } finally {
    await storage.close()
  }
  return complete
}
