import type { SessionStore } from '@passport-kbs/storage'
import { ForgedSession } from './sealed-sessions.ts'
import { readSessionCookie } from './session-cookie.ts'

/** Only sessions that are not attested yet have a seal, and those have no passport whoever made them. */
function notForged(error: unknown): undefined {
  if (!(error instanceof ForgedSession)) throw error
}

/** The passport of an attested cookie session, for a KBS2 in the same process (spec 01 §4.1). It is verified like any other. */
export function sessionPassport(
  sessions: SessionStore,
): (cookie: string | undefined) => Promise<string | undefined> {
  return async (cookie) => {
    const id = readSessionCookie(cookie)
    if (id === undefined) return undefined
    const session = await sessions.get(id).catch(notForged)
    return session?.state === 'attested' ? session.attestation.token : undefined
  }
}
