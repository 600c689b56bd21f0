import type { SessionStore } from '@passport-kbs/storage'
import { readSessionCookie } from './session-cookie.ts'

/** The passport of an attested cookie session, for a KBS2 in the same process (spec 01 §4.1). It is verified like any other. */
export function sessionPassport(
  sessions: SessionStore,
): (cookie: string | undefined) => Promise<string | undefined> {
  return async (cookie) => {
    const id = readSessionCookie(cookie)
    if (id === undefined) return undefined
    const session = await sessions.get(id)
    return session?.state === 'attested' ? session.attestation.token : undefined
  }
}
