import { z } from 'zod'
import { azureAccessKeys } from '../secrets/azure/azure-access-schema.ts'
import { hasOneVaultCredential, vaultAccessKeys, vaultPath } from '../secrets/vault/vault-access-schema.ts'
import type { AzureKeyConfig } from './azure-key-service.ts'
import type { TransitConfig } from './transit-key-service.ts'

/** Namespaces that can be encrypted: all but the sessions, which are short-lived and hold no secret of ours. */
export const encryptableNamespaces = [
  'repository',
  'kbs',
  'policy_history',
  'attestation_service_policy',
  'reference_value',
] as const

const keyFile = z.string().min(1).max(4096)

const azureKeyVault = z.strictObject({
  ...azureAccessKeys(),
  key_name: z
    .string()
    .regex(/^[0-9A-Za-z-]{1,127}$/, 'must be letters, digits and "-"')
    .describe('Ours: name of the key: RSA, or oct-HSM of a Managed HSM.'),
})

const vaultTransit = z
  .strictObject({
    ...vaultAccessKeys('Ours: '),
    mount_path: vaultPath().default('transit').describe('Ours: where the engine is mounted.'),
    key_name: z
      .string()
      .regex(/^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}$/, 'must be letters, digits and "_.-"')
      .describe('Ours: name of the key; a symmetric one, not derived.'),
  })
  .refine(hasOneVaultCredential, {
    path: ['token'],
    message: 'give one of token, token_file and kubernetes',
  })

const services = {
  azure_key_vault: azureKeyVault
    .optional()
    .describe('Ours: keys are made by the program, and wrapped by a key in Azure Key Vault.'),
  vault_transit: vaultTransit
    .optional()
    .describe('Ours: keys are made by the program, and wrapped by the transit engine of Vault or OpenBao.'),
}

/** `[storage_backend.encryption]`. All of it is ours. */
export const encryptionSectionSchema = z
  .strictObject({
    key_file: keyFile
      .optional()
      .describe('Ours: file with the key, 32 bytes in base64, as `kbsctl keygen --storage-key` makes it.'),
    previous_key_files: z
      .array(keyFile)
      .max(16)
      .default([])
      .describe('Ours: files with keys that values may still be encrypted with.'),
    ...services,
    previous: z
      .strictObject(services)
      .refine((previous) => count(previous) === 1, {
        message: 'give one of azure_key_vault and vault_transit',
      })
      .optional()
      .describe(
        'Ours: where keys may still be wrapped that values are encrypted with, until they are re-wrapped.',
      ),
    namespaces: z
      .array(z.enum(encryptableNamespaces))
      .min(1)
      .default(['repository'])
      .describe('Ours: what is encrypted; `repository` holds the secrets.'),
    require: z
      .boolean()
      .default(false)
      .describe(
        'Ours: refuse values that are stored in clear. Set it once `kbsctl storage rewrap` has been through.',
      ),
  })
  .refine((section) => count(section) === 1, {
    message: 'give one of key_file, azure_key_vault and vault_transit',
  })

/** A service with the key that wraps ours. */
export type KeyServiceConfig =
  | ({ readonly kind: 'azure_key_vault' } & AzureKeyConfig)
  | ({ readonly kind: 'vault_transit' } & TransitConfig)

/** What of a store is encrypted, and with which keys. */
export interface EncryptionConfig {
  /** Exactly one of `keyFile` and `keyService`. */
  readonly keyFile?: string
  readonly keyService?: KeyServiceConfig
  readonly previousKeyFiles: readonly string[]
  readonly previousKeyService?: KeyServiceConfig
  readonly namespaces: readonly string[]
  readonly require: boolean
}

export function resolveEncryption(section: z.output<typeof encryptionSectionSchema>): EncryptionConfig {
  const keyService = keyServiceOf(section)
  const previousKeyService = section.previous === undefined ? undefined : keyServiceOf(section.previous)
  return {
    ...(section.key_file === undefined ? {} : { keyFile: section.key_file }),
    ...(keyService === undefined ? {} : { keyService }),
    previousKeyFiles: section.previous_key_files,
    ...(previousKeyService === undefined ? {} : { previousKeyService }),
    namespaces: section.namespaces,
    require: section.require,
  }
}

interface Services {
  readonly key_file?: unknown
  readonly azure_key_vault?: z.output<typeof azureKeyVault> | undefined
  readonly vault_transit?: z.output<typeof vaultTransit> | undefined
}

function count({ key_file, azure_key_vault, vault_transit }: Services): number {
  return [key_file, azure_key_vault, vault_transit].filter((source) => source !== undefined).length
}

function keyServiceOf({
  azure_key_vault: azure,
  vault_transit: vault,
}: Services): KeyServiceConfig | undefined {
  if (azure !== undefined) {
    const {
      vault_uri: vaultUri,
      credential,
      client_id: clientId,
      timeout_ms: timeoutMs,
      key_name: keyName,
    } = azure
    const client = clientId === undefined ? {} : { clientId }
    return { kind: 'azure_key_vault', vaultUri, credential, ...client, timeoutMs, keyName }
  }
  if (vault === undefined) return undefined
  const { token, token_file: tokenFile, kubernetes, namespace } = vault
  return {
    kind: 'vault_transit',
    vaultUrl: vault.vault_url,
    ...(token === undefined ? {} : { token }),
    ...(tokenFile === undefined ? {} : { tokenFile }),
    ...(kubernetes === undefined
      ? {}
      : {
          kubernetes: {
            role: kubernetes.role,
            authPath: kubernetes.auth_path,
            jwtFile: kubernetes.jwt_file,
          },
        }),
    ...(namespace === undefined ? {} : { namespace }),
    caCerts: vault.ca_certs,
    timeoutMs: vault.timeout_ms,
    mountPath: vault.mount_path,
    keyName: vault.key_name,
  }
}
