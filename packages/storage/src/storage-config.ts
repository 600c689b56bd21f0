import { z } from 'zod'
import {
  type EncryptionConfig,
  encryptionSectionSchema,
  resolveEncryption,
} from './encryption/encryption-config.ts'
import {
  keysOfUrl,
  type PostgresConfig,
  postgresSectionSchema,
  readPostgresUrl,
} from './postgres/postgres-config.ts'
import { StorageConfigError } from './storage-config-error.ts'

/** Trustee's default folder for LocalFs (spec 01 §5.3). */
export const DEFAULT_LOCAL_FS_FOLDER = '/opt/confidential-containers/storage/local_fs'
export const DEFAULT_LOCAL_JSON_FOLDER = '/opt/confidential-containers/storage/local_json'
export const DEFAULT_REDIS_URL = 'redis://127.0.0.1:6379'

const storageTypes = {
  Memory: 'Memory',
  memory: 'Memory',
  LocalFs: 'LocalFs',
  local_fs: 'LocalFs',
  Redis: 'Redis',
  redis: 'Redis',
  LocalJson: 'LocalJson',
  local_json: 'LocalJson',
  Postgres: 'Postgres',
  postgres: 'Postgres',
} as const

/**
 * A storage type as Trustee spells it, aliases included (`Memory|memory`, `LocalFs|local_fs`, …). For
 * `storage_backend.storage_type`, `session_storage_type` and the Attestation Service's `storage_type`.
 */
export const storageTypeSchema = z.string().transform((name, context) => {
  const type = new Map(Object.entries(storageTypes)).get(name)
  if (type !== undefined) return type
  const message = `${JSON.stringify(name)} is not a storage type; use Memory, LocalFs, Redis, Postgres or LocalJson`
  context.addIssue({ code: 'custom', message })
  return z.NEVER
})

export type StorageType = z.output<typeof storageTypeSchema>

const node = z
  .string()
  .regex(/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$/, 'must be "host:port" or "[IPv6]:port"')
const nodes = z.array(node).min(1)

const redisUrl = z.string().refine(isRedisUrl, {
  // Says nothing of the value, which may hold a password.
  message: 'must be redis://[user:password@]host[:port][/db], or rediss:// for TLS',
})

const redisMembers = {
  url: redisUrl
    .default(DEFAULT_REDIS_URL)
    .describe(
      'Address, `rediss://` for TLS; env `REDIS_URL` overrides. May hold user, password and database.',
    ),
  username: z.string().min(1).optional().describe('Ours: ACL user, instead of the one in `url`.'),
  password_file: z
    .string()
    .min(1)
    .optional()
    .describe(
      'Ours: file with the password, instead of the one in `url`; read for every new connection, so it can be changed.',
    ),
  tls_ca: z
    .string()
    .min(1)
    .optional()
    .describe('Ours: PEM file with the CA to trust instead of the system’s. Needs `rediss://`.'),
  key_prefix: z
    .string()
    .max(128)
    .regex(/^[A-Za-z0-9_.:{}-]*$/, 'must be letters, digits and "-_.:{}"')
    .default('')
    .describe('Ours: stands before every key.'),
  command_timeout_ms: z
    .int()
    .min(10)
    .max(60_000)
    .default(2_000)
    .describe('Ours: time in which Redis must answer a command.'),
  sentinel: z
    .strictObject({
      master_name: z.string().min(1).describe('Ours: name under which the Sentinels know the master.'),
      nodes: nodes.describe('Ours: Sentinels, each `host:port`.'),
      username: z.string().min(1).optional().describe('Ours: ACL user of the Sentinels.'),
      password: z.string().min(1).optional().describe('Ours: password of the Sentinels.'),
      password_file: z
        .string()
        .min(1)
        .optional()
        .describe('Ours: file with that password instead; read for every new connection.'),
    })
    .refine((sentinel) => sentinel.password === undefined || sentinel.password_file === undefined, {
      message: 'give password or password_file, not both',
    })
    .optional()
    .describe('Ours: ask Sentinels who the master is; host and port of `url` do not count then.'),
  cluster: z
    .strictObject({ nodes: nodes.describe('Ours: some nodes of the Cluster, each `host:port`.') })
    .optional()
    .describe('Ours: Redis Cluster; host and port of `url` do not count then.'),
}

/**
 * `[storage_backend.backends.redis]`: Trustee's `url`, and ours. With `sentinel` or `cluster`, scheme, user, password
 * and database number of `url` count; its host and port do not. Unknown keys are refused here, though Trustee ignores
 * them: a mistyped `tls_ca` must not go unnoticed.
 */
export const redisSectionSchema = z.strictObject(redisMembers).superRefine((redis, context) => {
  const refuse = (key: string, message: string) =>
    context.addIssue({ code: 'custom', path: [key], message, input: undefined })
  if (redis.sentinel && redis.cluster) refuse('cluster', 'cannot be combined with sentinel')
  if (redis.tls_ca !== undefined && !redis.url.startsWith('rediss:')) {
    refuse('tls_ca', 'needs a url that begins with rediss://')
  }
  if (redis.cluster && databaseOf(redis.url) !== 0) refuse('url', 'Redis Cluster has only database 0')
})

