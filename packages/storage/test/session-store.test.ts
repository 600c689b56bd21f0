import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import {
  newSessionId,
  openSessionStore,
  openStorage,
  SessionLimit,
  type SessionStore,
  StorageUnavailable,
} from '../src/index.ts'
import { backEnds } from './back-ends.ts'

const challenge = { tee: 'snp', nonce: 'bm9uY2U=', hashAlgorithm: 'sha384' }
const attestation = { token: 'a.b.c', teeKeyThumbprint: 'thumb', requestDigest: 'digest' }

for (const backEnd of backEnds) {
  describe.skipIf(!backEnd.available)(`a session store in ${backEnd.name}`, () => {
    let started: Awaited<ReturnType<typeof backEnd.start>>
    let sessions: SessionStore
    let clock = new Date()
    const now = () => clock
    const inFiveMinutes = () => new Date(clock.getTime() + 300_000)

    beforeAll(async () => {
      started = await backEnd.start()
      sessions = await openSessionStore(started.config, { now })
    }, 60_000)
    afterAll(async () => {
      await sessions?.close()
      await started?.stop()
    })

    it('answers ping', () => expect(sessions.ping()).resolves.toBeUndefined())

    it('makes ids of 32 lower-case hex digits, none twice', async () => {
      const ids = await Promise.all(
        Array.from({ length: 20 }, () => sessions.create(challenge, inFiveMinutes())),
      )
      for (const id of ids) expect(id).toMatch(/^[0-9a-f]{32}$/)
      expect(new Set(ids).size).toBe(20)
    })

    it('takes an id made beforehand, and keeps the seal of the challenge', async () => {
      const id = newSessionId()
      const sealed = { ...challenge, seal: '1.abc' }
      expect(await sessions.create(sealed, inFiveMinutes(), id)).toBe(id)
      expect(await sessions.get(id)).toMatchObject({ challenge: sealed })
      expect(await sessions.claim(id)).toEqual(sealed)
      await expect(sessions.create(challenge, inFiveMinutes(), '../x')).rejects.toThrow(RangeError)
    })

    it('goes from challenged over claimed to attested, its end unmoved', async () => {
      const expiresAt = inFiveMinutes()
      const id = await sessions.create(challenge, expiresAt)
      expect(await sessions.get(id)).toEqual({ state: 'challenged', challenge, expiresAt })
      expect(await sessions.claim(id)).toEqual(challenge)
      expect(await sessions.get(id)).toEqual({ state: 'claimed', challenge, expiresAt })
      expect(await sessions.complete(id, attestation)).toBe(true)
      expect(await sessions.get(id)).toEqual({ state: 'attested', attestation, expiresAt })
    })

    it('skips no state and repeats none', async () => {
      const id = await sessions.create(challenge, inFiveMinutes())
      expect(await sessions.complete(id, attestation)).toBe(false)
      await sessions.claim(id)
      expect(await sessions.claim(id)).toBeUndefined()
      await sessions.complete(id, attestation)
      expect(await sessions.complete(id, { ...attestation, token: 'other' })).toBe(false)
      expect(await sessions.claim(id)).toBeUndefined()
      expect(await sessions.get(id)).toMatchObject({ state: 'attested', attestation })
    })

    it('lets exactly one of 100 parallel claims win', async () => {
      const id = await sessions.create(challenge, inFiveMinutes())
      const claims = await Promise.all(Array.from({ length: 100 }, () => sessions.claim(id)))
      expect(claims.filter((claim) => claim !== undefined)).toEqual([challenge])
    })

    it('lets exactly one of 20 parallel completions win', async () => {
      const id = await sessions.create(challenge, inFiveMinutes())
      await sessions.claim(id)
      const completions = Array.from({ length: 20 }, () => sessions.complete(id, attestation))
      expect((await Promise.all(completions)).filter(Boolean)).toHaveLength(1)
    })

    it('knows nothing of a session from the moment it expires, in every state', async () => {
      const expiresAt = inFiveMinutes()
      const challenged = await sessions.create(challenge, expiresAt)
      const claimed = await sessions.create(challenge, expiresAt)
      await sessions.claim(claimed)
      const attested = await sessions.create(challenge, expiresAt)
      await sessions.claim(attested)
      await sessions.complete(attested, attestation)
      clock = expiresAt
      expect(await sessions.claim(challenged)).toBeUndefined()
      expect(await sessions.complete(claimed, attestation)).toBe(false)
      for (const id of [challenged, claimed, attested]) expect(await sessions.get(id)).toBeUndefined()
    })

    it('expires in the store too, without being read', async () => {
      if (started.config.type !== 'Redis') return
      const storage = await openStorage(started.config)
      const before = await storage.namespace('kbs_protocol_session').list()
      await sessions.create(challenge, new Date(clock.getTime() + 200))
      await vi.waitFor(
        async () => expect(await storage.namespace('kbs_protocol_session').list()).toEqual(before),
        { timeout: 5_000 },
      )
      await storage.close()
    })

    it.each(['', 'x', '0'.repeat(31), '0'.repeat(33), 'A'.repeat(32), `${'0'.repeat(31)}\n`, '../x', '*'])(
      'treats the malformed id %j as unknown',
      async (id) => {
        expect(await sessions.get(id)).toBeUndefined()
        expect(await sessions.claim(id)).toBeUndefined()
        expect(await sessions.complete(id, attestation)).toBe(false)
      },
    )

    it('does not know an id it has not made', async () => {
      const id = '0123456789abcdef'.repeat(2)
      expect(await sessions.get(id)).toBeUndefined()
      expect(await sessions.claim(id)).toBeUndefined()
      expect(await sessions.complete(id, attestation)).toBe(false)
    })

    it('does not show the ids to those who read the store', async () => {
      if (started.config.type === 'Memory') return
      const id = await sessions.create(challenge, inFiveMinutes())
      const storage = await openStorage(started.config)
      const keys = await storage.namespace('kbs_protocol_session').list()
      expect(keys.length).toBeGreaterThan(0)
      expect(keys).not.toContain(id)
      await storage.close()
    })

    it('answers a damaged record with StorageUnavailable', async () => {
      if (started.config.type === 'Memory') return
      const storage = await openStorage(started.config)
      const store = storage.namespace('kbs_protocol_session')
      const before = new Set(await store.list())
      const id = await sessions.create(challenge, inFiveMinutes())
      const key = (await store.list()).find((candidate) => !before.has(candidate)) ?? ''
      await store.set(key, new TextEncoder().encode('{"state":"challenged","challenge":7}'))
      await expect(sessions.get(id)).rejects.toThrow(StorageUnavailable)
      await expect(sessions.claim(id)).rejects.toThrow(StorageUnavailable)
      await storage.close()
    })
  })
}

describe.each(['Memory', 'LocalFs', 'LocalJson'] as const)('the limit on sessions in %s', (type) => {
  it('refuses a session too many, parallel calls included, and takes one again when one has expired', async () => {
    const started = await backEnds.find((backEnd) => backEnd.name === type)?.start()
    if (started === undefined) throw new Error(`no back end ${type}`)
    let clock = new Date()
    const sessions = await openSessionStore({ ...started.config, maxSessions: 3 }, { now: () => clock })
    const soon = new Date(clock.getTime() + 1_000)
    const results = await Promise.allSettled(
      Array.from({ length: 5 }, () => sessions.create(challenge, soon)),
    )
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(3)
    await expect(sessions.create(challenge, soon)).rejects.toThrow(SessionLimit)
    clock = soon
    const later = new Date(clock.getTime() + 1_000)
    expect(await sessions.create(challenge, later)).toMatch(/^[0-9a-f]{32}$/)
    await sessions.close()
    await started.stop()
  })
})
