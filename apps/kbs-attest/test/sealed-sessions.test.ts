import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createTokenSigner } from '@passport-kbs/attestation-service'
import {
  openSessionStore,
  type Session,
  type SessionChallenge,
  type SessionStore,
} from '@passport-kbs/storage'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ForgedSession, sealedSessions } from '../src/sealed-sessions.ts'
import { openSealingKeys } from '../src/sealing-keys.ts'
import { sessionPassport } from '../src/session-passport.ts'
import { attestation, authenticate, openTestKbs, text } from './fixtures.ts'

const lifetimeMs = 300_000
const minuteMs = 60_000

let stateDir: string
let time: number
const now = () => new Date(time)
const inFiveMinutes = () => new Date(time + lifetimeMs)
const challenge = (): SessionChallenge => ({
  tee: 'snp',
  nonce: randomBytes(32).toString('base64'),
  hashAlgorithm: 'sha384',
})
const challenged = (session: Session | undefined) => {
  if (session === undefined || session.state === 'attested') throw new Error('no challenge')
  return session.challenge
}

/** A replica: a process with the key in `stateDir`, over the store that all share. */
async function replica(store: SessionStore, directory = stateDir) {
  const signer = await createTokenSigner({ stateDir: directory, now })
  const keys = await openSealingKeys(signer, { sessionLifetimeMs: lifetimeMs, now })
  return { signer, sessions: sealedSessions(store, { keys, now }) }
}

/** A store that answers with what `lie` makes of the truth. */
function lying(
  store: SessionStore,
  lie: (told: SessionChallenge, id: string) => SessionChallenge | Promise<SessionChallenge>,
  end: (told: Date) => Date = (told) => told,
): SessionStore {
  return {
    ...store,
    async get(id) {
      const session = await store.get(id)
      if (session === undefined || session.state === 'attested') return session
      return { ...session, challenge: await lie(session.challenge, id), expiresAt: end(session.expiresAt) }
    },
    async claim(id) {
      const told = await store.claim(id)
      return told && (await lie(told, id))
    },
  }
}

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), 'sealed-sessions-'))
  time = Date.now()
})
afterEach(() => rm(stateDir, { recursive: true }))

describe('a sealed session', () => {
  it('is one to the process that made it', async () => {
    const { sessions } = await replica(await openSessionStore({ type: 'Memory' }, { now }))
    const made = challenge()
    const id = await sessions.create(made, inFiveMinutes())
    expect(await sessions.get(id)).toMatchObject({ state: 'challenged', challenge: made })
    expect(await sessions.claim(id)).toMatchObject(made)
    expect(await sessions.get(id)).toMatchObject({ state: 'claimed' })
    expect(await sessions.claim(id)).toBeUndefined()
    const attested = { token: 'a.b.c', teeKeyThumbprint: 't', requestDigest: 'd' }
    expect(await sessions.complete(id, attested)).toBe(true)
    expect(await sessions.get(id)).toMatchObject({ state: 'attested', attestation: attested })
  })

  it('is one to a replica and to a successor with the same signing key', async () => {
    const store = await openSessionStore({ type: 'Memory' }, { now })
    const [a, b] = [await replica(store), await replica(store)]
    const id = await a.sessions.create(challenge(), inFiveMinutes())
    expect(await b.sessions.get(id)).toMatchObject({ state: 'challenged' })
    expect(await (await replica(store)).sessions.claim(id)).toBeDefined()
  })

  it('is none to a service with another signing key', async () => {
    const store = await openSessionStore({ type: 'Memory' }, { now })
    const id = await (await replica(store)).sessions.create(challenge(), inFiveMinutes())
    const stranger = await replica(store, join(stateDir, 'other'))
    await expect(stranger.sessions.get(id)).rejects.toThrow(ForgedSession)
    await expect(stranger.sessions.claim(id)).rejects.toThrow(ForgedSession)
  })

  it.each<[string, (told: SessionChallenge) => SessionChallenge]>([
    ['nonce', (told) => ({ ...told, nonce: challenge().nonce })],
    ['TEE', (told) => ({ ...told, tee: 'tdx' })],
    ['hash', (told) => ({ ...told, hashAlgorithm: 'sha256' })],
    [
      'boundary between members',
      (told) => ({ ...told, tee: `${told.tee}","${told.nonce}`, nonce: told.hashAlgorithm }),
    ],
    ['end in the seal', (told) => ({ ...told, seal: (told.seal ?? '').replace(/^\d+/, `${time * 2}`) })],
    ['MAC', (told) => ({ ...told, seal: (told.seal ?? '').replace(/\..*$/, `.${'A'.repeat(43)}`) })],
    ['seal without a MAC', (told) => ({ ...told, seal: (told.seal ?? '').replace(/\..*$/, '.') })],
    ['missing seal', ({ seal: _, ...told }) => told],
  ])('with a forged %s is refused, before the claim and after it', async (_, lie) => {
    const store = await openSessionStore({ type: 'Memory' }, { now })
    const { sessions } = await replica(lying(store, lie))
    const id = await sessions.create(challenge(), inFiveMinutes())
    await expect(sessions.get(id)).rejects.toThrow(ForgedSession)
    await expect(sessions.claim(id)).rejects.toThrow(ForgedSession)
  })

  it('with a forged end is refused', async () => {
    const store = await openSessionStore({ type: 'Memory' }, { now })
    const later = (told: Date) => new Date(told.getTime() + 1)
    const { sessions } = await replica(lying(store, (told) => told, later))
    const id = await sessions.create(challenge(), inFiveMinutes())
    await expect(sessions.get(id)).rejects.toThrow(ForgedSession)
  })

  it('is refused under the id of another: swapped records', async () => {
    const store = await openSessionStore({ type: 'Memory' }, { now })
    const honest = await replica(store)
    const ids = [
      await honest.sessions.create(challenge(), inFiveMinutes()),
      await honest.sessions.create(challenge(), inFiveMinutes()),
    ] as const
    const [first, second] = [challenged(await store.get(ids[0])), challenged(await store.get(ids[1]))]
    const { sessions } = await replica(lying(store, (_, id) => (id === ids[0] ? second : first)))
    for (const id of ids) {
      await expect(sessions.get(id)).rejects.toThrow(ForgedSession)
      await expect(sessions.claim(id)).rejects.toThrow(ForgedSession)
    }
  })

  it('is unknown from its end on, though the store still answers with it', async () => {
    const store = await openSessionStore({ type: 'Memory' }, { now: () => new Date(0) })
    const { sessions } = await replica(store)
    const id = await sessions.create(challenge(), inFiveMinutes())
    time += lifetimeMs
    expect(await sessions.get(id)).toBeUndefined()
    expect(await sessions.claim(id)).toBeUndefined()
  })
})

