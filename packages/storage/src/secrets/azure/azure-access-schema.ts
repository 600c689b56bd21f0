import { z } from 'zod'

/** Keys of a configuration that say how a Key Vault is reached. All of them are ours. */
export function azureAccessKeys() {
  return {
    vault_uri: z
      .string()
      .regex(/^https:\/\/[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+\/?$/, 'must be https://<name>.vault.azure.net')
      .describe('Ours: address, e.g. `https://my-vault.vault.azure.net`.'),
    credential: z
      .enum(['workload-identity', 'managed-identity', 'environment'])
      .default('workload-identity')
      .describe('Ours: how this process proves to Microsoft Entra who it is.'),
    client_id: z
      .uuid()
      .optional()
      .describe(
        'Ours: client id of the identity; default: env `AZURE_CLIENT_ID`, or the one of the machine.',
      ),
    timeout_ms: z
      .int()
      .min(10)
      .max(60_000)
      .default(5_000)
      .describe('Ours: time in which Key Vault must answer.'),
  }
}