/** `[storage_backend.backends.local_fs]`. */
export const localFsSectionSchema = z.object({
  dir_path: z
    .string()
    .min(1)
    .default(DEFAULT_LOCAL_FS_FOLDER)
    .describe('Folder of the files, in Trustee’s layout.'),
})

/** `[storage_backend.backends.local_json]`. */
export const localJsonSectionSchema = z.object({
  file_dir_path: z
    .string()
    .min(1)
    .default(DEFAULT_LOCAL_JSON_FOLDER)
    .describe('Folder of the files, one a namespace, in Trustee’s layout.'),
})

/** `[storage_backend]` in Trustee's shape (spec 01 §5.3, §7). */
export const storageBackendSchema = z.object({
  storage_type: storageTypeSchema.default('Memory'),
  backends: z
    .object({
      local_fs: localFsSectionSchema.optional(),
      redis: redisSectionSchema.optional(),
      postgres: postgresSectionSchema.optional(),
      local_json: localJsonSectionSchema.optional(),
    })
    .default({}),
  encryption: encryptionSectionSchema.optional(),
})

export type StorageBackendSection = z.output<typeof storageBackendSchema>

/** What `openStorage` takes, without encryption. */
export const storageConfigSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('Memory') }),
  z.object({ type: z.literal('LocalFs'), dirPath: z.string().min(1) }),
  z.object({ type: z.literal('LocalJson'), folder: z.string().min(1) }),
  z.object({ type: z.literal('Redis'), redis: redisSectionSchema }),
  z.object({ type: z.literal('Postgres'), postgres: postgresSectionSchema }),
])

/** Where a store is, and what of it is encrypted. */
export type StorageConfig = z.output<typeof storageConfigSchema> & {
  readonly encryption?: EncryptionConfig
}
export type RedisConfig = z.output<typeof redisSectionSchema>

/**
 * The configuration of one store from the `[storage_backend]` section.
 *
 * @param options.type another type than `storage_backend.storage_type`, for `session_storage_type` and the like
 * @param options.env where `REDIS_URL` overrides `redis.url`, and `POSTGRES_URL` address, user and database of `postgres`
 * @throws StorageConfigError when the chosen type has no section (as Trustee: it must exist, and may be empty), or the
 *   URL from the environment does not fit
 */
export function resolveStorageConfig(
  section: StorageBackendSection,
  options: {
    readonly type?: StorageType | undefined
    readonly env?: Readonly<Record<string, string | undefined>>
  } = {},
): StorageConfig {
  const place = resolvePlace(section, options)
  return section.encryption === undefined
    ? place
    : { ...place, encryption: resolveEncryption(section.encryption) }
}

function resolvePlace(
  section: StorageBackendSection,
  options: Parameters<typeof resolveStorageConfig>[1] = {},
): StorageConfig {
  const type = options.type ?? section.storage_type
  if (type === 'Memory') return { type }
  if (type === 'LocalFs') {
    const localFs = section.backends.local_fs ?? missing('local_fs', type)
    return { type, dirPath: localFs.dir_path }
  }
  if (type === 'LocalJson') {
    const localJson = section.backends.local_json ?? missing('local_json', type)
    return { type, folder: localJson.file_dir_path }
  }
  if (type === 'Postgres') {
    return { type, postgres: resolvePostgres(section.backends.postgres, options.env?.POSTGRES_URL) }
  }
  return { type, redis: resolveRedis(section.backends.redis, options.env?.REDIS_URL) }
}

function resolveRedis(section: RedisConfig | undefined, url: string | undefined): RedisConfig {
  if (url === undefined || url === '') return section ?? missing('redis', 'Redis')
  return checkedUrl('REDIS_URL', redisSectionSchema, { ...section, url })
}

function resolvePostgres(section: PostgresConfig | undefined, url: string | undefined): PostgresConfig {
  if (url === undefined || url === '') return section ?? missing('postgres', 'Postgres')
  const read = readPostgresUrl(url)
  if ('problem' in read) throw new StorageConfigError(`POSTGRES_URL: ${read.problem}`)
  const kept: Record<string, unknown> = { ...section }
  for (const key of keysOfUrl) delete kept[key]
  if ('password' in read.keys) delete kept.password_file
  return checkedUrl('POSTGRES_URL', postgresSectionSchema, { ...kept, ...read.keys })
}

function checkedUrl<T>(name: string, schema: z.ZodType<T>, section: unknown): T {
  const result = schema.safeParse(section)
  if (result.success) return result.data
  throw new StorageConfigError(`${name}: ${result.error.issues.map((issue) => issue.message).join('; ')}`)
}

function missing(backend: string, type: StorageType): never {
  const key = `storage_backend.backends.${backend}`
  throw new StorageConfigError(`${key}: the section must exist (it may be empty) for storage type ${type}`)
}

function isRedisUrl(text: string): boolean {
  const url = URL.parse(text)
  if (url === null || !/^rediss?:$/.test(url.protocol) || url.hostname === '') return false
  try {
    decodeURIComponent(url.username + url.password)
  } catch {
    return false
  }
  return /^(\/[0-9]{0,4})?$/.test(url.pathname) && url.search === '' && url.hash === ''
}

/** The database number in a Redis URL that has passed the schema. */
export function databaseOf(url: string): number {
  return Number(URL.parse(url)?.pathname.slice(1) ?? 0)
}
