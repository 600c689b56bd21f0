import { azureAccessKeys, hasOneVaultCredential, vaultAccessKeys, vaultPath } from '@passport-kbs/storage'
import { z } from 'zod'

/** `[[plugins]]` (spec 01 §5.2). Of the plugins of Trustee there is `resource`; its back end decides the other keys. */

const pluginNames: Readonly<Record<string, string>> = { ResourceStorage: 'resource' }
const backends: Readonly<Record<string, string>> = {
  kvstorage: 'KvStorage',
  vault: 'Vault',
}

const resourcePath = /^(?:[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}(?:\/(?!$)|$)){3}$/

/** A mounted directory stands in the place of all secrets of one repository and type. */
const mount = z.strictObject({
  prefix: z
    .string()
    .regex(
      /^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}\/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}$/,
      'must be "<repository>/<type>", e.g. "default/akv"',
    )
    .describe('Ours: repository and type whose secrets are there, e.g. `default/akv`.'),
  directory: z
    .string()
    .min(1)
    .max(4096)
    .describe('Ours: directory of files, each a secret, whose names are the tags.'),
})

const mounts = z
  .array(mount)
  .max(64)
  .refine((list) => new Set(list.map(({ prefix }) => prefix)).size === list.length, {
    message: 'a prefix is used twice',
  })
  .default([])
  .describe('Ours: directories of secrets beside the back end, read-only.')

const name = z.literal('resource').describe('Secrets, released to passports.')

const kvStorage = z.strictObject({
  name,
  storage_backend_type: z.literal('KvStorage').describe('Secrets are in `[storage_backend]`.'),
  mounts,
})

const vault = z
  .strictObject({
    name,
    storage_backend_type: z
      .literal('Vault')
      .describe('Secrets are in HashiCorp Vault or OpenBao, engine KV.'),
    ...vaultAccessKeys(''),
    mount_path: vaultPath().default('secret').describe('Where the engine is mounted.'),
    kv_version: z
      .union([z.literal(1), z.literal(2)])
      .default(1)
      .describe('Ours: version of the engine; 2 keeps versions.'),
    mounts,
  })
  .superRefine((plugin, context) => {
    if (hasOneVaultCredential(plugin)) return
    const message = 'give one of token, token_file and kubernetes'
    context.addIssue({ code: 'custom', path: ['token'], message, input: undefined })
  })

const azureKeyVault = z.strictObject({
  name,
  storage_backend_type: z
    .literal('AzureKeyVault')
    .describe('Ours: secrets are in Azure Key Vault, read by its own API.'),
  ...azureAccessKeys(),
  names: z
    .array(
      z.strictObject({
        path: z
          .string()
          .regex(resourcePath, 'must be "<repository>/<type>/<tag>"')
          .describe('Ours: the resource.'),
        secret: z
          .string()
          .regex(/^[0-9A-Za-z-]{1,127}$/, 'must be letters, digits and "-"')
          .describe('Ours: its name in Key Vault.'),
      }),
    )
    .max(10_000)
    .default([])
    .describe('Ours: resources whose name in Key Vault is not `<repository>--<type>--<tag>`.'),
  allow_write: z.boolean().default(false).describe('Ours: whether administrators may write and delete.'),
  cache_ms: z
    .int()
    .min(0)
    .max(86_400_000)
    .default(60_000)
    .describe('Ours: how long a secret that was read is served without asking again; 0: not at all.'),
  stale_ms: z
    .int()
    .min(0)
    .max(86_400_000)
    .default(0)
    .describe('Ours: how much longer while Key Vault is down; 0: not at all.'),
  mounts,
})

/** The names and values of Trustee in the spelling that the schema has. */
function spelled(plugin: unknown): unknown {
  if (typeof plugin !== 'object' || plugin === null || Array.isArray(plugin)) return plugin
  const draft: Record<string, unknown> = { ...plugin }
  for (const [key, aliases] of [
    ['name', pluginNames],
    ['storage_backend_type', backends],
  ] as const) {
    const value = draft[key]
    if (typeof value === 'string' && Object.hasOwn(aliases, value)) draft[key] = aliases[value]
  }
  return draft
}

export const pluginSchema = z.preprocess(
  spelled,
  z.discriminatedUnion('name', [
    z.discriminatedUnion('storage_backend_type', [kvStorage, vault, azureKeyVault]),
  ]),
)
