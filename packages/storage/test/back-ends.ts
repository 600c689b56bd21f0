import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type PostgresServer, postgresAvailable, startPostgres } from '@passport-kbs/testing/postgres'
import {
  redisAvailable,
  startRedis,
  startRedisCluster,
  startRedisSentinel,
} from '@passport-kbs/testing/redis'
import {
  type PostgresConfig,
  postgresSectionSchema,
  type RedisConfig,
  redisSectionSchema,
  type StorageConfig,
} from '../src/index.ts'

/** A back end that a suite runs over: how to get an empty one, and how to be rid of it. */
export interface BackEnd {
  readonly name: string
  readonly available: boolean
  start(): Promise<{ readonly config: StorageConfig; stop(): Promise<void> }>
}

export const hasRedis = redisAvailable()

/** The configuration section as it would be read from a file. */
export function redisConfig(section: Record<string, unknown>): { type: 'Redis'; redis: RedisConfig } {
  return { type: 'Redis', redis: redisSectionSchema.parse({ command_timeout_ms: 1_000, ...section }) }
}

export const hasPostgres = postgresAvailable()

/** As for Redis; the server's superuser and its database `postgres`, unless `section` says otherwise. */
export function postgresConfig(
  server: Pick<PostgresServer, 'host' | 'port' | 'password'>,
  section: Record<string, unknown> = {},
): { type: 'Postgres'; postgres: PostgresConfig } {
  const { host, port, password } = server
  const keys = { host, port, password, command_timeout_ms: 2_000, ...section }
  return { type: 'Postgres', postgres: postgresSectionSchema.parse(keys) }
}

export async function temporaryFolder(): Promise<{ path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'kbs-storage-'))
  return { path, remove: () => rm(path, { recursive: true, force: true }) }
}

export const backEnds: readonly BackEnd[] = [
  {
    name: 'Memory',
    available: true,
    start: async () => ({ config: { type: 'Memory' }, stop: async () => {} }),
  },
  {
    name: 'LocalFs',
    available: true,
    async start() {
      const folder = await temporaryFolder()
      return { config: { type: 'LocalFs', dirPath: folder.path }, stop: folder.remove }
    },
  },
  {
    name: 'LocalFs, encrypted',
    available: true,
    async start() {
      const folder = await temporaryFolder()
      const keyFile = join(folder.path, 'key')
      await writeFile(keyFile, randomBytes(32).toString('base64'), { mode: 0o600 })
      const namespaces = Array.from({ length: 200 }, (_, index) => `n${index}`)
      const encryption = { keyFile, previousKeyFiles: [], namespaces, require: true }
      const dirPath = join(folder.path, 'storage')
      return { config: { type: 'LocalFs', dirPath, encryption }, stop: folder.remove }
    },
  },
  {
    name: 'LocalJson',
    available: true,
    async start() {
      const folder = await temporaryFolder()
      return { config: { type: 'LocalJson', folder: folder.path }, stop: folder.remove }
    },
  },
  {
    name: 'Redis',
    available: hasRedis,
    async start() {
      const server = await startRedis()
      return { config: redisConfig({ url: server.url }), stop: () => server.stop() }
    },
  },
  {
    name: 'Redis behind Sentinel',
    available: hasRedis,
    async start() {
      const sentinel = await startRedisSentinel()
      const section = { sentinel: { master_name: sentinel.masterName, nodes: sentinel.nodes } }
      return { config: redisConfig(section), stop: () => sentinel.stop() }
    },
  },
  {
    name: 'Redis Cluster',
    available: hasRedis,
    async start() {
      const cluster = await startRedisCluster()
      return { config: redisConfig({ cluster: { nodes: cluster.nodes } }), stop: () => cluster.stop() }
    },
  },
  {
    name: 'PostgreSQL',
    available: hasPostgres,
    async start() {
      const server = await startPostgres()
      return { config: postgresConfig(server), stop: () => server.stop() }
    },
  },
]