describe('when the signing key is rotated', () => {
  it('sessions of the former key are known until their end, and not for good', async () => {
    const store = await openSessionStore({ type: 'Memory' }, { now: () => new Date(0) })
    const { signer, sessions } = await replica(store)
    const id = await sessions.create(challenge(), inFiveMinutes())
    const longLived = await sessions.create(challenge(), new Date(time + 10 * lifetimeMs))
    await signer.rotate()
    const next = await sessions.create(challenge(), inFiveMinutes())
    time += lifetimeMs - 1
    expect(await sessions.get(id)).toBeDefined()
    expect(await sessions.get(next)).toBeDefined()
    time += minuteMs + 1
    await expect(sessions.get(longLived)).rejects.toThrow(ForgedSession)
  })

  it('a replica that has not noticed yet reads the key again rather than refuse', async () => {
    const store = await openSessionStore({ type: 'Memory' }, { now })
    const [a, b] = [await replica(store), await replica(store)]
    const before = await b.sessions.create(challenge(), inFiveMinutes())
    await a.signer.rotate()
    const id = await a.sessions.create(challenge(), inFiveMinutes())
    expect(await b.sessions.get(id)).toBeDefined()
    expect(await b.sessions.claim(before)).toBeDefined()
    expect(await a.sessions.get(before)).toBeDefined()
  })
})

describe('POST /attest with a store that lies', () => {
  const reason = 'the session store returned a session that this service did not make'

  it('does not take evidence recorded earlier for a new session: 401, an audit record and an error', async () => {
    const store = await openSessionStore({ type: 'Memory' })
    let recorded: SessionChallenge | undefined
    const { sessions } = await replica(lying(store, (told) => recorded ?? told))
    const kbs = await openTestKbs({ deps: { sessions } })
    const victim = await authenticate(kbs)
    const evidence = text(attestation(victim))
    recorded = challenged(await store.get(victim.cookie.split('=')[1] ?? ''))

    const { cookie } = await authenticate(kbs)
    const answer = await kbs.post('/kbs/v0/attest', evidence, { cookie })
    expect(answer.status).toBe(401)
    const body = (await answer.json()) as { detail: string }
    expect(JSON.stringify(body)).toContain('session unknown or expired')
    expect(JSON.stringify(body)).not.toContain(reason)
    expect(kbs.audits().at(-1)).toMatchObject({ event: 'attestation', decision: 'denied', reason })
    expect(kbs.log()).toMatch(new RegExp(`"level":(50|"error").*${reason}`))
    // the lie has cost the honest guest nothing: its nonce is not spent
    recorded = undefined
    expect((await kbs.post('/kbs/v0/attest', evidence, { cookie: victim.cookie })).status).not.toBe(401)
  })

  it('looks again at what the claim returned', async () => {
    const store = await openSessionStore({ type: 'Memory' })
    const liar: SessionStore = {
      ...store,
      claim: async (id) => {
        const told = await store.claim(id)
        return told && { ...told, tee: 'tdx' }
      },
    }
    const { sessions } = await replica(liar)
    const kbs = await openTestKbs({ deps: { sessions } })
    const session = await authenticate(kbs)
    const answer = await kbs.post('/kbs/v0/attest', text(attestation(session)), { cookie: session.cookie })
    expect(answer.status).toBe(401)
    expect(kbs.audits().at(-1)).toMatchObject({ decision: 'denied', reason })
  })

  it('gets no passport out of a forged session for a resource', async () => {
    const store = await openSessionStore({ type: 'Memory' }, { now })
    const { sessions } = await replica(lying(store, (told) => ({ ...told, tee: 'tdx' })))
    const id = await sessions.create(challenge(), inFiveMinutes())
    expect(await sessionPassport(sessions)(`kbs-session-id=${id}`)).toBeUndefined()
  })
})
