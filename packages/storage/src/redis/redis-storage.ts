import type { Redis } from 'ioredis'
import type { KeyValueStore, Storage } from '../key-value-store.ts'
import type { RedisConfig } from '../storage-config.ts'
import {
  assertNamespace,
  assertReadSize,
  assertStorageKey,
  assertValueSize,
  isStorageKey,
} from '../storage-key.ts'
import { RedisConnection } from './redis-connection.ts'

/** `ARGV[1]`: "1" when a value is expected, and then `ARGV[2]` is it. `ARGV[3]` is the new one. */
const COMPARE_AND_SET = `
local current = redis.call('GET', KEYS[1])
if ARGV[1] == '1' then
  if current ~= ARGV[2] then return 0 end
elseif current then
  return 0
end
redis.call('SET', KEYS[1], ARGV[3])
return 1
`

/**
 * Redis, alone, behind Sentinel, or as a Cluster. Keys are Trustee's: `<namespace>:<key>` (spec 01 §5.3), after
 * `key_prefix` where one is set. Each method uses one key a command, so a Cluster needs no hash tags. An acknowledged
 * write is as durable as the server's `appendfsync` and replication make it.
 */
export async function openRedisStorage(config: RedisConfig): Promise<Storage> {
  const connection = await RedisConnection.open(config)
  return {
    namespace(name) {
      assertNamespace(name)
      return redisNamespace(connection, `${connection.keyPrefix}${name}:`)
    },
    ping: () => connection.ping(),
    close: () => connection.close(),
  }
}

function redisNamespace(connection: RedisConnection, prefix: string): KeyValueStore {
  const nameOf = (key: string) => {
    assertStorageKey(key)
    return prefix + key
  }
  return {
    async get(key) {
      const name = nameOf(key)
      return bytes(await connection.run((client) => client.getBuffer(name)))
    },
    async set(key, value, options = {}) {
      const name = nameOf(key)
      assertValueSize(value)
      const answer = await connection.run((client) =>
        options.ifAbsent === true
          ? client.set(name, Buffer.from(value), 'NX')
          : client.set(name, Buffer.from(value)),
      )
      return answer === 'OK'
    },
    async compareAndSet(key, expected, value) {
      const name = nameOf(key)
      assertValueSize(value)
      const [mode, old] = expected === undefined ? ['0', ''] : ['1', Buffer.from(expected)]
      const answer = await connection.run((client) =>
        client.eval(COMPARE_AND_SET, 1, name, mode, old, Buffer.from(value)),
      )
      return answer === 1
    },
    async getMany(keys) {
      const names = keys.map(nameOf)
      if (names.length === 0) return []
      const values = await connection.run((client) =>
        // The keys of one MGET must live in one slot; a Cluster spreads ours.
        connection.isCluster
          ? Promise.all(names.map((name) => client.getBuffer(name)))
          : client.mgetBuffer(names),
      )
      return values.map(bytes)
    },
    async delete(key) {
      const name = nameOf(key)
      return (await connection.run((client) => client.del(name))) > 0
    },
    async list() {
      const found = await connection.runOnMasters((master) => namesWithPrefix(master, prefix))
      // SCAN may name a key twice, and so may two masters while a slot moves.
      const keys = [...new Set(found.flat())].map((name) => name.slice(prefix.length))
      return keys.filter(isStorageKey).sort()
    },
  }
}

/** SCAN goes through the key space in steps between which others are served; KEYS would stop them all. */
async function namesWithPrefix(master: Redis, prefix: string): Promise<string[]> {
  const names: string[] = []
  let cursor = '0'
  do {
    const [next, page] = await master.scan(cursor, 'MATCH', `${prefix}*`, 'COUNT', 500)
    names.push(...page)
    cursor = next
  } while (cursor !== '0')
  return names
}

function bytes(value: Buffer | null): Uint8Array | undefined {
  if (value === null) return undefined
  assertReadSize(value)
  return new Uint8Array(value)
}
