import { createGuest, type Fetch, getResourceWithPassport, sampleAttester } from '@passport-kbs/guest-client'
import { openWithTeeKey, parseJson, parseJweResponse } from '@passport-kbs/protocol'
import { describe, expect, it } from 'vitest'
import { expectProblem } from '../../kbs-attest/test/problem.ts'
import type { Halves } from '../src/app.ts'
import { secret, serve } from './fixtures.ts'

const path = '/kbs/v0/resource/a/b/c'

/** A guest that attests, and the cookie and token that it has got. */
async function attested(url: string) {
  let cookie = ''
  const watching: Fetch = async (...request) => {
    const answer = await fetch(...(request as Parameters<typeof fetch>))
    cookie = answer.headers.get('set-cookie')?.split(';')[0] ?? cookie
    return answer
  }
  const guest = createGuest({ kbsUrl: url, attester: sampleAttester(), attempts: 1, fetch: watching })
  const { token, teeKey } = await guest.attestOnce()
  const read = async (answer: Response) => {
    expect(answer.status).toBe(200)
    return Buffer.from(openWithTeeKey(teeKey, parseJweResponse(parseJson(await answer.text())))).toString()
  }
  return { guest, cookie, token, teeKey, read, bearer: { authorization: `Bearer ${token}` } }
}

/** KBS1 as if it were `minutes` ago, so that what it mints may have expired although its sessions have not. */
const minutesAgo =
  (minutes: number) =>
  ({ attest, resource }: Halves): Halves => ({
    attest: { ...attest, now: () => new Date(Date.now() - minutes * 60_000), sessionLifetimeMs: 3_600_000 },
    resource,
  })

describe('background check: both halves behind one address (spec 01 §2.1)', () => {
  it('a guest that knows one address attests and reads its secret in its session', async () => {
    const { url } = await serve()
    const guest = createGuest({ kbsUrl: url, attester: sampleAttester(), attempts: 1 })
    expect(Buffer.from(await guest.getResource('a/b/c')).toString()).toBe(secret)
  })

  it('the same token is a passport at the same address', async () => {
    const { url } = await serve()
    const { token, teeKey } = await attested(url)
    const bytes = await getResourceWithPassport({ kbsUrl: url, token, teeKey, path: 'a/b/c' })
    expect(Buffer.from(bytes).toString()).toBe(secret)
  })

  it('serves the routes, keys, health and metrics of both', async () => {
    const { ask } = await serve()
    expect(await (await ask('/readyz')).json()).toEqual({
      status: 'ready',
      checks: {
        admin: 'ok',
        attestation: 'ok',
        sessions: 'ok',
        passports: 'ok',
        storage: 'ok',
        secrets: 'ok',
      },
    })
    expect((await ask('/.well-known/jwks.json')).status).toBe(200)
    expect(await (await ask('/kbs/v0/resource-policy')).json()).toEqual(['resource-policy'])
    const metrics = await (await ask('/metrics')).text()
    expect(metrics).toContain('kbs_auth_requests_total 0')
    expect(metrics).toContain('kbs_policy_evaluations_total 0')
    await expectProblem(await ask('/kbs/v0/nothing'), 404, 'PluginNotFound')
    await expectProblem(await ask('/kbs/v0'), 404, 'NotFound')
    expect((await ask(path, { method: 'PATCH' })).status).toBe(405)
  })
})

describe('where the token comes from (spec 01 §4.1)', () => {
  it('the attested session comes first, even if a Bearer token is there', async () => {
    const { url, ask, audits } = await serve()
    const first = await attested(url)
    const second = await attested(url)
    const answer = await ask(path, { headers: { cookie: first.cookie, ...second.bearer } })
    expect(await first.read(answer)).toBe(secret)
    expect(audits().at(-1)?.jti).toBe(audits()[0]?.jti)
  })

  it.each([
    ['unknown', `kbs-session-id=${'0'.repeat(32)}`],
    ['malformed', 'kbs-session-id=../../etc/passwd'],
    ['of something else', 'session=1'],
  ])('a session that is %s falls back to the Bearer token', async (_, cookie) => {
    const { url, ask } = await serve()
    const { read, bearer } = await attested(url)
    expect(await read(await ask(path, { headers: { cookie, ...bearer } }))).toBe(secret)
    await expectProblem(await ask(path, { headers: { cookie } }), 401, 'TokenNotFound')
  })

  it('a session that is not attested yet falls back to the Bearer token', async () => {
    const { url, ask } = await serve()
    const body = '{"version":"0.4.0","tee":"sample","extra-params":""}'
    const auth = await ask('/kbs/v0/auth', { method: 'POST', body })
    const cookie = auth.headers.get('set-cookie')?.split(';')[0] ?? ''
    await expectProblem(await ask(path, { headers: { cookie } }), 401, 'TokenNotFound')
    const { read, bearer } = await attested(url)
    expect(await read(await ask(path, { headers: { cookie, ...bearer } }))).toBe(secret)
  })

  it('a session whose token has expired is 401, so that the guest attests again', async () => {
    const { url, ask } = await serve(minutesAgo(30))
    const { cookie } = await attested(url)
    await expectProblem(await ask(path, { headers: { cookie } }), 401, 'TokenVerifierError')
  })

  it('a session whose token has expired does not mask a fresh Bearer token', async () => {
    let minutes = 30
    const { url, ask } = await serve(({ attest, resource }) => ({
      attest: { ...attest, now: () => new Date(Date.now() - minutes * 60_000), sessionLifetimeMs: 3_600_000 },
      resource,
    }))
    const old = await attested(url)
    minutes = 0
    const fresh = await attested(url)
    const answer = await ask(path, { headers: { cookie: old.cookie, ...fresh.bearer } })
    expect(await fresh.read(answer)).toBe(secret)
  })

  it('a session token is verified like any other: nothing is believed because it is stored', async () => {
    const { url, ask } = await serve(({ attest, resource }) => ({
      attest,
      resource: { ...resource, sessionPassport: async () => 'eyJhbGciOiJub25lIn0.e30.' },
    }))
    const { cookie } = await attested(url)
    await expectProblem(await ask(path, { headers: { cookie } }), 401, 'TokenVerifierError')
  })

  it('a session id is no use to anybody without the TEE key', async () => {
    const { url, ask } = await serve()
    const { cookie } = await attested(url)
    const thief = await attested(url)
    const answer = await ask(path, { headers: { cookie } })
    await expect(thief.read(answer)).rejects.toThrow()
  })
})

describe('the log of a whole flow', () => {
  it('has no session id, token, nonce or secret', async () => {
    const { url, ask, log } = await serve()
    const { guest, cookie, token, bearer } = await attested(url)
    await guest.getResource('a/b/c')
    await ask(path, { headers: { cookie, ...bearer } })
    const [, payload = '', signature = ''] = token.split('.')
    for (const text of [cookie.split('=')[1] ?? '', token, payload, signature, secret])
      expect(log()).not.toContain(text)
  })
})
