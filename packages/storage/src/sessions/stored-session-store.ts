import type { KeyValueStore, Storage } from '../key-value-store.ts'
import type { Session, SessionStore } from '../session-store.ts'
import { newSessionId, newSessionKey, sessionKey } from './session-id.ts'
import { SESSION_NAMESPACE } from './session-namespace.ts'
import { SessionQuota } from './session-quota.ts'
import { decodeSession, encodeSession } from './session-record.ts'

const SWEEP_INTERVAL_MS = 30_000

/**
 * Sessions in a key-value store that forgets nothing by itself: LocalFs, LocalJson. Transitions are its compare-and-set; a timer
 * removes what has expired. For one machine: several processes may share the folder, and each then allows
 * `maxSessions` of its own making.
 */
export function openStoredSessionStore(storage: Storage, maxSessions: number, now: () => Date): SessionStore {
  const store = storage.namespace(SESSION_NAMESPACE)
  const quota = new SessionQuota(maxSessions, now)
  const timer = setInterval(() => {
    // A store that is down is met again by the next request; expired sessions are refused on reading anyway.
    sweep(store, now()).catch(() => {})
    quota.forgetExpired()
  }, SWEEP_INTERVAL_MS).unref()

  const find = async (id: string) => {
    const key = sessionKey(id)
    const bytes = key === undefined ? undefined : await store.get(key)
    if (key === undefined || bytes === undefined) return undefined
    const session = decodeSession(bytes)
    if (session.expiresAt > now()) return { key, bytes, session }
    await store.delete(key)
    return undefined
  }
  const replace = (found: { key: string; bytes: Uint8Array }, session: Session) =>
    store.compareAndSet(found.key, found.bytes, encodeSession(session))

  return {
    async create(challenge, expiresAt, id = newSessionId()) {
      const key = newSessionKey(id)
      const session = encodeSession({ state: 'challenged', challenge, expiresAt })
      await quota.admit(key, expiresAt, () => store.set(key, session))
      return id
    },
    async get(id) {
      return (await find(id))?.session
    },
    async claim(id) {
      const found = await find(id)
      if (found?.session.state !== 'challenged') return undefined
      const claimed = await replace(found, { ...found.session, state: 'claimed' })
      return claimed ? found.session.challenge : undefined
    },
    async complete(id, attestation) {
      const found = await find(id)
      if (found?.session.state !== 'claimed') return false
      return replace(found, { state: 'attested', attestation, expiresAt: found.session.expiresAt })
    },
    ping: () => storage.ping(),
    async close() {
      clearInterval(timer)
      await storage.close()
    },
  }
}

async function sweep(store: KeyValueStore, now: Date): Promise<void> {
  for (const key of await store.list()) {
    const bytes = await store.get(key)
    if (bytes !== undefined && !isAlive(bytes, now)) await store.delete(key)
  }
}

/** A damaged session is of no use to anyone, and must not keep the others from being swept. */
function isAlive(bytes: Uint8Array, now: Date): boolean {
  try {
    return decodeSession(bytes).expiresAt > now
  } catch {
    return false
  }
}
