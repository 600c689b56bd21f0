import type { Session, SessionStore } from '../session-store.ts'
import { newSessionId, newSessionKey, sessionKey } from '../sessions/session-id.ts'
import { SESSION_NAMESPACE } from '../sessions/session-namespace.ts'
import { checkChallenge, checkSession, parseStoredJson } from '../sessions/session-record.ts'
import type { RedisConfig } from '../storage-config.ts'
import { RedisConnection } from './redis-connection.ts'

/**
 * A session is a hash: `state`, `expiresAt` (ms since 1970), and the JSON of `challenge` or `attestation`. Its time to
 * live is set in Redis; `expiresAt` is compared as well (`ARGV[1]` is the caller's now), as an injected or skewed clock
 * and Redis's own must agree before a session counts as alive.
 */
const CREATE = `
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'state', 'challenged', 'expiresAt', ARGV[1], 'challenge', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
`
const READ = `
local expires = tonumber(redis.call('HGET', KEYS[1], 'expiresAt') or 0)
if not expires or expires <= tonumber(ARGV[1]) then return {} end
return redis.call('HMGET', KEYS[1], 'state', 'expiresAt', 'challenge', 'attestation')
`
const CLAIM = `
local expires = tonumber(redis.call('HGET', KEYS[1], 'expiresAt') or 0)
if not expires or expires <= tonumber(ARGV[1]) then return false end
if redis.call('HGET', KEYS[1], 'state') ~= 'challenged' then return false end
redis.call('HSET', KEYS[1], 'state', 'claimed')
return redis.call('HGET', KEYS[1], 'challenge')
`
const COMPLETE = `
local expires = tonumber(redis.call('HGET', KEYS[1], 'expiresAt') or 0)
if not expires or expires <= tonumber(ARGV[1]) then return 0 end
if redis.call('HGET', KEYS[1], 'state') ~= 'claimed' then return 0 end
redis.call('HSET', KEYS[1], 'state', 'attested', 'attestation', ARGV[2])
redis.call('HDEL', KEYS[1], 'challenge')
return 1
`

/** Sessions that several replicas share. Each transition is one script on one key. */
export async function openRedisSessionStore(config: RedisConfig, now: () => Date): Promise<SessionStore> {
  const connection = await RedisConnection.open(config)
  const named = (key: string) => `${connection.keyPrefix}${SESSION_NAMESPACE}:${key}`
  const nameOf = (id: string) => {
    const key = sessionKey(id)
    return key === undefined ? undefined : named(key)
  }
  const run = (script: string, name: string, ...args: (string | number)[]) =>
    connection.run((client) => client.eval(script, 1, name, ...args))

  return {
    async create(challenge, expiresAt, id = newSessionId()) {
      const lifetimeMs = Math.max(1, expiresAt.getTime() - now().getTime())
      await run(CREATE, named(newSessionKey(id)), expiresAt.getTime(), JSON.stringify(challenge), lifetimeMs)
      return id
    },
    async get(id) {
      const name = nameOf(id)
      if (name === undefined) return undefined
      return sessionOf(await run(READ, name, now().getTime()))
    },
    async claim(id) {
      const name = nameOf(id)
      if (name === undefined) return undefined
      const challenge = await run(CLAIM, name, now().getTime())
      return challenge === null ? undefined : checkChallenge(parseStoredJson(challenge))
    },
    async complete(id, attestation) {
      const name = nameOf(id)
      if (name === undefined) return false
      return (await run(COMPLETE, name, now().getTime(), JSON.stringify(attestation))) === 1
    },
    ping: () => connection.ping(),
    close: () => connection.close(),
  }
}

/** Reads what READ answered. @throws StorageUnavailable when it is not a session */
function sessionOf(answer: unknown): Session | undefined {
  if (!Array.isArray(answer) || answer.length === 0) return undefined
  const [state, expiresAt, challenge, attestation] = answer
  const common = { state, expiresAt: new Date(Number(expiresAt)) }
  return checkSession(
    state === 'attested'
      ? { ...common, attestation: parseStoredJson(attestation) }
      : { ...common, challenge: parseStoredJson(challenge) },
  )
}
