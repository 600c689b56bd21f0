import { constants, createHash, createPublicKey, type KeyObject, verify } from 'node:crypto'
import type { KeyVaultKey } from '@azure/keyvault-keys'
import { decodeBase64UrlNoPad, encodeBase64Url } from '@passport-kbs/protocol'
import { StorageUnavailable } from '../key-value-store.ts'
import {
  type AzureAccess,
  type AzureSeams,
  clientOptions,
  credentialOf,
  keyVaultFailure,
} from '../secrets/azure/azure-access.ts'
import { KeyRefused, type KeyService, type Wrapping } from './key-service.ts'

/** `[storage_backend.encryption.azure_key_vault]`, in camelCase. */
export interface AzureKeyConfig extends AzureAccess {
  readonly keyName: string
}

const versionForm = /^[0-9a-f]{32}$/
const signatureAlgorithm = 'PS256'

/**
 * A key in Azure Key Vault or Managed HSM. An RSA key wraps by RSA-OAEP-256, and signs what it has wrapped by PS256: to
 * wrap, the public key is enough, so that alone says nothing of who did. A symmetric key of a Managed HSM wraps by A256KW.
 */
export async function openAzureKeyService(
  config: AzureKeyConfig,
  seams: AzureSeams = {},
): Promise<KeyService> {
  // a large library, which only those pay for who use it
  const { CryptographyClient, KeyClient } = await import('@azure/keyvault-keys')
  const credential = await credentialOf(config, seams)
  const client = new KeyClient(config.vaultUri, credential, clientOptions(seams))
  const deadline = () => ({ abortSignal: AbortSignal.timeout(config.timeoutMs) })
  const keyOf = async (version?: string) => {
    const asked = version === undefined ? {} : { version }
    const key = await answering(() => client.getKey(config.keyName, { ...asked, ...deadline() }))
    if (!versionForm.test(key.properties.version ?? '') || key.key === undefined) {
      throw new StorageUnavailable('the answer of Key Vault has no key')
    }
    return key
  }
  // the library goes where the key's id leads: to our vault, whatever an answer says
  const idOf = ({ properties }: KeyVaultKey) =>
    new URL(`/keys/${config.keyName}/${properties.version ?? ''}`, config.vaultUri).href
  const operations = (key: KeyVaultKey) =>
    new CryptographyClient({ ...key, id: idOf(key) }, credential, clientOptions(seams))
  return {
    kind: 'azure_key_vault',
    key: config.keyName,
    async wrap(bytes, binding) {
      const key = await keyOf()
      const algorithm = algorithmOf(key)
      const crypto = operations(key)
      const { result } = await answering(() => crypto.wrapKey(algorithm, bytes, deadline()))
      const keyVersion = key.properties.version ?? ''
      const wrapping = { keyVersion, algorithm, wrapped: encodeBase64Url(answered(result)) }
      if (algorithm === 'A256KW') return wrapping
      const digest = createHash('sha256').update(signedText(wrapping, binding)).digest()
      const signed = await answering(() => crypto.sign(signatureAlgorithm, digest, deadline()))
      return { ...wrapping, signature: encodeBase64Url(answered(signed.result)) }
    },
    async unwrap(wrapping, binding) {
      const { keyVersion, algorithm, wrapped } = wrapping
      if (!versionForm.test(keyVersion)) throw new KeyRefused('a wrapped key names no version of Key Vault')
      const key = await keyOf(keyVersion)
      if (algorithm !== 'RSA-OAEP-256' && algorithm !== 'A256KW') {
        throw new KeyRefused('a wrapped key names an algorithm that is not ours')
      }
      if (algorithm !== algorithmOf(key)) throw new KeyRefused('the key in Key Vault is of another type')
      if (algorithm === 'RSA-OAEP-256') assertSigned(wrapping, binding, key)
      const crypto = operations(withoutValidity(key))
      const { result } = await answering(() => crypto.unwrapKey(algorithm, bytesOf(wrapped), deadline()))
      return answered(result)
    },
    close: async () => {},
  }
}

function algorithmOf({ keyType }: KeyVaultKey): 'RSA-OAEP-256' | 'A256KW' {
  if (keyType === 'RSA' || keyType === 'RSA-HSM') return 'RSA-OAEP-256'
  if (keyType === 'oct' || keyType === 'oct-HSM') return 'A256KW'
  throw new KeyRefused('the key in Key Vault cannot wrap: it must be RSA, or oct-HSM of 256 bits')
}

/** What is signed: the wrapped key, how it was wrapped, and what it is for. */
function signedText({ keyVersion, algorithm, wrapped }: Wrapping, binding: Uint8Array): Uint8Array {
  return Buffer.concat([
    Buffer.from(`passport-kbs wrapped key\0${keyVersion}\0${algorithm}\0${wrapped}\0`),
    binding,
  ])
}

function assertSigned(wrapping: Wrapping, binding: Uint8Array, { key: jwk }: KeyVaultKey): void {
  if (!(jwk?.n instanceof Uint8Array && jwk.e instanceof Uint8Array)) {
    throw new StorageUnavailable('the answer of Key Vault has no public key')
  }
  const key = publicKeyOf(jwk.n, jwk.e)
  const padding = constants.RSA_PKCS1_PSS_PADDING
  const signature = bytesOf(wrapping.signature ?? '')
  const isSigned = verify(
    'sha256',
    signedText(wrapping, binding),
    { key, padding, saltLength: 32 },
    signature,
  )
  if (!isSigned) throw new KeyRefused('a wrapped key is not signed by the key in Key Vault')
}

function publicKeyOf(n: Uint8Array, e: Uint8Array): KeyObject {
  try {
    const key = { kty: 'RSA', n: encodeBase64Url(n), e: encodeBase64Url(e) }
    return createPublicKey({ key, format: 'jwk' })
  } catch {
    throw new StorageUnavailable('the answer of Key Vault has no public key')
  }
}

/** Key Vault unwraps with versions that have expired, as rotation leaves them; its library would not ask it to. */
function withoutValidity({ properties, ...key }: KeyVaultKey): KeyVaultKey {
  const { expiresOn: _, notBefore: __, ...rest } = properties
  return { ...key, properties: rest }
}

function answered(result: Uint8Array | undefined): Uint8Array {
  if (result instanceof Uint8Array && result.byteLength > 0) return result
  throw new StorageUnavailable('the answer of Key Vault has no result')
}

function bytesOf(text: string): Uint8Array {
  try {
    return decodeBase64UrlNoPad(text)
  } catch (cause) {
    throw new KeyRefused('a wrapped key is not base64url', { cause })
  }
}

/** What is not there, or does not take what it is sent, is no outage; a refusal may be: roles take minutes to apply. */
async function answering<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof StorageUnavailable) throw error
    const { statusCode } = error as { statusCode?: number }
    const failure = keyVaultFailure(error)
    throw statusCode === 404 || statusCode === 400 ? new KeyRefused(failure.message) : failure
  }
}
