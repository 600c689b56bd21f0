import { createHmac, timingSafeEqual } from 'node:crypto'
import { newSessionId, type SessionChallenge, type SessionStore } from '@passport-kbs/storage'
import type { SealingKeys } from './sealing-keys.ts'

/** The store returned a session that no process with our keys has made: it lies, or someone else writes to it. */
export class ForgedSession extends Error {
  override readonly name = 'ForgedSession'
  constructor() {
    super('the session store returned a session that this service did not make')
  }
}

/**
 * Sessions in a store that need not be believed. Each challenge is sealed when it is made: an HMAC-SHA-256 over the
 * session's id, TEE, nonce, hash and end. So a store cannot put the nonce of evidence recorded earlier into a session,
 * prolong one, or answer with another guest's. The id is part of the seal, and therefore chosen here rather than by the
 * store: sealed by nonce alone, the challenge of one session would be good in every other.
 *
 * What `/attest` leaves behind is not sealed: a token is verified whenever it is used, and is of no use without its TEE
 * key. A store can still forget and delay, and open a claimed session again until its end.
 *
 * `get` and `claim` throw `ForgedSession`, and know no session whose end has come, whatever the store says.
 */
export function sealedSessions(
  store: SessionStore,
  { keys, now }: { readonly keys: SealingKeys; readonly now: () => Date },
): SessionStore {
  /** When the session ends, as sealed. @throws ForgedSession */
  const endOf = async (id: string, challenge: SessionChallenge): Promise<number> => {
    const [, end = '', mac = ''] = sealPattern.exec(challenge.seal ?? '') ?? []
    const shown = Buffer.from(mac, 'base64url')
    const isOurs = (key: Uint8Array) => {
      const expected = macOf(key, id, challenge, Number(end))
      return shown.length === expected.length && timingSafeEqual(shown, expected)
    }
    if (!(await keys.some(isOurs))) throw new ForgedSession()
    return Number(end)
  }

  return {
    async create(challenge, expiresAt, id = newSessionId()) {
      const end = expiresAt.getTime()
      const mac = macOf(await keys.current(), id, challenge, end).toString('base64url')
      return await store.create({ ...challenge, seal: `${end}.${mac}` }, expiresAt, id)
    },
    async get(id) {
      const session = await store.get(id)
      if (session === undefined || session.state === 'attested') return session
      const end = await endOf(id, session.challenge)
      if (end !== session.expiresAt.getTime()) throw new ForgedSession()
      return end > now().getTime() ? session : undefined
    },
    async claim(id) {
      const challenge = await store.claim(id)
      if (challenge === undefined) return undefined
      return (await endOf(id, challenge)) > now().getTime() ? challenge : undefined
    },
    complete: (id, attestation) => store.complete(id, attestation),
    ping: () => store.ping(),
    close: () => store.close(),
  }
}

/** The session's end in milliseconds since 1970, and the HMAC in base64url. */
const sealPattern = /^(0|[1-9]\d{0,14})\.([A-Za-z0-9_-]{43})$/

/** A JSON array of strings and an integer can be read in one way only; its first member is the version of this layout. */
function macOf(key: Uint8Array, id: string, challenge: SessionChallenge, end: number): Buffer {
  const { tee, nonce, hashAlgorithm } = challenge
  const text = JSON.stringify(['passport-kbs session 1', id, tee, nonce, hashAlgorithm, end])
  return createHmac('sha256', key).update(text).digest()
}
