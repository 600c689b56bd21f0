import type { KeyValueStore, Storage } from '../key-value-store.ts'
import {
  assertNamespace,
  assertReadSize,
  assertStorageKey,
  assertValueSize,
  isStorageKey,
} from '../storage-key.ts'
import type { PostgresConfig } from './postgres-config.ts'
import { PostgresConnections, type Row, type Statement } from './postgres-connections.ts'
import { PostgresSchema, tableOf } from './postgres-schema.ts'

/**
 * PostgreSQL in Trustee's layout: a table per namespace with `key TEXT PRIMARY KEY, value BYTEA` (spec 01 §5.3), so
 * tables that Trustee has filled are read as they are. Each method is one statement and a transaction of its own. An
 * acknowledged write is as durable as the server's `synchronous_commit` and replication make it.
 */
export async function openPostgresStorage(config: PostgresConfig): Promise<Storage> {
  const connections = await PostgresConnections.open(config)
  const schema = new PostgresSchema(connections)
  return {
    namespace(name) {
      assertNamespace(name)
      return postgresNamespace(tableOf(name), async (statement) => {
        await schema.table(name)
        return connections.run(statement)
      })
    },
    async ping() {
      await schema.ready()
      await connections.run({ text: 'SELECT 1' })
    },
    close: () => connections.close(),
  }
}

function postgresNamespace(
  table: string,
  run: (statement: Statement) => ReturnType<PostgresConnections['run']>,
): KeyValueStore {
  const insert = `INSERT INTO ${table} (key, value) VALUES ($1, $2) ON CONFLICT (key)`
  return {
    async get(key) {
      assertStorageKey(key)
      const { rows } = await run({ text: `SELECT value FROM ${table} WHERE key = $1`, values: [key] })
      return storedValue(rows[0])
    },
    async set(key, value, options = {}) {
      assertStorageKey(key)
      assertValueSize(value)
      const conflict = options.ifAbsent === true ? 'DO NOTHING' : 'DO UPDATE SET value = EXCLUDED.value'
      const { count } = await run({ text: `${insert} ${conflict}`, values: [key, Buffer.from(value)] })
      return count === 1
    },
    async compareAndSet(key, expected, value) {
      assertStorageKey(key)
      assertValueSize(value)
      const statement: Statement =
        expected === undefined
          ? { text: `${insert} DO NOTHING`, values: [key, Buffer.from(value)] }
          : {
              text: `UPDATE ${table} SET value = $2 WHERE key = $1 AND value = $3`,
              values: [key, Buffer.from(value), Buffer.from(expected)],
            }
      return (await run(statement)).count === 1
    },
    async getMany(keys) {
      for (const key of keys) assertStorageKey(key)
      if (keys.length === 0) return []
      const text = `SELECT key, value FROM ${table} WHERE key = ANY($1::text[])`
      const { rows } = await run({ text, values: [[...new Set(keys)]] })
      const values = new Map(rows.map((row) => [row.key, storedValue(row)]))
      // A key asked for twice is answered with two arrays: nobody's change shows elsewhere.
      return keys.map((key) => values.get(key)?.slice())
    },
    async delete(key) {
      assertStorageKey(key)
      return (await run({ text: `DELETE FROM ${table} WHERE key = $1`, values: [key] })).count === 1
    },
    async list() {
      const { rows } = await run({ text: `SELECT key FROM ${table} ORDER BY key COLLATE "C"` })
      return rows.map((row) => String(row.key)).filter(isStorageKey)
    },
  }
}

function storedValue(row: Row | undefined): Uint8Array | undefined {
  if (!(row?.value instanceof Uint8Array)) return undefined
  assertReadSize(row.value)
  return new Uint8Array(row.value)
}
