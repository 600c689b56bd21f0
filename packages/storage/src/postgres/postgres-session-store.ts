import type { Session, SessionStore } from '../session-store.ts'
import { newSessionId, newSessionKey, sessionKey } from '../sessions/session-id.ts'
import { SESSION_NAMESPACE } from '../sessions/session-namespace.ts'
import { SessionQuota } from '../sessions/session-quota.ts'
import { checkChallenge, checkSession, parseStoredJson } from '../sessions/session-record.ts'
import type { PostgresConfig } from './postgres-config.ts'
import { PostgresConnections, type Row } from './postgres-connections.ts'
import { PostgresSchema, SWEEP_LOCK, tableOf } from './postgres-schema.ts'

const SWEEP_INTERVAL_MS = 30_000
/** Rows that one statement removes, so that none runs for long or holds many locks. */
const SWEEP_BATCH = 1_000

const table = tableOf(SESSION_NAMESPACE)
const CREATE = `INSERT INTO ${table} (key, state, expires_at, value) VALUES ($1, 'challenged', $2, $3)`
const READ = `SELECT state, expires_at, value FROM ${table} WHERE key = $1 AND expires_at > $2`
const CLAIM = `UPDATE ${table} SET state = 'claimed'
  WHERE key = $1 AND state = 'challenged' AND expires_at > $2 RETURNING value`
const COMPLETE = `UPDATE ${table} SET state = 'attested', value = $3
  WHERE key = $1 AND state = 'claimed' AND expires_at > $2`
/** The server's clock must agree, so that a replica whose clock is fast removes nobody's sessions. */
const SWEEP = `DELETE FROM ${table} WHERE key IN (
  SELECT key FROM ${table} WHERE expires_at <= LEAST($1, clock_timestamp())
  ORDER BY expires_at LIMIT ${SWEEP_BATCH} FOR UPDATE SKIP LOCKED)`

/**
 * Sessions that several replicas share: rows of the table that Trustee too has for them, with the state and the end in
 * columns of ours, and as value the JSON of the challenge or the attestation. Each transition is one statement.
 *
 * @param maxSessions live sessions that this process may make: the database would take any number
 */
export async function openPostgresSessionStore(
  config: PostgresConfig,
  maxSessions: number,
  now: () => Date,
): Promise<SessionStore> {
  const connections = await PostgresConnections.open(config)
  const schema = new PostgresSchema(connections)
  const quota = new SessionQuota(maxSessions, now)
  const run = async (text: string, ...values: unknown[]) => {
    await schema.ready()
    return connections.run({ text, values })
  }
  const timer = setInterval(() => {
    quota.forgetExpired()
    // A store that is down is met again by the next request; expired sessions are refused on reading anyway.
    sweepSessions(connections, schema, now()).catch(() => {})
  }, SWEEP_INTERVAL_MS).unref()

  return {
    async create(challenge, expiresAt, id = newSessionId()) {
      const key = newSessionKey(id)
      await quota.admit(key, expiresAt, () => run(CREATE, key, expiresAt, jsonBytes(challenge)))
      return id
    },
    async get(id) {
      const key = sessionKey(id)
      if (key === undefined) return undefined
      const { rows } = await run(READ, key, now())
      return sessionOf(rows[0])
    },
    async claim(id) {
      const key = sessionKey(id)
      if (key === undefined) return undefined
      const { rows } = await run(CLAIM, key, now())
      return rows[0] && checkChallenge(parseStoredJson(rows[0].value))
    },
    async complete(id, attestation) {
      const key = sessionKey(id)
      if (key === undefined) return false
      return (await run(COMPLETE, key, now(), jsonBytes(attestation))).count === 1
    },
    async ping() {
      await run('SELECT 1')
    },
    async close() {
      clearInterval(timer)
      await connections.close()
    },
  }
}

/**
 * Removes what has expired, in batches; answers how many, 0 where another replica is at it.
 *
 * @param now sessions that end later stay
 */
export async function sweepSessions(
  connections: PostgresConnections,
  schema: PostgresSchema,
  now: Date,
): Promise<number> {
  await schema.ready()
  for (let removed = 0; ; ) {
    const batch = await connections.transaction(async (run) => {
      const { rows } = await run({ text: `SELECT pg_try_advisory_xact_lock(${SWEEP_LOCK}) AS mine` })
      return rows[0]?.mine === true ? (await run({ text: SWEEP, values: [now] })).count : 0
    })
    removed += batch
    if (batch < SWEEP_BATCH) return removed
  }
}

function jsonBytes(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}

/** @throws StorageUnavailable when it is not a session */
function sessionOf(row: Row | undefined): Session | undefined {
  if (row === undefined) return undefined
  const { state, expires_at: expiresAt } = row
  const content = parseStoredJson(row.value)
  return checkSession({ state, expiresAt, [state === 'attested' ? 'attestation' : 'challenge']: content })
}
