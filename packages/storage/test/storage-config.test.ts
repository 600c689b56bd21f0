import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  resolveStorageConfig,
  StorageConfigError,
  storageBackendSchema,
  storageConfigSchema,
} from '../src/index.ts'
import { speaksTls } from '../src/postgres/postgres-config.ts'

const read = (section: unknown, options?: Parameters<typeof resolveStorageConfig>[1]) =>
  resolveStorageConfig(storageBackendSchema.parse(section), options)

/** What the operator reads. */
function complaint(section: unknown): string {
  const result = z.object({ storage_backend: storageBackendSchema }).safeParse({ storage_backend: section })
  return result.success ? '' : z.prettifyError(result.error)
}

describe('[storage_backend] (spec 01 §5.3)', () => {
  it('is Memory by default', () => {
    expect(read({})).toEqual({ type: 'Memory' })
  })

  it.each(['Memory', 'memory'])('takes %s', (storage_type) => {
    expect(read({ storage_type })).toEqual({ type: 'Memory' })
  })

  it.each(['LocalFs', 'local_fs'])('takes %s with its folder', (storage_type) => {
    const section = { storage_type, backends: { local_fs: { dir_path: 'work/storage' } } }
    expect(read(section)).toEqual({ type: 'LocalFs', dirPath: 'work/storage' })
  })

  it("has Trustee's defaults where the section is empty", () => {
    const backends = { local_fs: {}, redis: {}, postgres: {}, local_json: {} }
    expect(read({ storage_type: 'LocalJson', backends })).toEqual({
      type: 'LocalJson',
      folder: '/opt/confidential-containers/storage/local_json',
    })
    expect(read({ storage_type: 'LocalFs', backends })).toEqual({
      type: 'LocalFs',
      dirPath: '/opt/confidential-containers/storage/local_fs',
    })
    expect(read({ storage_type: 'redis', backends })).toMatchObject({
      type: 'Redis',
      redis: { url: 'redis://127.0.0.1:6379', command_timeout_ms: 2_000, key_prefix: '' },
    })
  })

  it("has Trustee's defaults for PostgreSQL, and TLS wherever it is not on this machine", () => {
    expect(read({ storage_type: 'postgres', backends: { postgres: { db: 'kbs' } } })).toEqual({
      type: 'Postgres',
      postgres: {
        host: 'localhost',
        port: 5432,
        db: 'kbs',
        username: 'postgres',
        pool_size: 5,
        command_timeout_ms: 5_000,
      },
    })
    const tlsTo = (host: string, tls?: boolean) => speaksTls({ host, ...(tls === undefined ? {} : { tls }) })
    expect(['localhost', '127.0.0.9', '::1', '/run/postgresql'].map((host) => tlsTo(host))).not.toContain(
      true,
    )
    expect(['db', '10.0.0.1', '127.example', '::2'].map((host) => tlsTo(host))).not.toContain(false)
    expect([tlsTo('db', false), tlsTo('localhost', true)]).toEqual([false, true])
  })

  it.each([
    ['LocalFs', 'storage_backend.backends.local_fs'],
    ['Postgres', 'storage_backend.backends.postgres'],
    ['LocalJson', 'storage_backend.backends.local_json'],
    ['Redis', 'storage_backend.backends.redis'],
  ])('needs a section for %s and names it', (storage_type, key) => {
    expect(() => read({ storage_type })).toThrow(StorageConfigError)
    expect(() => read({ storage_type })).toThrow(key)
  })

  it.each(['LocalJson', 'local_json'])('takes %s with its folder', (storage_type) => {
    const section = { storage_type, backends: { local_json: { file_dir_path: 'work/json' } } }
    expect(read(section)).toEqual({ type: 'LocalJson', folder: 'work/json' })
  })

  it('does not read sections of back ends it does not use', () => {
    expect(read({ storage_type: 'Memory', backends: { etcd: { endpoint: 'x' } } })).toEqual({
      type: 'Memory',
    })
  })

  it('refuses a type it does not know', () => {
    expect(complaint({ storage_type: 'Etcd' })).toContain('"Etcd" is not a storage type')
    expect(complaint({ storage_type: 'constructor' })).toContain('is not a storage type')
  })

  it('gives another type the same back ends, for session_storage_type', () => {
    const section = { storage_type: 'LocalFs', backends: { local_fs: {}, redis: { url: 'redis://r' } } }
    expect(read(section, { type: 'Redis' })).toMatchObject({ type: 'Redis', redis: { url: 'redis://r' } })
  })

  it('lets REDIS_URL override the url, and stand for the whole section', () => {
    const env = { REDIS_URL: 'rediss://u:p@h:1/2' }
    const section = { storage_type: 'Redis', backends: { redis: { url: 'redis://r', key_prefix: 'x:' } } }
    expect(read(section, { env })).toMatchObject({ redis: { url: env.REDIS_URL, key_prefix: 'x:' } })
    expect(read({ storage_type: 'Redis' }, { env })).toMatchObject({ redis: { url: env.REDIS_URL } })
    expect(read(section, { env: { REDIS_URL: '' } })).toMatchObject({ redis: { url: 'redis://r' } })
  })

  it('does not repeat a bad REDIS_URL, which may hold a password', () => {
    const env = { REDIS_URL: 'http://user:hunter2@host' }
    const reading = () => read({ storage_type: 'Redis' }, { env })
    expect(reading).toThrow(/^REDIS_URL: must be redis:/)
    expect(reading).not.toThrow(/hunter2/)
  })

  describe('POSTGRES_URL', () => {
    const section = {
      storage_type: 'Postgres',
      backends: {
        postgres: {
          host: 'h',
          port: 1,
          db: 'd',
          username: 'u',
          password_file: 'p',
          pool_size: 7,
          tls_ca: 'ca',
        },
      },
    }
    const readUrl = (url: string) => read(section, { env: { POSTGRES_URL: url } })

    it('overrides address, user, password and database, user and password together (weakness 38)', () => {
      expect(readUrl('postgresql://me:p%40ss@[fe80::1]:2/other?sslmode=verify-full')).toMatchObject({
        postgres: {
          host: 'fe80::1',
          port: 2,
          db: 'other',
          username: 'me',
          password: 'p@ss',
          pool_size: 7,
          tls: true,
        },
      })
      const { postgres } = readUrl('postgres://elsewhere/') as { postgres: Record<string, unknown> }
      expect(postgres).toMatchObject({
        host: 'elsewhere',
        port: 5432,
        username: 'postgres',
        password_file: 'p',
      })
      expect(postgres).not.toHaveProperty('db')
      expect(postgres).not.toHaveProperty('password')
    })

    it('stands for the whole section, and for nothing when it is empty', () => {
      const env = { POSTGRES_URL: 'postgres://u:p@h/d?sslmode=disable' }
      expect(read({ storage_type: 'Postgres' }, { env })).toMatchObject({
        postgres: { host: 'h', tls: false },
      })
      expect(readUrl('')).toMatchObject({ postgres: { host: 'h', port: 1 } })
    })

    it.each([
      'http://user:hunter2@h/d',
      'postgres://user:hunter2%zz@h/d',
      'postgres://user:hunter2@h/d?sslmode=off',
      'postgres://user:hunter2@h/d?host=other',
      'postgres://user:hunter2@h/d#x',
      'postgres://user:hunter2@h:0/d',
      'postgres://user:hunter2@h/d?sslmode=disable',
      'hunter2',
    ])('is refused without being repeated: %s', (url) => {
      expect(() => readUrl(url)).toThrow(/^POSTGRES_URL: /)
      expect(() => readUrl(url)).not.toThrow(/hunter2/)
    })
  })

  it('makes what storageConfigSchema takes', () => {
    const config = read({ storage_type: 'Redis', backends: { redis: {} } })
    expect(storageConfigSchema.parse(config)).toEqual(config)
  })
})

