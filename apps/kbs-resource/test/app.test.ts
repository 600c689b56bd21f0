import { connect } from 'node:net'
import { presets } from '@passport-kbs/policy'
import { describe, expect, it, vi } from 'vitest'
import { listen, type Sent, send } from '../../kbs-attest/test/listener.ts'
import { expectProblem } from '../../kbs-attest/test/problem.ts'
import { affirmingClaims, opened, openTestKbs, passport, utf8 } from './fixtures.ts'

/** KBS2 behind a real listener, with the secret `a/b/c` and files beside it that nobody may reach. */
async function serve(options: Parameters<typeof openTestKbs>[0] = {}) {
  const kbs = await openTestKbs({ policy: presets.allowAll, ...options })
  await kbs.storage.namespace('repository').set('a/b/c', utf8('secret'))
  const { url } = await listen({ app: kbs.app, httpServer: kbs.config.httpServer, logger: kbs.deps.logger })
  return { kbs, url, ask: (target: string, sent?: Sent) => send(url, target, sent) }
}

describe('what KBS2 serves (spec 01 §1.2)', () => {
  it.each(['auth', 'attest', 'attestation-policy', 'reference-value', 'sample', 'external/x', ''])(
    'not /kbs/v0/%s: 404',
    async (name) => {
      const { ask } = await serve()
      for (const method of ['GET', 'POST', 'PUT', 'DELETE']) {
        const answer = await ask(`/kbs/v0/${name}`, { method })
        const plugin = name.split('/')[0]
        await expectProblem(answer, 404, 'PluginNotFound', `Plugin ${plugin} not found`)
      }
    },
  )

  it.each([
    '/',
    '/kbs/v0',
    '/kbs/v1/resource/a/b/c',
    '/.well-known/jwks.json',
    '/kbs/v0/../v0/resource/a/b/c/%2e',
  ])('not %s: 404 or a refusal with an error body', async (target) => {
    const { ask } = await serve()
    const answer = await ask(target, { headers: await passport() })
    expect(answer.status).toBe(404)
    expect(await answer.json()).toHaveProperty('detail')
  })

  it('not resources, where no resource plugin is configured', async () => {
    const { ask } = await serve({ deps: { secrets: undefined } })
    const answer = await ask('/kbs/v0/resource/a/b/c', { headers: await passport() })
    await expectProblem(answer, 404, 'PluginNotFound', 'Plugin resource not found')
    expect((await ask('/kbs/v0/resource-policy')).status).toBe(200)
  })

  it.each(['HEAD', 'OPTIONS', 'PATCH'])('%s is 405 with what is allowed', async (method) => {
    const { ask } = await serve()
    const answer = await ask('/kbs/v0/resource/a/b/c', { method, headers: await passport() })
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'GET, POST, PUT, DELETE'])
    expect(await answer.text()).toBe('')
  })

  it('healthz, and readyz while it has keys and a store', async () => {
    const { ask } = await serve()
    expect((await ask('/healthz')).status).toBe(200)
    expect(await (await ask('/readyz')).json()).toEqual({
      status: 'ready',
      checks: { admin: 'ok', passports: 'ok', storage: 'ok', secrets: 'ok' },
    })
  })

  it('is not ready while it has no keys of its issuer', async () => {
    const sources = ['https://127.0.0.1:1/jwks.json']
    const { ask } = await serve({ attestationToken: { trusted_jwk_sets: sources } })
    expect((await ask('/readyz')).status).toBe(503)
  })
})

