import { z } from 'zod'

/** `[[plugins]]` (spec 01 §5.2). Of the plugins of Trustee there is `resource`; its back end decides the other keys. */

const pluginNames: Readonly<Record<string, string>> = { ResourceStorage: 'resource' }
const backends: Readonly<Record<string, string>> = { kvstorage: 'KvStorage' }

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
  z.discriminatedUnion('name', [z.discriminatedUnion('storage_backend_type', [kvStorage])]),
)
