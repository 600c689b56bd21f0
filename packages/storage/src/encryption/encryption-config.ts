import { z } from 'zod'

/** Namespaces that can be encrypted: all but the sessions, which are short-lived and hold no secret of ours. */
export const encryptableNamespaces = [
  'repository',
  'kbs',
  'policy_history',
  'attestation_service_policy',
  'reference_value',
] as const

const keyFile = z.string().min(1).max(4096)

/** `[storage_backend.encryption]`. All of it is ours. */
export const encryptionSectionSchema = z.strictObject({
  key_file: keyFile.describe(
    'Ours: file with the key, 32 bytes in base64, as `kbsctl keygen --storage-key` makes it.',
  ),
  previous_key_files: z
    .array(keyFile)
    .max(16)
    .default([])
    .describe('Ours: files with keys that values may still be encrypted with.'),
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

/** What of a store is encrypted, and with which keys. */
export interface EncryptionConfig {
  readonly keyFile: string
  readonly previousKeyFiles: readonly string[]
  readonly namespaces: readonly string[]
  readonly require: boolean
}

export function resolveEncryption(section: z.output<typeof encryptionSectionSchema>): EncryptionConfig {
  return {
    keyFile: section.key_file,
    previousKeyFiles: section.previous_key_files,
    namespaces: section.namespaces,
    require: section.require,
  }
}
