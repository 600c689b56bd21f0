import type { Verifier } from '@passport-kbs/tee-evidence'
import { describe, expect, it } from 'vitest'
import { attestation, authBody, authenticate, openTestKbs, text } from './fixtures.ts'
import { listen, type Sent, send } from './listener.ts'
import { expectProblem } from './problem.ts'

/** KBS1 behind a real listener. */
async function serve(options: Parameters<typeof openTestKbs>[0] = {}) {
  const kbs = await openTestKbs(options)
  const { url } = await listen({ app: kbs.app, httpServer: kbs.config.httpServer, logger: kbs.deps.logger })
  return { kbs, ask: (target: string, sent?: Sent) => send(url, target, sent) }
}

describe('what KBS1 serves (spec 01 §1.2)', () => {
  it.each([
    ['GET', '/kbs/v0/resource/a/b/c', 'resource'],
    ['POST', '/kbs/v0/resource/a/b/c', 'resource'],
    ['DELETE', '/kbs/v0/resource/a/b/c', 'resource'],
    ['GET', '/kbs/v0/resource-policy', 'resource-policy'],
    ['POST', '/kbs/v0/resource-policy', 'resource-policy'],
    ['GET', '/kbs/v0/auth', 'auth'],
    ['PUT', '/kbs/v0/attest', 'attest'],
    ['DELETE', '/kbs/v0/reference-value/a', 'reference-value'],
    ['GET', '/kbs/v0/attestation-policy', 'attestation-policy'],
    ['GET', '/kbs/v0/', ''],
    ['GET', '/kbs/v0//auth', ''],
    ['POST', '/kbs/v0/../auth', '..'],
    ['POST', '/kbs/v0/AUTH', 'AUTH'],
  ])('%s %s is no such plugin: 404', async (method, target, name) => {
    const { ask } = await serve()
    await expectProblem(await ask(target, { method }), 404, 'PluginNotFound', `Plugin ${name} not found`)
  })

  it.each(['/', '/kbs/v0', '/kbs', '/kbs/v1/auth', '/KBS/v0/auth', '//kbs/v0/auth', '/kbs/../kbs/v0/auth'])(
    '%s is nothing: 404',
    async (target) => {
      const { ask } = await serve()
      await expectProblem(await ask(target, { method: 'POST', body: authBody() }), 404, 'NotFound')
    },
  )

  it.each(['HEAD', 'OPTIONS', 'PATCH'])('%s is 405 with what is allowed', async (method) => {
    const { ask } = await serve()
    const answer = await ask('/kbs/v0/auth', { method })
    expect(answer.status).toBe(405)
    expect(answer.headers.get('allow')).toBe('GET, POST, PUT, DELETE')
    expect(await answer.text()).toBe('')
  })

  it('an encoded verb is the verb, since paths are decoded before they are split', async () => {
    const { ask } = await serve()
    expect((await ask('/kbs/v0/%61uth%2Fx', { method: 'POST', body: authBody() })).status).toBe(200)
  })

  it.each(['/kbs/v0/auth%00', '/kbs/v0/auth/%ff', '/kbs/v0/auth/%', '/kbs/v0/auth?a=%00&%00=b'])(
    '%s is malformed: 400',
    async (target) => {
      const { ask } = await serve()
      const answer = await ask(target, { method: 'POST', body: authBody() })
      await expectProblem(answer, 400, 'MalformedRequest')
    },
  )

  it('healthz, readyz and metrics', async () => {
    const { ask } = await serve()
    expect((await ask('/healthz')).status).toBe(200)
    const ready = await ask('/readyz')
    expect(ready.status).toBe(200)
    expect(await ready.json()).toEqual({
      status: 'ready',
      checks: { admin: 'ok', attestation: 'ok', sessions: 'ok' },
    })
    expect((await ask('/metrics')).headers.get('content-type')).toMatch(/^text\/plain/)
  })

  it('is not ready while it has no keys of its administrators', async () => {
    const { ask } = await serve({
      admin: {
        authorization_mode: 'AuthenticatedAuthorization',
        authentication: {
          bearer_jwt: { identity_providers: [{ jwk_set_uri: 'https://127.0.0.1:1/jwks.json' }] },
        },
        authorization: { regex_acl: { acls: [{ role: 'admin', allowed_endpoints: '^/kbs/v0/.+$' }] } },
      },
    })
    const ready = await ask('/readyz')
    expect(ready.status).toBe(503)
    expect(await ready.json()).toMatchObject({ checks: { admin: 'failing', attestation: 'ok' } })
  })
})

