import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type PostgresServer, startPostgres } from '@passport-kbs/testing/postgres'
import { freePort } from '@passport-kbs/testing/redis'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import {
  openSessionStore,
  openStorage,
  SessionLimit,
  type Storage,
  StorageConfigError,
  StorageUnavailable,
} from '../src/index.ts'
import { PostgresConnections } from '../src/postgres/postgres-connections.ts'
import { PostgresSchema } from '../src/postgres/postgres-schema.ts'
import { sweepSessions } from '../src/postgres/postgres-session-store.ts'
import { hasPostgres, postgresConfig, temporaryFolder } from './back-ends.ts'
import { makeCertificates } from './certificates.ts'
import { startSilentProxy } from './silent-proxy.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const challenge = { tee: 'snp', nonce: 'bm9uY2U=', hashAlgorithm: 'sha384' }
const attestation = { token: 'a.b.c', teeKeyThumbprint: 'thumb', requestDigest: 'digest' }

const cleanUps: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

const unhandled: unknown[] = []
const remember = (error: unknown) => void unhandled.push(error)
process.on('unhandledRejection', remember)
afterAll(() => {
  process.off('unhandledRejection', remember)
  expect(unhandled).toEqual([])
})

async function ownServer(options?: Parameters<typeof startPostgres>[0]): Promise<PostgresServer> {
  const server = await startPostgres(options)
  cleanUps.push(() => server.stop())
  return server
}

async function open(config: ReturnType<typeof postgresConfig>): Promise<Storage> {
  const storage = await openStorage(config)
  cleanUps.push(() => storage.close())
  return storage
}

/** Waits until the storage answers again. */
const back = (storage: Pick<Storage, 'ping'>) =>
  vi.waitFor(() => storage.ping(), { timeout: 10_000, interval: 50 })

/** What a failed call says to an operator. */
async function failureOf(call: Promise<unknown>): Promise<{ text: string; cause: string }> {
  const error = await call.then(
    () => expect.fail('it succeeded'),
    (caught: unknown) => caught,
  )
  expect(error).toBeInstanceOf(StorageUnavailable)
  const { message, cause } = error as Error
  return { text: JSON.stringify(error) + message + String(cause), cause: String(cause) }
}

