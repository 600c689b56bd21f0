import { writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import {
  freePort,
  type RedisServer,
  redisCommand,
  startRedis,
  startRedisCluster,
  startRedisSentinel,
} from '@passport-kbs/testing/redis'
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest'
import {
  MAX_VALUE_BYTES,
  openSessionStore,
  openStorage,
  type Storage,
  StorageConfigError,
  StorageUnavailable,
} from '../src/index.ts'
import { hasRedis, redisConfig, temporaryFolder } from './back-ends.ts'
import { makeCertificates } from './certificates.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const challenge = { tee: 'snp', nonce: 'bm9uY2U=', hashAlgorithm: 'sha384' }

const cleanUps: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

async function redis(options?: Parameters<typeof startRedis>[0]): Promise<RedisServer> {
  const server = await startRedis(options)
  cleanUps.push(() => server.stop())
  return server
}

async function open(section: Record<string, unknown>): Promise<Storage> {
  const storage = await openStorage(redisConfig(section))
  cleanUps.push(() => storage.close())
  return storage
}

/** Waits until the storage answers again. */
const back = (storage: Storage) => vi.waitFor(() => storage.ping(), { timeout: 10_000, interval: 50 })

async function passwordFile(): Promise<string> {
  const folder = await temporaryFolder()
  cleanUps.push(folder.remove)
  return join(folder.path, 'password')
}

/** Gives the user `kbs` this password only, on all of these servers and in the file. */
async function setPassword(ports: readonly number[], file: string, password: string): Promise<void> {
  for (const port of ports)
    await redisCommand(port, 'acl', 'setuser', 'kbs', 'on', 'resetpass', `>${password}`, '~*', '&*', '+@all')
  await writeFile(file, password)
}

const unhandled: unknown[] = []
const remember = (error: unknown) => void unhandled.push(error)
process.on('unhandledRejection', remember)
afterAll(() => {
  process.off('unhandledRejection', remember)
  expect(unhandled).toEqual([])
})

describe.skipIf(!hasRedis)('keys in Redis', () => {
  it('are <namespace>:<key>, as Trustee writes them', async () => {
    const server = await redis()
    const storage = await open({ url: server.url })
    await storage.namespace('repository').set('one/two/three', bytes('secret'))
    expect(await redisCommand(server.port, 'get', 'repository:one/two/three')).toBe('secret\n')
    await redisCommand(server.port, 'set', 'kbs:resource-policy.rego', 'package policy')
    expect(await storage.namespace('kbs').get('resource-policy.rego')).toEqual(bytes('package policy'))
  })

  it('come after the prefix, and prefixes keep apart', async () => {
    const server = await redis()
    const one = await open({ url: server.url, key_prefix: 'one:' })
    const two = await open({ url: server.url, key_prefix: 'two:' })
    await one.namespace('n').set('key', bytes('1'))
    expect(await redisCommand(server.port, 'keys', '*')).toBe('one:n:key\n')
    expect(await two.namespace('n').list()).toEqual([])
    expect(await one.namespace('n').list()).toEqual(['key'])
  })

  it('are listed completely, however many, and only those of the namespace that are keys', async () => {
    const server = await redis()
    const storage = await open({ url: server.url })
    const keys = Array.from({ length: 2_000 }, (_, index) => `k${index}`)
    await Promise.all(keys.map((key) => storage.namespace('n').set(key, bytes('x'))))
    await storage.namespace('nn').set('other', bytes('x'))
    await redisCommand(server.port, 'set', 'n:not a key', 'x')
    expect(await storage.namespace('n').list()).toEqual(keys.sort())
  })

  it('live in the database that the URL names', async () => {
    const server = await redis()
    await (await open({ url: `${server.url}/3` })).namespace('n').set('key', bytes('x'))
    expect(await redisCommand(server.port, '-n', '3', 'get', 'n:key')).toBe('x\n')
  })

  it('of values larger than any that we write answer StorageUnavailable', async () => {
    const server = await redis()
    const storage = await open({ url: server.url })
    await redisCommand(server.port, 'setrange', 'n:key', String(MAX_VALUE_BYTES), 'x')
    await expect(storage.namespace('n').get('key')).rejects.toThrow(StorageUnavailable)
    await expect(storage.namespace('n').getMany(['key'])).rejects.toThrow(StorageUnavailable)
  })

  it('of another type answer StorageUnavailable', async () => {
    const server = await redis()
    const storage = await open({ url: server.url })
    await redisCommand(server.port, 'lpush', 'n:key', 'x')
    await expect(storage.namespace('n').get('key')).rejects.toThrow(StorageUnavailable)
  })
})

describe.skipIf(!hasRedis)('sessions in Redis', () => {
  it.each([
    ['challenge', 'not json'],
    ['challenge', '{"tee":1}'],
    ['state', 'confused'],
  ])('whose %s is %j answer StorageUnavailable', async (field, damage) => {
    const server = await redis()
    const sessions = await openSessionStore(redisConfig({ url: server.url }))
    cleanUps.push(() => sessions.close())
    const id = await sessions.create(challenge, new Date(Date.now() + 60_000))
    const name = (await redisCommand(server.port, 'keys', 'kbs_protocol_session:*')).trim()
    await redisCommand(server.port, 'hset', name, field, damage)
    await expect(sessions.get(id)).rejects.toThrow(StorageUnavailable)
    if (field === 'challenge') await expect(sessions.claim(id)).rejects.toThrow(StorageUnavailable)
  })
})

describe.skipIf(!hasRedis)('who may use Redis', () => {
  const user = {
    name: 'kbs',
    password: 'p@ss/word',
    rules: '~* -@all +info +get +set +del +mget +scan +eval +ping',
  }
  const scriptRules = `${user.rules} +exists +hset +hget +hmget +hdel +pexpire`

  it('is an ACL user from the URL, who needs no more than these commands', async () => {
    const server = await redis({ user: { ...user, rules: scriptRules } })
    const storage = await open({ url: server.url })
    await storage.ping()
    const store = storage.namespace('n')
    expect(await store.set('key', bytes('x'), { ifAbsent: true })).toBe(true)
    expect(await store.compareAndSet('key', bytes('x'), bytes('y'))).toBe(true)
    expect(await store.getMany(['key'])).toEqual([bytes('y')])
    expect(await store.list()).toEqual(['key'])
    expect(await store.delete('key')).toBe(true)
    const sessions = await openSessionStore(redisConfig({ url: server.url }))
    cleanUps.push(() => sessions.close())
    const id = await sessions.create(challenge, new Date(Date.now() + 60_000))
    expect(await sessions.claim(id)).toEqual(challenge)
    const attestation = { token: 't', teeKeyThumbprint: 'k', requestDigest: 'd' }
    expect(await sessions.complete(id, attestation)).toBe(true)
    expect(await sessions.get(id)).toMatchObject({ state: 'attested', attestation })
  })

  it('is a user from the configuration, with the password in a file', async () => {
    const folder = await temporaryFolder()
    cleanUps.push(folder.remove)
    const passwordFile = join(folder.path, 'password')
    await writeFile(passwordFile, `${user.password}\n`)
    const server = await redis({ user })
    const url = `redis://127.0.0.1:${server.port}`
    const storage = await open({ url, username: user.name, password_file: passwordFile })
    await storage.ping()
    const missing = redisConfig({ url, password_file: join(folder.path, 'none') })
    await expect(openStorage(missing)).rejects.toThrow(StorageConfigError)
  })

  it('comes back with the password that is in the file now, even where the server changed first', async () => {
    const folder = await temporaryFolder()
    cleanUps.push(folder.remove)
    const passwordFile = join(folder.path, 'password')
    await writeFile(passwordFile, user.password)
    const directives = [`user ${user.name} on >${user.password} ${user.rules}`]
    const server = await redis({ directives })
    const url = `redis://127.0.0.1:${server.port}`
    const storage = await open({ url, username: user.name, password_file: passwordFile })
    await storage.namespace('n').set('key', bytes('x'))

    await redisCommand(server.port, 'acl', 'setuser', user.name, 'resetpass', '>next')
    expect(await storage.namespace('n').get('key')).toEqual(bytes('x'))
    await redisCommand(server.port, 'client', 'kill', 'user', user.name)
    await vi.waitFor(() => expect(storage.ping()).rejects.toThrow(StorageUnavailable))
    await writeFile(passwordFile, 'next\n')
    await back(storage)
    expect(await storage.namespace('n').get('key')).toEqual(bytes('x'))
  })

  it('is nobody with a wrong password; the error says why and does not hold the password', async () => {
    const server = await redis({ user })
    const url = `redis://kbs:wrong-secret@127.0.0.1:${server.port}`
    const storage = await open({ url })
    const error = await storage
      .namespace('n')
      .get('key')
      .catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(StorageUnavailable)
    expect((error as Error).cause).toMatchObject({ message: expect.stringContaining('WRONGPASS') })
    expect(JSON.stringify(error) + String((error as Error).cause)).not.toContain('wrong-secret')
  })

  it('may lack a permission: StorageUnavailable, whose cause does not hold the value', async () => {
    const server = await redis({ user: { ...user, rules: '~* +info +get +ping' } })
    const storage = await open({ url: server.url })
    const error = await storage
      .namespace('n')
      .set('key', bytes('the-secret'))
      .catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(StorageUnavailable)
    const cause = (error as Error).cause
    expect(cause).toMatchObject({ message: expect.stringContaining('NOPERM') })
    expect(Object.keys(cause as Error)).toEqual([])
  })
})

describe.skipIf(!hasRedis)('Redis over TLS', () => {
  it('is used when its certificate stands under tls_ca, and refused when it does not', async () => {
    const { ca, certificate, privateKey } = await makeCertificates()
    const other = await makeCertificates()
    const folder = await temporaryFolder()
    cleanUps.push(folder.remove)
    await writeFile(join(folder.path, 'ca.pem'), ca)
    await writeFile(join(folder.path, 'other.pem'), other.ca)
    const server = await redis({ tls: { ca, certificate, privateKey }, password: 'secret' })
    expect(server.url).toMatch(/^rediss:/)

    const trusting = await open({ url: server.url, tls_ca: join(folder.path, 'ca.pem') })
    await trusting.namespace('n').set('key', bytes('x'))
    expect(await trusting.namespace('n').get('key')).toEqual(bytes('x'))

    const distrusting = await open({ url: server.url, tls_ca: join(folder.path, 'other.pem') })
    await expect(distrusting.ping()).rejects.toThrow(StorageUnavailable)
    const bySystem = await open({ url: server.url })
    await expect(bySystem.ping()).rejects.toThrow(StorageUnavailable)
    // The certificate names localhost, not this address.
    const url = server.url.replace('localhost', '127.0.0.1')
    const misnamed = await open({ url, tls_ca: join(folder.path, 'ca.pem') })
    await expect(misnamed.ping()).rejects.toThrow(StorageUnavailable)
  })

  it('is used under the CA that is in the file now', async () => {
    const { ca, certificate, privateKey } = await makeCertificates()
    const other = await makeCertificates()
    const folder = await temporaryFolder()
    cleanUps.push(folder.remove)
    const file = join(folder.path, 'ca.pem')
    await writeFile(file, other.ca)
    const server = await redis({ tls: { ca, certificate, privateKey } })
    const storage = await open({ url: server.url, tls_ca: file })
    await expect(storage.ping()).rejects.toThrow(StorageUnavailable)
    await writeFile(file, `${other.ca}${ca}`)
    await back(storage)
    // as while it is being written: an empty CA would be the system's
    await writeFile(file, '')
    await server.kill()
    await server.restart()
    await back(storage)
    await expect(open({ url: server.url, tls_ca: file })).rejects.toThrow(/tls_ca is empty/)
  })
})

describe.skipIf(!hasRedis)('a Redis that fails', () => {
  it('may be down when the storage opens, and is found when it comes', async () => {
    const server = await redis()
    await server.kill()
    const storage = await open({ url: server.url })
    await expect(storage.ping()).rejects.toThrow(StorageUnavailable)
    await server.restart()
    await back(storage)
  })

  it('fails requests at once while it is down, keeps acknowledged writes, and is used again after', async () => {
    const server = await redis()
    const storage = await open({ url: server.url })
    const store = storage.namespace('n')
    await store.set('key', bytes('x'))
    await server.kill()
    for (let i = 0; i < 3; i++) {
      const startedAt = performance.now()
      await expect(store.get('key')).rejects.toThrow(StorageUnavailable)
      await expect(store.set('key', bytes('y'))).rejects.toThrow(StorageUnavailable)
      await expect(store.list()).rejects.toThrow(StorageUnavailable)
      await expect(storage.ping()).rejects.toThrow(StorageUnavailable)
      expect(performance.now() - startedAt).toBeLessThan(500)
      await delay(100)
    }
    await server.restart()
    await back(storage)
    expect(await store.get('key')).toEqual(bytes('x'))
  })

  it('fails what was under way when it died, and no claim is won twice', async () => {
    const server = await redis()
    const sessions = await openSessionStore(redisConfig({ url: server.url }))
    cleanUps.push(() => sessions.close())
    const ids = await Promise.all(
      Array.from({ length: 20 }, () => sessions.create(challenge, new Date(Date.now() + 60_000))),
    )
    const before = ids.map((id) => sessions.claim(id).catch(() => undefined))
    await server.kill()
    const won = await Promise.all(before)
    await server.restart()
    await vi.waitFor(() => sessions.ping(), { timeout: 10_000 })
    for (const [index, id] of ids.entries()) {
      const again = await sessions.claim(id)
      if (won[index] !== undefined) expect(again).toBeUndefined()
    }
  })

  it('answers within the time limit when it is silent, and reconnects when it speaks', async () => {
    const server = await redis()
    const storage = await open({ url: server.url, command_timeout_ms: 300 })
    server.pause()
    const startedAt = performance.now()
    await expect(storage.namespace('n').get('key')).rejects.toThrow(StorageUnavailable)
    expect(performance.now() - startedAt).toBeLessThan(1_000)
    server.resume()
    await back(storage)
  })

  it('may be something else that answers garbage', async () => {
    const impostor = createServer((socket) => {
      socket.on('error', () => {})
      socket.on('data', () => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'))
    })
    await new Promise<void>((resolve) => impostor.listen(0, '127.0.0.1', resolve))
    cleanUps.push(async () => void impostor.close())
    const url = `redis://127.0.0.1:${(impostor.address() as AddressInfo).port}`
    const storage = await open({ url, command_timeout_ms: 300 })
    await expect(storage.ping()).rejects.toThrow(StorageUnavailable)
    await expect(storage.namespace('n').get('key')).rejects.toThrow(StorageUnavailable)
    const sessions = await openSessionStore(redisConfig({ url, command_timeout_ms: 300 }))
    cleanUps.push(() => sessions.close())
    await expect(sessions.get('0'.repeat(32))).rejects.toThrow(StorageUnavailable)
  })

  it('may never have been there: closing still returns', async () => {
    const port = await freePort()
    const storage = await openStorage(redisConfig({ url: `redis://127.0.0.1:${port}` }))
    await storage.close()
    await storage.close()
    await expect(storage.ping()).rejects.toThrow(StorageUnavailable)
  })
})

describe.skipIf(!hasRedis)('Redis behind Sentinel', () => {
  it('is the new master after the old one died', async () => {
    const sentinel = await startRedisSentinel()
    cleanUps.push(() => sentinel.stop())
    const storage = await open({ sentinel: { master_name: sentinel.masterName, nodes: sentinel.nodes } })
    await storage.namespace('n').set('key', bytes('x'))
    await redisCommand(sentinel.master.port, 'wait', '1', '5000')
    await sentinel.master.kill()
    await expect(storage.namespace('n').get('key')).rejects.toThrow(StorageUnavailable)
    await vi.waitFor(() => storage.namespace('n').set('key', bytes('y')), { timeout: 20_000, interval: 200 })
    expect(await redisCommand(sentinel.replica.port, 'get', 'n:key')).toBe('y\n')
  }, 60_000)

  it('is found with the passwords that are in the files now, its own and the Sentinels’', async () => {
    const sentinel = await startRedisSentinel()
    cleanUps.push(() => sentinel.stop())
    const [port = 0] = sentinel.nodes.map((node) => Number(node.split(':')[1]))
    const ports = [port, sentinel.master.port]
    const file = await passwordFile()
    await setPassword(ports, file, 'one')
    const storage = await open({
      username: 'kbs',
      password_file: file,
      sentinel: {
        ...{ master_name: sentinel.masterName, nodes: sentinel.nodes },
        ...{ username: 'kbs', password_file: file },
      },
    })
    await storage.namespace('n').set('key', bytes('x'))
    await setPassword(ports, file, 'two')
    await redisCommand(sentinel.master.port, 'client', 'kill', 'user', 'kbs')
    await back(storage)
    expect(await storage.namespace('n').get('key')).toEqual(bytes('x'))
  }, 60_000)
})

describe.skipIf(!hasRedis)('a Redis Cluster', () => {
  it('is spoken to with the password that is in the file now', async () => {
    const cluster = await startRedisCluster()
    cleanUps.push(() => cluster.stop())
    const ports = cluster.servers.map(({ port }) => port)
    const file = await passwordFile()
    await setPassword(ports, file, 'one')
    const storage = await open({ username: 'kbs', password_file: file, cluster: { nodes: cluster.nodes } })
    const keys = Array.from({ length: 20 }, (_, index) => `k${index}`)
    await Promise.all(keys.map((key) => storage.namespace('n').set(key, bytes(key))))
    await setPassword(ports, file, 'two')
    // one node, then all: they are met again in different ways
    for (const some of [ports.slice(0, 1), ports]) {
      for (const port of some) await redisCommand(port, 'client', 'kill', 'user', 'kbs')
      await back(storage)
      expect(await storage.namespace('n').getMany(keys)).toEqual(keys.map(bytes))
    }
  }, 60_000)

  it('spreads keys over its masters, lists them all, and survives the restart of one', async () => {
    const cluster = await startRedisCluster()
    cleanUps.push(() => cluster.stop())
    const storage = await open({ cluster: { nodes: cluster.nodes } })
    const store = storage.namespace('n')
    const keys = Array.from({ length: 60 }, (_, index) => `k${index}`).sort()
    await Promise.all(keys.map((key) => store.set(key, bytes(key))))
    for (const server of cluster.servers) {
      expect(Number(await redisCommand(server.port, 'dbsize'))).toBeGreaterThan(0)
    }
    expect(await store.list()).toEqual(keys)
    expect(await store.getMany(keys)).toEqual(keys.map(bytes))

    const [first] = cluster.servers
    await first?.kill()
    const results = await Promise.allSettled(keys.map((key) => store.get(key)))
    expect(results.some((result) => result.status === 'rejected')).toBe(true)
    for (const result of results) {
      if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(StorageUnavailable)
    }
    await expect(storage.ping()).rejects.toThrow(StorageUnavailable)
    // Until the others have noticed, and longer: never a list without the keys of the dead.
    for (let i = 0; i < 40; i++) {
      await expect(storage.ping()).rejects.toThrow(StorageUnavailable)
      await expect(store.list()).rejects.toThrow(StorageUnavailable)
      await delay(100)
    }
    await first?.restart()
    await vi.waitFor(async () => expect(await store.getMany(keys)).toEqual(keys.map(bytes)), {
      timeout: 20_000,
      interval: 200,
    })
    await back(storage)
  }, 60_000)

  it('may be down altogether, when the storage opens or later, and is found when it comes', async () => {
    const cluster = await startRedisCluster()
    cleanUps.push(() => cluster.stop())
    await Promise.all(cluster.servers.map((server) => server.kill()))
    const storage = await open({ cluster: { nodes: cluster.nodes } })
    for (let round = 0; round < 2; round++) {
      await expect(storage.ping()).rejects.toThrow(StorageUnavailable)
      await expect(storage.namespace('n').get('key')).rejects.toThrow(StorageUnavailable)
      await Promise.all(cluster.servers.map((server) => server.restart()))
      await back(storage)
      await storage.namespace('n').set('key', bytes('x'))
      await Promise.all(cluster.servers.map((server) => server.kill()))
    }
  }, 60_000)

  it('is found through any one of its nodes', async () => {
    const cluster = await startRedisCluster()
    cleanUps.push(() => cluster.stop())
    const nodes = [`127.0.0.1:${await freePort()}`, ...cluster.nodes.slice(2)]
    const storage = await open({ cluster: { nodes } })
    await back(storage)
    await storage.namespace('n').set('key', bytes('x'))
  }, 60_000)
})
