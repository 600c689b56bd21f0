import { StorageUnavailable } from '../key-value-store.ts'
import { SESSION_NAMESPACE } from '../sessions/session-namespace.ts'
import type { PostgresConnections, Run } from './postgres-connections.ts'

/** `$` is in no namespace's name, so no namespace's table has this name. */
const VERSION_TABLE = '"passport_kbs$schema"'

/** Any number that other programs in the database are unlikely to lock by. */
const MIGRATION_LOCK = '7809368321345'
export const SWEEP_LOCK = '7809368321346'

/** Other replicas may be migrating; an index takes a while on a large table. */
const MIGRATION_TIMEOUT_MS = 60_000

/** Namespaces that every installation has; tables of others are made when they are first used. */
const namespaces = [
  'kbs',
  'repository',
  SESSION_NAMESPACE,
  'attestation_service_policy',
  'reference_value',
  'policy_history',
]

/**
 * What brings a database from one version to the next; never changed, only added to. Tables that Trustee, or its
 * operator, has made are taken as they are.
 */
const migrations: readonly (readonly string[])[] = [
  [
    ...namespaces.map(createTable),
    `ALTER TABLE ${tableOf(SESSION_NAMESPACE)}
       ADD COLUMN IF NOT EXISTS state TEXT, ADD COLUMN IF NOT EXISTS expires_at TIMESTAMPTZ`,
    `CREATE INDEX IF NOT EXISTS "${SESSION_NAMESPACE}_expires_at" ON ${tableOf(SESSION_NAMESPACE)} (expires_at)`,
  ],
]

/** @param namespace a valid one: its characters need no escaping within quotes */
export function tableOf(namespace: string): string {
  return `"${namespace}"`
}

/** Trustee's layout (spec 01 §5.3). */
function createTable(namespace: string): string {
  return `CREATE TABLE IF NOT EXISTS ${tableOf(namespace)} (key TEXT PRIMARY KEY, value BYTEA NOT NULL)`
}

/**
 * Makes and migrates the tables, one replica at a time, when they are first needed: the server may be down at start.
 * Where everything is there already, the user needs no right to make tables.
 */
export class PostgresSchema {
  readonly #connections: PostgresConnections
  #migrated: Promise<void> | undefined
  readonly #tables = new Map<string, Promise<void>>()

  constructor(connections: PostgresConnections) {
    this.#connections = connections
  }

  /** Resolves when the database has our version. @throws StorageUnavailable */
  ready(): Promise<void> {
    this.#migrated ??= this.#migrate().catch((error) => {
      this.#migrated = undefined
      throw error
    })
    return this.#migrated
  }

  /** Resolves when the namespace has its table. @throws StorageUnavailable */
  table(namespace: string): Promise<void> {
    let made = this.#tables.get(namespace)
    if (made === undefined) {
      made = this.#makeTable(namespace).catch((error) => {
        this.#tables.delete(namespace)
        throw error
      })
      this.#tables.set(namespace, made)
    }
    return made
  }

  async #migrate(): Promise<void> {
    const runAlone: Run = (statement) => this.#connections.run(statement)
    if ((await isThere(runAlone, VERSION_TABLE)) && isCurrent(await readVersion(runAlone))) return
    await this.#connections.transaction(async (run) => {
      await beginMigration(run)
      // Not `isThere`: within a transaction PostgreSQL goes on believing that a table is missing.
      await run({
        text: `CREATE TABLE IF NOT EXISTS ${VERSION_TABLE}
                 (version INTEGER PRIMARY KEY, applied_at TIMESTAMPTZ NOT NULL DEFAULT now())`,
      })
      const version = await readVersion(run)
      if (isCurrent(version)) return
      for (const [index, statements] of migrations.entries()) {
        if (index < version) continue
        for (const text of statements) await run({ text, timeoutMs: MIGRATION_TIMEOUT_MS })
        await run({ text: `INSERT INTO ${VERSION_TABLE} (version) VALUES ($1)`, values: [index + 1] })
      }
    })
  }

  async #makeTable(namespace: string): Promise<void> {
    await this.ready()
    if (await isThere((statement) => this.#connections.run(statement), tableOf(namespace))) return
    await this.#connections.transaction(async (run) => {
      await beginMigration(run)
      await run({ text: createTable(namespace), timeoutMs: MIGRATION_TIMEOUT_MS })
    })
  }
}

/** Until the end of the transaction nobody else migrates: `CREATE … IF NOT EXISTS` alone is no protection in a race. */
async function beginMigration(run: Run): Promise<void> {
  const timeoutMs = MIGRATION_TIMEOUT_MS
  await run({ text: `SET LOCAL statement_timeout = ${timeoutMs}` })
  await run({ text: `SET LOCAL lock_timeout = ${timeoutMs}` })
  await run({ text: `SELECT pg_advisory_xact_lock(${MIGRATION_LOCK})`, timeoutMs })
}

/** The version of the database; 0 where we have only begun. */
async function readVersion(run: Run): Promise<number> {
  const { rows } = await run({ text: `SELECT coalesce(max(version), 0) AS version FROM ${VERSION_TABLE}` })
  return Number(rows[0]?.version)
}

async function isThere(run: Run, table: string): Promise<boolean> {
  const { rows } = await run({ text: 'SELECT to_regclass($1) IS NOT NULL AS there', values: [table] })
  return rows[0]?.there === true
}

/** @throws StorageUnavailable for a database that a newer version of the program has migrated */
function isCurrent(version: number): boolean {
  if (version <= migrations.length) return version === migrations.length
  throw new StorageUnavailable(
    `the database has schema version ${version}, this program knows ${migrations.length}: update the program`,
  )
}
