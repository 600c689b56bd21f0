import { resolve } from 'node:path'
import { ConfigError, loadStorageChoices } from '@passport-kbs/service'
import {
  openPlainStorage,
  openStorageKeys,
  rewrapNamespace,
  type Storage,
  type StorageConfig,
  StorageConfigError,
  StorageUnavailable,
  WrappedKeys,
} from '@passport-kbs/storage'
import { CommandFailed, type Terminal } from '../terminal.ts'

export interface StorageRewrapOptions {
  /** The configuration of the server whose store it is. */
  readonly configFile: string
  /** First make a new key and have values written with it. Only where a key service wraps the keys. */
  readonly newKey?: boolean
  /** At last forget the keys that no value needs any more. Only where a key service wraps the keys. */
  readonly removeOldKeys?: boolean
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
      complete = (await rewrapStore(terminal, store, options)) && complete
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

async function rewrapStore(
  terminal: Terminal,
  config: StorageConfig,
  options: StorageRewrapOptions,
): Promise<boolean> {
  const { encryption } = config
  if (encryption === undefined) return true
  const storage = await openPlainStorage(config)
  try {
    const keys = await openStorageKeys(encryption, storage)
    try {
      await keys.ping()
      const wrapped = keys instanceof WrappedKeys ? keys : undefined
      if (wrapped === undefined && (options.newKey || options.removeOldKeys)) {
        throw new CommandFailed(
          'keys in files are made with kbsctl keygen --storage-key, and named in the file',
        )
      }
      if (options.newKey) await wrapped?.addKey()
      if (wrapped !== undefined) {
        terminal.out(
          `${config.type} keys: ${await wrapped.wrapAnew()} wrapped by another version of the key service's`,
        )
      }
      const keyring = keys.known()
      const store = { type: config.type, storage, namespaces: encryption.namespaces }
      const complete = await rewrapNamespaces(terminal, store, keyring)
      if (options.removeOldKeys && complete) await removeOldKeys(terminal, config.type, wrapped)
      return complete
    } finally {
      await keys.close()
    }
  } finally {
    await storage.close()
  }
}

async function rewrapNamespaces(
  terminal: Terminal,
  store: { readonly type: string; readonly storage: Storage; readonly namespaces: readonly string[] },
  keyring: Parameters<typeof rewrapNamespace>[2],
): Promise<boolean> {
  let complete = true
  for (const namespace of store.namespaces) {
    const { current, rewrapped, encrypted, failed } = await rewrapNamespace(store.storage, namespace, keyring)
    const counts = `${rewrapped} re-wrapped, ${encrypted} encrypted for the first time, ${current} current before`
    terminal.out(`${store.type} ${namespace}: ${counts}, ${failed.length} failed`)
    for (const { key, reason } of failed) terminal.err(`${namespace}/${key}: ${reason}`)
    complete &&= failed.length === 0
  }
  return complete
}

async function removeOldKeys(terminal: Terminal, type: string, keys: WrappedKeys | undefined): Promise<void> {
  if (keys === undefined) return
  const { removed, kept } = await keys.removeUnneeded()
  const why = kept === 0 ? '' : ': a value needs them, or they were current less than a minute ago'
  terminal.out(`${type} keys: ${removed} forgotten, ${kept} old ones kept${why}`)
}