describe.skipIf(!hasPostgres)('PostgreSQL', () => {
  let server: PostgresServer
  beforeAll(async () => {
    server = await startPostgres()
  }, 60_000)
  afterAll(() => server?.stop())

  /** A storage in a database of its own. */
  const fresh = async (section: Record<string, unknown> = {}) => {
    const db = await server.createDatabase()
    const config = postgresConfig(server, { db, ...section })
    return { db, config, sql: (text: string) => server.sql(text, db) }
  }

  describe('as Trustee lays it out (spec 01 §5.3)', () => {
    it('has a table for each namespace, readable by others', async () => {
      const { config, sql } = await fresh()
      const storage = await open(config)
      await storage.namespace('repository').set('one/two/three', bytes('secret'))
      expect(await sql(`SELECT key, convert_from(value, 'UTF8') FROM repository`)).toBe(
        'one/two/three|secret',
      )
    })

    it('is read where Trustee has made and filled the tables', async () => {
      const { config, sql } = await fresh()
      const tables = ['repository', 'kbs', 'kbs_protocol_session', 'attestation_service_policy']
      for (const table of tables) await sql(`CREATE TABLE ${table} (key TEXT PRIMARY KEY, value BYTEA)`)
      await sql(`INSERT INTO repository VALUES ('a/b/c', '\\x00ff'), ('d/e/f', NULL), ('not a key', '')`)
      await sql(`INSERT INTO kbs_protocol_session VALUES ('0123', '{}')`)
      const storage = await open(config)
      const secrets = storage.namespace('repository')
      expect(await secrets.get('a/b/c')).toEqual(Uint8Array.of(0, 255))
      expect(await secrets.get('d/e/f')).toBeUndefined()
      expect(await secrets.list()).toEqual(['a/b/c', 'd/e/f'])
      const sessions = await openSessionStore(config)
      cleanUps.push(() => sessions.close())
      const id = await sessions.create(challenge, new Date(Date.now() + 60_000))
      expect(await sessions.claim(id)).toEqual(challenge)
    })

    it('keeps apart namespaces whose names need quoting', async () => {
      const { config } = await fresh()
      const storage = await open(config)
      for (const name of ['Kbs', 'kbs', 'a-b.c', 'select', 'x'.repeat(63)]) {
        await storage.namespace(name).set('key', bytes(name))
      }
      expect(await storage.namespace('Kbs').get('key')).toEqual(bytes('Kbs'))
      expect(await storage.namespace('select').get('key')).toEqual(bytes('select'))
    })
  })

  describe('its tables', () => {
    it('are made once by many replicas that start together', async () => {
      const { config, sql } = await fresh({ command_timeout_ms: 10_000 })
      const storages = await Promise.all(Array.from({ length: 8 }, () => open(config)))
      await Promise.all(storages.map((storage) => storage.ping()))
      await Promise.all(storages.map((storage, index) => storage.namespace('n').set(`k${index}`, bytes('x'))))
      expect(await sql('SELECT version FROM "passport_kbs$schema"')).toBe('1')
      expect(await sql('SELECT count(*) FROM n')).toBe('8')
    })

    it('of a newer version are not touched', async () => {
      const { config, sql } = await fresh()
      await (await open(config)).ping()
      await sql('INSERT INTO "passport_kbs$schema" (version) VALUES (99)')
      const { text } = await failureOf((await open(config)).ping())
      expect(text).toContain('schema version 99')
    })

    it('need no right to make tables once they are there', async () => {
      const { db, config, sql } = await fresh()
      await (await open(config)).ping()
      await sql(`CREATE ROLE reader${db} LOGIN PASSWORD 'pw'; REVOKE CREATE ON SCHEMA public FROM PUBLIC;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO reader${db}`)
      const storage = await open(postgresConfig(server, { db, username: `reader${db}`, password: 'pw' }))
      const store = storage.namespace('repository')
      expect(await store.compareAndSet('a/b/c', undefined, bytes('x'))).toBe(true)
      expect(await store.delete('a/b/c')).toBe(true)
      const { cause } = await failureOf(storage.namespace('other').get('key'))
      expect(cause).toContain('permission denied')
    })
  })

  describe('sessions', () => {
    it('that have expired are removed in batches, by one replica at a time; others stay', async () => {
      const { config, sql } = await fresh()
      const now = new Date()
      const sessions = await openSessionStore(config, { now: () => now })
      cleanUps.push(() => sessions.close())
      const alive = await sessions.create(challenge, new Date(now.getTime() + 60_000))
      await sql(`INSERT INTO kbs_protocol_session (key, state, expires_at, value)
        SELECT 'old' || n, 'challenged', now() - interval '1 minute', '' FROM generate_series(1, 2500) n`)
      const connections = await PostgresConnections.open(config.postgres)
      cleanUps.push(() => connections.close())
      const schema = new PostgresSchema(connections)
      const sweep = (time: Date) => sweepSessions(connections, schema, time)
      const removed = await Promise.all([sweep(now), sweep(now)])
      expect(removed.reduce((sum, count) => sum + count)).toBe(2500)
      // a replica whose clock is an hour fast
      expect(await sweep(new Date(now.getTime() + 3_600_000))).toBe(0)
      expect(await sessions.get(alive)).toMatchObject({ state: 'challenged' })
      expect(await sql('SELECT count(*) FROM kbs_protocol_session')).toBe('1')
    })

    it('are bounded in what one process makes', async () => {
      const { config } = await fresh()
      const sessions = await openSessionStore({ ...config, maxSessions: 2 })
      cleanUps.push(() => sessions.close())
      const soon = new Date(Date.now() + 60_000)
      const made = await Promise.allSettled([1, 2, 3, 4].map(() => sessions.create(challenge, soon)))
      expect(made.filter(({ status }) => status === 'fulfilled')).toHaveLength(2)
      await expect(sessions.create(challenge, soon)).rejects.toThrow(SessionLimit)
    })

    it('are won once by claims from two replicas', async () => {
      const { config } = await fresh()
      const replicas = await Promise.all([1, 2].map(() => openSessionStore(config)))
      for (const replica of replicas) cleanUps.push(() => replica.close())
      const id = (await replicas[0]?.create(challenge, new Date(Date.now() + 60_000))) ?? ''
      const claims = await Promise.all(
        Array.from({ length: 40 }, (_, index) => replicas[index % 2]?.claim(id)),
      )
      expect(claims.filter((claim) => claim !== undefined)).toHaveLength(1)
      const done = await Promise.all(replicas.map((replica) => replica.complete(id, attestation)))
      expect(done.filter(Boolean)).toHaveLength(1)
    })

    it.each(['', 'not json', '{"tee":1}'])('whose value is %j answer StorageUnavailable', async (damage) => {
      const { config, sql } = await fresh()
      const sessions = await openSessionStore(config)
      cleanUps.push(() => sessions.close())
      const id = await sessions.create(challenge, new Date(Date.now() + 60_000))
      await sql(`UPDATE kbs_protocol_session SET value = '${damage}'`)
      await expect(sessions.get(id)).rejects.toThrow(StorageUnavailable)
      await expect(sessions.claim(id)).rejects.toThrow(StorageUnavailable)
    })
  })

  describe('who may use it', () => {
    it('is a user with the password in a file, read anew for every connection', async () => {
      const folder = await temporaryFolder()
      cleanUps.push(folder.remove)
      const passwordFile = join(folder.path, 'password')
      const { db } = await fresh()
      const config = postgresConfig(server, { db, password: undefined, password_file: passwordFile })
      await expect(openStorage(config)).rejects.toThrow(StorageConfigError)
      await writeFile(passwordFile, 'an old one\n')
      const storage = await open(config)
      await failureOf(storage.ping())
      await writeFile(passwordFile, `${server.password}\n`)
      await storage.ping()
    })

    it('is nobody with a wrong password, or none; the error says why and does not hold the password', async () => {
      vi.stubEnv('PGPASSWORD', server.password)
      const wrong = await open(postgresConfig(server, { password: 'wrong-secret' }))
      const { text, cause } = await failureOf(wrong.namespace('kbs').get('key'))
      expect(cause).toContain('password authentication failed')
      expect(text).not.toContain('wrong-secret')
      // what pg would take from the environment does not count
      await failureOf((await open(postgresConfig(server, { password: undefined }))).ping())
      vi.unstubAllEnvs()
    })

    it('may lack a permission: StorageUnavailable, whose cause does not hold the value', async () => {
      const { db, config, sql } = await fresh()
      await (await open(config)).ping()
      await sql(
        `CREATE ROLE poor${db} LOGIN PASSWORD 'pw'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO poor${db}`,
      )
      const storage = await open(postgresConfig(server, { db, username: `poor${db}`, password: 'pw' }))
      const { text, cause } = await failureOf(
        storage.namespace('repository').set('a/b/c', bytes('the-secret')),
      )
      expect(cause).toContain('permission denied')
      expect(text).not.toMatch(/the-secret|7468652d736563726574/)
    })
  })

  describe('that is slow or silent', () => {
    it('is given up after the time limit, and no more connections are used than configured', async () => {
      const { db, config, sql } = await fresh({ command_timeout_ms: 500, pool_size: 2 })
      const storage = await open(config)
      const store = storage.namespace('n')
      await store.set('key', bytes('x'))
      await Promise.all(Array.from({ length: 30 }, () => store.get('key')))
      expect(
        Number(
          await sql(
            `SELECT count(*) FROM pg_stat_activity WHERE datname = '${db}' AND pid <> pg_backend_pid()`,
          ),
        ),
      ).toBeLessThanOrEqual(2)
      const locked = sql('BEGIN; LOCK TABLE n; SELECT pg_sleep(3); COMMIT')
      await vi.waitFor(async () =>
        expect(
          await sql(`SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted`),
        ).not.toBe('0'),
      )
      const startedAt = performance.now()
      const { cause } = await failureOf(store.get('key'))
      expect(cause).toMatch(/timeout/)
      expect(performance.now() - startedAt).toBeLessThan(1_500)
      await locked
      expect(await store.get('key')).toEqual(bytes('x'))
    })

    it('is given up, closing included, and used again when it speaks', async () => {
      const { db } = await fresh()
      const proxy = await startSilentProxy(server.port)
      cleanUps.push(() => proxy.close())
      const config = postgresConfig({ ...server, port: proxy.port }, { db, command_timeout_ms: 300 })
      const storage = await open(config)
      await storage.namespace('n').set('key', bytes('x'))
      const other = await open(config)
      await other.ping()
      proxy.pause()
      for (let round = 0; round < 3; round++) {
        const startedAt = performance.now()
        await failureOf(storage.namespace('n').get('key'))
        expect(performance.now() - startedAt).toBeLessThan(1_500)
      }
      const closing = performance.now()
      await other.close()
      expect(performance.now() - closing).toBeLessThan(1_500)
      proxy.resume()
      await back(storage)
      expect(await storage.namespace('n').get('key')).toEqual(bytes('x'))
    })

    it('may never have been there: closing still returns', async () => {
      const config = postgresConfig({ ...server, port: await freePort() })
      const storage = await openStorage(config)
      const { cause } = await failureOf(storage.ping())
      expect(cause).toContain('ECONNREFUSED')
      await storage.close()
      await storage.close()
      await expect(storage.ping()).rejects.toThrow(StorageUnavailable)
    })
  })
})