describe('requests that are too large or too slow (spec 01 §1.1)', () => {
  it('a body above 2 MiB is 413 before anyone is authenticated', async () => {
    const { ask } = await serve()
    const body = new Uint8Array(2 * 1_048_576 + 1)
    for (const verb of ['auth', 'attest', 'attestation-policy', 'nothing']) {
      await expectProblem(await ask(`/kbs/v0/${verb}`, { method: 'POST', body }), 413, 'PayloadTooLarge')
    }
  })

  it('the same in chunks', async () => {
    const { ask } = await serve()
    const headers = { 'transfer-encoding': 'chunked', cookie: `kbs-session-id=${'0'.repeat(32)}` }
    const body = new Uint8Array(2 * 1_048_576 + 1)
    const answer = await ask('/kbs/v0/attest', { method: 'POST', body, headers })
    await expectProblem(answer, 413, 'PayloadTooLarge')
  })

  it('headers above 128 KiB are 431 with an error body', async () => {
    const { ask } = await serve()
    const headers = { 'x-large': 'a'.repeat(129 * 1024) }
    await expectProblem(await ask('/kbs/v0/auth', { method: 'POST', headers }), 431, 'HeaderTooLarge')
  })

  it('a body that does not come is 408 with an error body', async () => {
    const { ask } = await serve({ httpServer: { request_timeout_ms: 1_000, header_timeout_ms: 500 } })
    const headers = { 'content-length': '100' }
    const answer = await ask('/kbs/v0/auth', { method: 'POST', headers, stall: true })
    expect(answer.status).toBe(408)
    expect(await answer.json()).toHaveProperty('detail')
  })

  it('a compressed body is 415', async () => {
    const { ask } = await serve()
    const headers = { 'content-encoding': 'gzip' }
    expect((await ask('/kbs/v0/auth', { method: 'POST', headers, body: 'x' })).status).toBe(415)
  })

  it('more requests at once than allowed are 503 with Retry-After, and health is still answered', async () => {
    let release = () => {}
    const waiting = new Promise<never>((_, reject) => {
      release = () => reject(new Error('released'))
    })
    waiting.catch(() => {})
    const verifiers: Verifier[] = [{ tee: 'sample', checks: [], verify: () => waiting }]
    const { kbs, ask } = await serve({ verifiers, httpServer: { max_concurrent_requests: 1 } })
    const { nonce, cookie } = await authenticate(kbs)
    const body = text(attestation({ nonce }))
    const first = ask('/kbs/v0/attest', { method: 'POST', headers: { cookie }, body })
    await expect.poll(async () => (await kbs.get('/kbs/v0/auth')).status).toBe(503)

    const second = await ask('/kbs/v0/auth', { method: 'POST', body: authBody() })
    expect(second.headers.get('retry-after')).toBe('1')
    await expectProblem(second, 503, 'ServiceUnavailable')
    expect((await ask('/healthz')).status).toBe(200)
    release()
    await first
    expect((await ask('/kbs/v0/auth', { method: 'POST', body: authBody() })).status).toBe(200)
  })

  it('more requests of one client than its share are 429 with Retry-After', async () => {
    const { ask } = await serve({ httpServer: { rate_limits: { auth: { per_second: 1, burst: 2 } } } })
    const statuses = []
    for (let n = 0; n < 3; n++) {
      const answer = await ask('/kbs/v0/auth', { method: 'POST', body: authBody() })
      statuses.push([answer.status, answer.headers.get('retry-after')])
    }
    expect(statuses).toEqual([
      [200, null],
      [200, null],
      [429, '1'],
    ])
  })
})
