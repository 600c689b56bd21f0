import type { KeyVaultSecret } from '@azure/keyvault-secrets'
import { decodeBase64, encodeBase64, encodeUtf8 } from '@passport-kbs/protocol'
import { StorageUnavailable } from '../../key-value-store.ts'
import { ValueTooLarge } from '../../storage-key.ts'
import { CachedReads } from '../cached-reads.ts'
import { InvalidSecretVersion, type OpenSecretBackend, SecretBackendReadOnly } from '../secret-backend.ts'
import {
  type AzureAccess,
  type AzureSeams,
  clientOptions,
  credentialOf,
  keyVaultFailure,
} from './azure-access.ts'

/** `[[plugins]]` with `storage_backend_type = "AzureKeyVault"`, in camelCase. */
export interface AzureKeyVaultConfig extends AzureAccess {
  readonly names: readonly { readonly path: string; readonly secret: string }[]
  readonly allowWrite: boolean
  readonly cacheMs: number
  readonly staleMs: number
}

/** Content types of secrets whose value is base64. */
const binaryTypes = ['application/octet-stream', 'application/octet-stream;base64', 'application/x-pkcs12']
/** Key Vault holds 25 KiB in a secret. */
const largestValue = 25_600
/** Asked for where no other is known: that there is none is an answer, too. */
const absentName = 'passport-kbs-readiness'
const recentMs = 10_000
const segment = /^[a-z0-9]+(?:-[a-z0-9]+)*$/

/**
 * Azure Key Vault by its own API. `<repository>/<type>/<tag>` is the secret `<repository>--<type>--<tag>`, or the one
 * that `names` gives. Names of Key Vault know no case and few characters: a path of other segments than lower-case words
 * joined by single hyphens has no secret there, so that no two paths are one secret.
 */
export async function openAzureKeyVault(
  config: AzureKeyVaultConfig,
  seams: AzureSeams = {},
): Promise<OpenSecretBackend> {
  // large libraries, which only those pay for who use them
  const { SecretClient: Client } = await import('@azure/keyvault-secrets')
  const client = new Client(config.vaultUri, await credentialOf(config, seams), clientOptions(seams))
  const cache = new CachedReads({
    ttlMs: config.cacheMs,
    staleMs: config.staleMs,
    clock: () => performance.now(),
  })
  const abortSignal = () => AbortSignal.timeout(config.timeoutMs)
  /** A name that we may read: where roles are given for single secrets, others are refused. */
  let probe = config.names[0]?.secret ?? absentName
  let answeredAt = Number.NEGATIVE_INFINITY
  const readVersion = (name: string, version?: string) =>
    answering(async () => {
      const options = { abortSignal: abortSignal(), ...(version === undefined ? {} : { version }) }
      const secret = await client.getSecret(name, options)
      const bytes = bytesOf(secret)
      probe = name
      return bytes
    })
  const nameToWrite = (path: string) => {
    if (!config.allowWrite) throw new SecretBackendReadOnly()
    const name = nameOf(config, path)
    if (name === undefined) throw new SecretBackendReadOnly()
    return name
  }
  return {
    async read(path, { version } = {}) {
      const name = nameOf(config, path)
      if (version !== undefined && !/^[0-9a-f]{32}$/.test(version)) throw new InvalidSecretVersion()
      if (name === undefined) return undefined
      return cache.get(`${name}/${version ?? ''}`, async () => {
        const secret = await readVersion(name, version)
        answeredAt = performance.now()
        return secret
      })
    },
    async write(path, value) {
      const name = nameToWrite(path)
      const { text, contentType } = textOf(value)
      if (text.length > largestValue) throw new ValueTooLarge('the value is larger than Key Vault takes')
      await answering(() => client.setSecret(name, text, { contentType, abortSignal: abortSignal() }))
      cache.clear()
    },
    async delete(path) {
      const name = nameToWrite(path)
      const deleted = await answering(() => client.beginDeleteSecret(name, { abortSignal: abortSignal() }))
      cache.clear()
      return deleted !== undefined
    },
    /** Costs nothing where a guest has read lately; else one read, past the cache. */
    async ping() {
      if (performance.now() - answeredAt < recentMs) return
      await readVersion(probe)
      answeredAt = performance.now()
    },
    close: async () => cache.clear(),
  }
}

function nameOf({ names }: AzureKeyVaultConfig, path: string): string | undefined {
  const given = names.find((entry) => entry.path === path)
  if (given !== undefined) return given.secret
  const segments = path.split('/')
  const name = segments.join('--')
  // a secret with a name of its own is served under its path only
  if (names.some(({ secret }) => secret.toLowerCase() === name)) return undefined
  return segments.length === 3 && segments.every((s) => segment.test(s)) && name.length <= 127
    ? name
    : undefined
}

function bytesOf({ value, properties }: KeyVaultSecret): Uint8Array {
  if (typeof value !== 'string') throw new StorageUnavailable('the answer of Key Vault has no secret')
  const contentType = properties.contentType?.toLowerCase().replaceAll(' ', '')
  if (contentType === undefined || !binaryTypes.includes(contentType)) return encodeUtf8(value)
  try {
    return decodeBase64(value)
  } catch {
    throw new StorageUnavailable('the secret in Key Vault is called binary, but is not base64')
  }
}

/** Text stays readable in the portal; what is no UTF-8 becomes base64. */
function textOf(value: Uint8Array): { text: string; contentType: string } {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(value)
    if (text !== '') return { text, contentType: 'text/plain' }
  } catch {
    // binary
  }
  return { text: encodeBase64(value), contentType: 'application/octet-stream;base64' }
}

/** Undefined where Key Vault says that there is no such secret; all other failures are an outage. */
async function answering<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof StorageUnavailable) throw error
    const { statusCode, code } = error as { statusCode?: number; code?: string }
    if (statusCode === 404 && code === 'SecretNotFound') return undefined
    throw keyVaultFailure(error)
  }
}