describe.skipIf(!hasPostgres)('a PostgreSQL that fails', () => {
  it('may be down when the storage opens, and is found when it comes', async () => {
    const server = await ownServer()
    await server.kill()
    const storage = await open(postgresConfig(server))
    await failureOf(storage.ping())
    await server.restart()
    await back(storage)
    await storage.namespace('repository').set('a/b/c', bytes('x'))
  }, 60_000)

  it('fails requests at once while it is down, keeps acknowledged writes, and is used again after', async () => {
    const server = await ownServer()
    const storage = await open(postgresConfig(server))
    const store = storage.namespace('n')
    await Promise.all(['a', 'b', 'c'].map((key) => store.set(key, bytes(key))))
    await server.kill()
    for (let round = 0; round < 3; round++) {
      const startedAt = performance.now()
      await failureOf(store.get('a'))
      await failureOf(store.set('a', bytes('y')))
      await failureOf(store.list())
      await failureOf(storage.ping())
      expect(performance.now() - startedAt).toBeLessThan(500)
    }
    await server.restart()
    await back(storage)
    expect(await store.getMany(['a', 'b', 'c'])).toEqual(['a', 'b', 'c'].map(bytes))
  }, 60_000)

  it('fails what was under way when it died, and no claim is won twice', async () => {
    const server = await ownServer()
    const sessions = await openSessionStore(postgresConfig(server))
    cleanUps.push(() => sessions.close())
    const soon = new Date(Date.now() + 60_000)
    const ids = await Promise.all(Array.from({ length: 20 }, () => sessions.create(challenge, soon)))
    const before = ids.map((id) => sessions.claim(id).catch(() => undefined))
    await server.kill()
    const won = await Promise.all(before)
    await server.restart()
    await back(sessions)
    for (const [index, id] of ids.entries()) {
      const again = await sessions.claim(id)
      if (won[index] !== undefined) expect(again).toBeUndefined()
    }
  }, 60_000)
})