describe('a target that wants to climb (spec 01 §1.1, §5.1)', () => {
  it.each([
    '/kbs/v0/resource/../resource/a/b/c',
    '/kbs/v0/./resource/a/b/c',
    '/kbs/v0//resource/a/b/c',
    '/kbs/v0/%2e%2e/resource/a/b/c',
    '/kbs/v0/resource%00/a/b/c',
    '/kbs/v0/resource/a/b/c%00',
    '/kbs/v0/resource/a/b/c%00.txt',
    '/kbs/v0/resource/a/b/%c0%ae%c0%ae',
    '/kbs/v0/resource/a/b/%',
    '/kbs/v0/resource/../../kbs/resource-policy.rego',
    '/kbs/v0/resource/..%2F..%2Fkbs%2Fresource-policy.rego',
    '/kbs/v0/resource/%2e%2e/kbs/resource-policy.rego',
    '/kbs/v0/resource/a/../b/c',
    '/kbs/v0/resource/a/b/../c',
    '/kbs/v0/resource/a/b/..',
    '/kbs/v0/resource/a/b/.c',
    '/kbs/v0/resource//a/b/c',
    '/kbs/v0/resource/a//b/c',
    '/kbs/v0/resource/a/b/c/',
    '/kbs/v0/resource/a/b/c/d',
    '/kbs/v0/resource/a/b',
    '/kbs/v0/resource/a/b/c;x',
    '/kbs/v0/resource/a/b/%5c..%5cc',
    '/kbs/v0/resource/a/b/%252e%252e',
  ])('%s gives nothing, writes nothing and deletes nothing', async (target) => {
    const { kbs, ask } = await serve()
    for (const method of ['GET', 'POST', 'DELETE']) {
      const answer = await ask(target, {
        method,
        headers: await passport(),
        ...(method === 'POST' ? { body: 'x' } : {}),
      })
      expect([400, 404]).toContain(answer.status)
      expect(await answer.json()).toHaveProperty('detail')
    }
    expect(await kbs.storage.namespace('repository').list()).toEqual(['a/b/c'])
    expect(await kbs.storage.namespace('kbs').list()).toEqual(['resource-policy.rego'])
  })

  it.each(['/kbs/v0/resource/a/b/c#d', '/kbs/v0/%72esource/%61/b/c', '/kbs/v0/resource%2Fa%2Fb%2Fc?x'])(
    '%s is the resource a/b/c, for the policy too',
    async (target) => {
      const policy = 'package policy\n\nallow if data["resource-path"] == ["a", "b", "c"]\n'
      const { ask } = await serve({ policy })
      expect(await opened(await ask(target, { headers: await passport() }))).toEqual(utf8('secret'))
    },
  )
})

describe('requests that are too large (spec 01 §1.1, §0.9)', () => {
  it('a passport of 120 KiB is taken', async () => {
    const { ask } = await serve()
    const claims = { ...affirmingClaims(), device: 'x'.repeat(87 * 1024) }
    const headers = await passport({ claims })
    expect(headers.authorization.length).toBeGreaterThan(116 * 1024)
    expect(await opened(await ask('/kbs/v0/resource/a/b/c', { headers }))).toEqual(utf8('secret'))
  })

  it('headers above 128 KiB are 431 with an error body', async () => {
    const { ask } = await serve()
    const headers = { authorization: `Bearer ${'a'.repeat(129 * 1024)}` }
    await expectProblem(await ask('/kbs/v0/resource/a/b/c', { headers }), 431, 'HeaderTooLarge')
  })

  it('two Authorization headers are 400, since nobody knows which one counts', async () => {
    const { ask } = await serve()
    const [{ authorization }] = [await passport()]
    const headers = { authorization: [authorization, 'Bearer x'] } as unknown as Record<string, string>
    await expectProblem(await ask('/kbs/v0/resource/a/b/c', { headers }), 400, 'MalformedRequest')
  })

  it('a resource above 2 MiB is 413 before anyone is authenticated, and the old one stays', async () => {
    const { ask } = await serve({ admin: { authorization_mode: 'DenyAll' } })
    const body = new Uint8Array(2 * 1_048_576 + 1)
    const answer = await ask('/kbs/v0/resource/a/b/c', { method: 'POST', body })
    await expectProblem(answer, 413, 'PayloadTooLarge', 'payload reached size limit')
    expect(await opened(await ask('/kbs/v0/resource/a/b/c', { headers: await passport() }))).toEqual(
      utf8('secret'),
    )
  })

  it('a resource that stops halfway is 408 and nothing is written', async () => {
    const { ask } = await serve({ httpServer: { request_timeout_ms: 600, header_timeout_ms: 300 } })
    const headers = { 'content-length': '100' }
    const answer = await ask('/kbs/v0/resource/a/b/c', { method: 'POST', headers, stall: true })
    expect(answer.status).toBe(408)
    expect(await opened(await ask('/kbs/v0/resource/a/b/c', { headers: await passport() }))).toEqual(
      utf8('secret'),
    )
  })

  it('a client that goes away halfway is no fault of the server, and nothing is written', async () => {
    const { kbs, url } = await serve()
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    socket.on('error', () => {})
    const head = 'POST /kbs/v0/resource/a/b/c HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n'
    socket.write(`${head}half`, () => setTimeout(() => socket.resetAndDestroy(), 50))
    await vi.waitFor(() => expect(kbs.log()).toContain('The body was not received completely'))
    expect(kbs.log()).not.toContain('"level":"error"')
    expect(kbs.audits().map(({ decision }) => decision)).toEqual(['denied'])
    const value = await kbs.storage.namespace('repository').get('a/b/c')
    expect(value).toEqual(utf8('secret'))
  })
})
