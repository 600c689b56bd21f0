import { encodeUtf8, type JsonValue, stringifyJson } from '@passport-kbs/protocol'
import { StorageUnavailable } from '../../key-value-store.ts'
import { assertStorageKey, ValueTooLarge } from '../../storage-key.ts'
import { InvalidSecretVersion, type OpenSecretBackend } from '../secret-backend.ts'
import { openVaultClient } from './vault-client.ts'
import type { VaultConfig } from './vault-config.ts'
import { isObject, type VaultAnswer } from './vault-connection.ts'

/** The member of a secret that holds it, as Trustee names it. */
const member = 'data'

/**
 * HashiCorp Vault or OpenBao, secrets engine KV of version 1 or 2. The secret `<repository>/<type>/<tag>` is the member
 * `data` of the entry of that path, in the shapes of Trustee (spec 01 §5.2): text is its UTF-8 bytes, a list is of bytes,
 * other JSON is its text. Written is the list of bytes, which Trustee reads too.
 *
 * A server that is down is no error here: methods throw `StorageUnavailable` until it is back.
 *
 * @throws StorageConfigError when a CA file cannot be read
 */
export async function openVaultSecrets(config: VaultConfig): Promise<OpenSecretBackend> {
  const vault = await openVaultClient(config)
  const { call } = vault
  const place = (kind: 'data' | 'metadata', path: string) => {
    assertStorageKey(path)
    return config.kvVersion === 1 ? `${config.mountPath}/${path}` : `${config.mountPath}/${kind}/${path}`
  }
  const entry = async (path: string, version?: string) => {
    const query = config.kvVersion === 2 && version !== undefined ? `?version=${numberOf(version)}` : ''
    const answer = await call({ method: 'GET', path: place('data', path) + query })
    if (isNothing(answer)) return undefined
    expectSuccess(answer)
    const { data } = answer.body
    const found = config.kvVersion === 2 && isObject(data) ? data.data : data
    if (!isObject(found)) throw new StorageUnavailable('the answer of Vault has no entry')
    return found
  }
  return {
    async read(path, { version } = {}) {
      const found = await entry(path, version)
      const value = found?.[member]
      return value === undefined ? undefined : secretOf(value)
    },
    async write(path, value) {
      const data = { [member]: [...value] }
      const answer = await call({
        method: 'POST',
        path: place('data', path),
        body: config.kvVersion === 1 ? data : { data },
      })
      if (answer.status === 413) throw new ValueTooLarge('the value is larger than Vault takes')
      expectSuccess(answer)
    },
    /** In version 2 every version of the secret goes: none can be read by its number afterwards. */
    async delete(path) {
      const there = (await entry(path)) !== undefined
      if (there || config.kvVersion === 2)
        expectSuccess(await call({ method: 'DELETE', path: place('metadata', path) }))
      return there
    },
    ping: () => vault.ping(),
    close: () => vault.close(),
  }
}

/** A 404 that gives a reason is about the mount or the namespace: nothing is known of the secret then. */
function isNothing({ status, body }: VaultAnswer): boolean {
  const { errors, data } = body
  // of version 2, a deleted version has metadata; an empty object is what another server says
  return status === 404 && (Array.isArray(errors) ? errors.length === 0 : isObject(data))
}

function expectSuccess({ status }: VaultAnswer): void {
  if (status === 200 || status === 204) return
  const why = status === 403 ? 'refuses the token, or what it may do' : `answered with status ${status}`
  throw new StorageUnavailable(`Vault ${why}`)
}

/** Versions are numbers from 1; Vault takes 0 for the newest. */
function numberOf(version: string): string {
  if (!/^[1-9]\d{0,8}$/.test(version)) throw new InvalidSecretVersion()
  return version
}

function secretOf(value: JsonValue): Uint8Array {
  if (typeof value === 'string') return encodeUtf8(value)
  if (!Array.isArray(value)) return encodeUtf8(stringifyJson(value))
  if (
    !value.every((byte) => typeof byte === 'number' && Number.isInteger(byte) && byte >= 0 && byte <= 255)
  ) {
    throw new StorageUnavailable('the secret in Vault is a list, but not of bytes')
  }
  return Uint8Array.from(value as number[])
}