describe('[storage_backend.backends.redis]', () => {
  const complaintAbout = (redis: Record<string, unknown>) => complaint({ backends: { redis } })

  it.each([
    'redis://h',
    'redis://h:6379/',
    'redis://:p@h:6379/15',
    'rediss://u:p%40@h',
    'redis://[::1]:6379',
  ])('takes the url %s', (url) => expect(complaintAbout({ url })).toBe(''))

  it.each([
    '',
    'h:6379',
    'http://h',
    'redis://',
    'redis://h/db',
    'redis://h?db=1',
    'redis://u:%zz@h',
    'unix:///s',
  ])('refuses the url %j', (url) =>
    expect(complaintAbout({ url })).toContain('storage_backend.backends.redis.url'),
  )

  it.each([
    [{ tls_ca: 'ca.pem' }, 'tls_ca'],
    [{ sentinel: { master_name: 'm', nodes: [] } }, 'sentinel.nodes'],
    [{ sentinel: { master_name: 'm', nodes: ['h'] } }, 'sentinel.nodes[0]'],
    [{ sentinel: { master_name: 'm', nodes: ['h:1'], password: 'a', password_file: 'b' } }, 'sentinel'],
    [{ cluster: { nodes: ['h:1'] }, sentinel: { master_name: 'm', nodes: ['h:1'] } }, 'cluster'],
    [{ cluster: { nodes: ['h:1'] }, url: 'redis://h/1' }, 'url'],
    [{ key_prefix: 'a*' }, 'key_prefix'],
    [{ command_timeout_ms: 0 }, 'command_timeout_ms'],
    [{ tls_caa: 'ca.pem' }, 'tls_caa'],
  ])('refuses %j and names the key', (redis, key) => {
    expect(complaintAbout(redis)).toContain(key)
  })
})

describe('[storage_backend.backends.postgres]', () => {
  it.each([
    [{ tls_ca: 'ca.pem' }, 'tls_ca'],
    [{ tls: false, tls_ca: 'ca.pem', host: 'db' }, 'tls_ca'],
    [{ tls: true, host: '/run/postgresql' }, 'tls'],
    [{ password: 'a', password_file: 'b' }, 'password_file'],
    [{ host: 'a b' }, 'host'],
    [{ port: 0 }, 'port'],
    [{ pool_size: 0 }, 'pool_size'],
    [{ tls_caa: 'ca.pem' }, 'tls_caa'],
  ])('refuses %j and names the key', (postgres, key) => {
    expect(complaint({ backends: { postgres } })).toContain(key)
  })
})
