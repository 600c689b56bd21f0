import { decodeBase64, encodeBase64 } from '@passport-kbs/protocol'
import { StorageUnavailable } from '../key-value-store.ts'
import { openVaultClient } from '../secrets/vault/vault-client.ts'
import type { VaultAccess } from '../secrets/vault/vault-config.ts'
import { isObject, type VaultAnswer } from '../secrets/vault/vault-connection.ts'
import { KeyRefused, type KeyService } from './key-service.ts'

/** `[storage_backend.encryption.vault_transit]`, in camelCase. */
export interface TransitConfig extends VaultAccess {
  /** Where the engine is mounted. */
  readonly mountPath: string
  readonly keyName: string
}

/** Transit knows itself how it has encrypted; the version is in the text. */
const algorithm = 'transit'
const ciphertextForm = /^vault:v([1-9]\d{0,8}):[A-Za-z0-9+/]{16,4096}={0,2}$/

/**
 * A key of the transit engine of HashiCorp Vault or OpenBao. It must be symmetric (`aes256-gcm96`, `chacha20-poly1305`,
 * …): only these take associated data, which the wrapped key is bound by.
 *
 * @throws StorageConfigError when a CA file cannot be read
 */
export async function openTransitKeyService(config: TransitConfig): Promise<KeyService> {
  const vault = await openVaultClient(config)
  const { mountPath, keyName, namespace } = config
  const ask = async (operation: 'encrypt' | 'decrypt', body: Record<string, string>) => {
    const answer = await vault.call({ method: 'POST', path: `${mountPath}/${operation}/${keyName}`, body })
    return dataOf(answer, operation)
  }
  return {
    kind: 'vault_transit',
    key: [...(namespace === undefined ? [] : [namespace]), mountPath, keyName].join('/'),
    async wrap(bytes, binding) {
      const { ciphertext } = await ask('encrypt', {
        plaintext: encodeBase64(bytes),
        associated_data: encodeBase64(binding),
      })
      const [, keyVersion] = typeof ciphertext === 'string' ? (ciphertextForm.exec(ciphertext) ?? []) : []
      if (typeof ciphertext !== 'string' || keyVersion === undefined) {
        throw new StorageUnavailable('the answer of Vault has no ciphertext')
      }
      return { keyVersion, algorithm, wrapped: ciphertext }
    },
    async unwrap({ wrapped, keyVersion, algorithm: named }, binding) {
      // what is not of this form never goes to Vault
      if (named !== algorithm || ciphertextForm.exec(wrapped)?.[1] !== keyVersion) {
        throw new KeyRefused('a wrapped key is not of the form of Vault')
      }
      const { plaintext } = await ask('decrypt', {
        ciphertext: wrapped,
        associated_data: encodeBase64(binding),
      })
      if (typeof plaintext !== 'string') throw new StorageUnavailable('the answer of Vault has no plaintext')
      try {
        return decodeBase64(plaintext)
      } catch {
        throw new StorageUnavailable('the answer of Vault is not base64')
      }
    },
    close: () => vault.close(),
  }
}

function dataOf({ status, body }: VaultAnswer, operation: 'encrypt' | 'decrypt') {
  // also for a key that is not there, where the policy does not allow to create it
  if (status === 403) throw new StorageUnavailable('Vault refuses the token, what it may do, or the key')
  if (status === 400 || status === 404) {
    const why =
      operation === 'encrypt'
        ? 'does not wrap: the key must be there, symmetric and not derived'
        : 'does not unwrap: the key is another, or its version is not allowed any more'
    throw new KeyRefused(`Vault ${why} (status ${status})`)
  }
  if (status !== 200) throw new StorageUnavailable(`Vault answered with status ${status}`)
  if (!isObject(body.data)) throw new StorageUnavailable('the answer of Vault has no data')
  return body.data
}
