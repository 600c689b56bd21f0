import type { Session, SessionStore } from '../session-store.ts'
import { SessionLimit } from '../session-store.ts'
import { newSessionId, newSessionKey, sessionKey } from './session-id.ts'

const SWEEP_INTERVAL_MS = 30_000

/** Sessions in this process: at most `maxSessions` live ones. Every transition happens without yielding. */
export function openMemorySessionStore(maxSessions: number, now: () => Date): SessionStore {
  const sessions = new Map<string, Session>()

  const find = (id: string): { key: string; session: Session } | undefined => {
    const key = sessionKey(id)
    const session = key === undefined ? undefined : sessions.get(key)
    if (key === undefined || session === undefined) return undefined
    if (session.expiresAt > now()) return { key, session }
    sessions.delete(key)
    return undefined
  }
  const sweep = () => {
    const time = now()
    for (const [key, session] of sessions) if (session.expiresAt <= time) sessions.delete(key)
  }
  const timer = setInterval(sweep, SWEEP_INTERVAL_MS).unref()

  return {
    async create(challenge, expiresAt, id = newSessionId()) {
      if (sessions.size >= maxSessions) sweep()
      if (sessions.size >= maxSessions) throw new SessionLimit('too many handshakes are under way')
      sessions.set(newSessionKey(id), { state: 'challenged', challenge, expiresAt })
      return id
    },
    async get(id) {
      return find(id)?.session
    },
    async claim(id) {
      const found = find(id)
      if (found?.session.state !== 'challenged') return undefined
      sessions.set(found.key, { ...found.session, state: 'claimed' })
      return found.session.challenge
    },
    async complete(id, attestation) {
      const found = find(id)
      if (found?.session.state !== 'claimed') return false
      sessions.set(found.key, { state: 'attested', attestation, expiresAt: found.session.expiresAt })
      return true
    },
    async ping() {},
    async close() {
      clearInterval(timer)
      sessions.clear()
    },
  }
}