describe.skipIf(!hasPostgres)('PostgreSQL over TLS', () => {
  it('is used when its certificate stands under tls_ca and names the host, and refused otherwise', async () => {
    const { ca, certificate, privateKey } = await makeCertificates()
    const other = await makeCertificates()
    const folder = await temporaryFolder()
    cleanUps.push(folder.remove)
    const caFile = join(folder.path, 'ca.pem')
    const otherFile = join(folder.path, 'other.pem')
    await writeFile(caFile, ca)
    await writeFile(otherFile, other.ca)
    const server = await ownServer({ tls: { certificate, privateKey } })

    const trusting = await open(postgresConfig(server, { tls: true, tls_ca: caFile }))
    await trusting.namespace('n').set('key', bytes('x'))
    expect(await trusting.namespace('n').get('key')).toEqual(bytes('x'))
    expect(
      await server.sql(`SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
      WHERE application_name = 'passport-kbs'`),
    ).toBe('t')

    // the file is read anew for every connection
    const changing = join(folder.path, 'changing.pem')
    await writeFile(changing, other.ca)
    const later = await open(postgresConfig(server, { tls: true, tls_ca: changing }))
    await failureOf(later.ping())
    await writeFile(changing, `${other.ca}${ca}`)
    await later.ping()
    // as while it is being written: an empty CA would be the system's
    await writeFile(changing, '')
    await server.sql(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'passport-kbs'",
    )
    await vi.waitFor(() => later.ping(), { timeout: 5_000 })
    await expect(open(postgresConfig(server, { tls: true, tls_ca: changing }))).rejects.toThrow(
      /tls_ca is empty/,
    )

    for (const section of [
      { tls: true, tls_ca: otherFile },
      { tls: true },
      // the certificate names localhost, not this address
      { tls: true, tls_ca: caFile, host: '127.0.0.1' },
      // the server takes nothing else
      { tls: false },
    ]) {
      await failureOf((await open(postgresConfig(server, section))).ping())
    }
    const missing = postgresConfig(server, { tls: true, tls_ca: join(folder.path, 'none') })
    await expect(openStorage(missing)).rejects.toThrow(StorageConfigError)
  }, 60_000)

  it('is not given up for a server that has none', async () => {
    const server = await ownServer()
    const { cause } = await failureOf((await open(postgresConfig(server, { tls: true }))).ping())
    expect(cause).toContain('does not support SSL')
  }, 60_000)
})
