import { problems } from '@passport-kbs/protocol'
import { StorageUnavailable } from '@passport-kbs/storage'
import type { Hono } from 'hono'
import { describe, expect, it } from 'vitest'
import { clientNetwork } from '../../src/http/rate-limit.ts'
import { TokenBuckets } from '../../src/http/token-buckets.ts'
import {
  createProxyTrust,
  createServiceApp,
  kbsRateLimits,
  rateLimit,
  type ServiceEnv,
} from '../../src/index.ts'
import { configOf, httpServerConfig, recordingLogger } from '../fixtures.ts'

const typePrefix = 'https://github.com/confidential-containers/kbs/errors/'

function serviceApp(
  toml = '',
  level = 'debug',
): { app: Hono<ServiceEnv>; log: ReturnType<typeof recordingLogger> } {
  const log = recordingLogger(level)
  return { app: createServiceApp({ httpServer: httpServerConfig(toml), logger: log.logger }), log }
}

/** What a socket of this client looks like to the middleware. */
const from = (remoteAddress: string) =>
  ({ incoming: { socket: { remoteAddress } } }) as unknown as ServiceEnv['Bindings']

describe('errors', () => {
  const cases: [string, unknown, number, string][] = [
    ['a problem', problems.policyDenied(403), 403, 'PolicyDeny'],
    [
      'a store that is down',
      new StorageUnavailable('redis://secret@host is down'),
      503,
      'ServiceUnavailable',
    ],
    ['anything else', new TypeError('x of secret undefined'), 500, 'InternalError'],
  ]

  it.each(cases)(
    'for %s becomes a JSON body with the request id, and never the cause',
    async (_, error, status, type) => {
      const { app, log } = serviceApp()
      app.get('/fails', () => {
        throw error
      })
      const answer = await app.request('/fails')
      expect(answer.status).toBe(status)
      expect(answer.headers.get('content-type')).toBe('application/json')
      expect(answer.headers.get('cache-control')).toBe('no-store')
      const text = await answer.text()
      expect(text).not.toContain('secret')
      const body = JSON.parse(text) as Record<string, string>
      expect(body.type).toBe(typePrefix + type)
      const requestId = answer.headers.get('x-request-id')
      expect(body.instance).toBe(`urn:uuid:${requestId}`)
      expect(log.lines.find((line) => line.status === status && line.problem === type)?.requestId).toBe(
        requestId,
      )
    },
  )

  it('log the cause for the operator', async () => {
    const { app, log } = serviceApp()
    app.get('/fails', () => {
      throw problems.pluginFailed(new Error('disk full'))
    })
    await app.request('/fails')
    expect(log.lines.find((line) => line.level === 'error')).toMatchObject({
      problem: 'PluginInternalError',
      err: { message: 'disk full' },
    })
  })

  it('say when to come back', async () => {
    const { app } = serviceApp()
    app.get('/fails', () => {
      throw problems.serviceUnavailable(undefined, 3)
    })
    expect((await app.request('/fails')).headers.get('retry-after')).toBe('3')
  })

  it('are JSON for unknown paths too', async () => {
    const answer = await serviceApp().app.request('/nowhere')
    expect(answer.status).toBe(404)
    expect(await answer.json()).toMatchObject({ type: `${typePrefix}NotFound` })
  })
})

describe('the request id', () => {
  const offered = '0e8f2d5c-1c1a-4c6e-9a61-0c8f0f2c9b11'

  it('is new for every request, whatever a client says', async () => {
    const { app } = serviceApp()
    const answer = await app.request('/', { headers: { 'x-request-id': offered } }, from('192.0.2.1'))
    expect(answer.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/)
    expect(answer.headers.get('x-request-id')).not.toBe(offered)
  })

  it('is kept when it is a UUID from a trusted proxy', async () => {
    const { app } = serviceApp('trusted_proxies = ["192.0.2.0/24"]')
    const ask = async (id: string) =>
      (await app.request('/', { headers: { 'x-request-id': id } }, from('192.0.2.1'))).headers.get(
        'x-request-id',
      )
    expect(await ask(offered)).toBe(offered)
    expect(await ask('../../etc/passwd')).not.toContain('passwd')
  })
})

describe('the client address', () => {
  const trust = createProxyTrust(['10.0.0.0/8', '::1'])
  it.each([
    ['192.0.2.1', '203.0.113.5', '192.0.2.1'],
    ['10.0.0.1', '203.0.113.5', '203.0.113.5'],
    ['10.0.0.1', 'forged, 203.0.113.5, 10.1.1.1', '203.0.113.5'],
    ['::ffff:10.0.0.1', '[2001:db8::1]:443', '2001:db8::1'],
    ['::1', '203.0.113.5:1234', '203.0.113.5'],
    ['10.0.0.1', 'not an address', '10.0.0.1'],
    ['10.0.0.1', undefined, '10.0.0.1'],
    [undefined, '203.0.113.5', 'unknown'],
  ])('for a connection of %s with X-Forwarded-For %s is %s', (connection, forwarded, client) => {
    expect(trust.clientAddress(connection, forwarded)).toBe(client)
  })
})

describe('the access log', () => {
  it('has one line with route, plugin, status and duration', async () => {
    const { app, log } = serviceApp('', 'info')
    app.get('/kbs/v0/*', (c) => {
      c.set('plugin', 'resource')
      c.set('resourcePath', 'a/b/c')
      return c.text('hello')
    })
    await app.request(
      '/kbs/v0/resource/a/b/c?secret=1',
      { headers: { 'user-agent': 'kbs-client/0.1.0' } },
      from('192.0.2.1'),
    )
    expect(log.lines).toHaveLength(1)
    expect(log.lines[0]).toMatchObject({
      msg: 'request',
      method: 'GET',
      route: '/kbs/v0/*',
      plugin: 'resource',
      status: 200,
      clientAddress: '192.0.2.1',
      userAgent: 'kbs-client/0.1.0',
    })
    expect(log.lines[0]?.durationMs).toBeGreaterThan(0)
  })

  it('never has tokens, cookies, queries or bodies, and names of resources at debug level only', async () => {
    const ask = async (level: string) => {
      const { app, log } = serviceApp('', level)
      app.post('/kbs/v0/*', (c) => {
        c.set('resourcePath', 'team/db/password')
        return c.text('hello')
      })
      const headers = { authorization: 'Bearer tttt', cookie: 'kbs-session-id=ssss' }
      await app.request('/kbs/v0/resource/team/db/password?q=qqqq', { method: 'POST', headers, body: 'bbbb' })
      return log.text()
    }
    const info = await ask('info')
    const debug = await ask('debug')
    for (const secret of ['tttt', 'ssss', 'qqqq', 'bbbb']) expect(info + debug).not.toContain(secret)
    expect(info).not.toContain('password')
    expect(debug).toContain('team/db/password')
  })
})

describe('security headers', () => {
  it('are on every answer, errors included', async () => {
    const { app } = serviceApp()
    app.get('/fine', (c) => c.text('fine'))
    for (const path of ['/fine', '/missing']) {
      const { headers } = await app.request(path)
      expect(headers.get('x-content-type-options')).toBe('nosniff')
      expect(headers.get('content-security-policy')).toBe("default-src 'none'; frame-ancestors 'none'")
      expect(headers.get('cache-control')).toBe('no-store')
      expect(headers.get('strict-transport-security')).toBeNull()
    }
  })

  it('leave a cache lifetime that the route has chosen', async () => {
    const { app } = serviceApp()
    app.get('/jwks', (c) => c.json({}, 200, { 'cache-control': 'public, max-age=300' }))
    expect((await app.request('/jwks')).headers.get('cache-control')).toBe('public, max-age=300')
  })
})

describe('the rate limit', () => {
  it('lets a client burst, then makes it wait, with 429 and Retry-After', async () => {
    let clock = 0
    const { app } = serviceApp()
    app.use(rateLimit({ perSecond: 0.5, burst: 2, maxClients: 10, now: () => clock }))
    app.get('/', (c) => c.text('ok'))
    const ask = (address: string) => app.request('/', {}, from(address))
    expect((await ask('192.0.2.1')).status).toBe(200)
    expect((await ask('192.0.2.1')).status).toBe(200)
    const refused = await ask('192.0.2.1')
    expect(refused.status).toBe(429)
    expect(refused.headers.get('retry-after')).toBe('2')
    expect(await refused.json()).toMatchObject({ type: `${typePrefix}TooManyRequests` })
    expect((await ask('192.0.2.2')).status).toBe(200)
    clock += 2_000
    expect((await ask('192.0.2.1')).status).toBe(200)
  })

  it('counts an IPv6 client as its /64', () => {
    expect(clientNetwork('2001:db8:1:2:3:4:5:6')).toBe('2001:db8:1:2::/64')
    expect(clientNetwork('2001:db8:1:2::1')).toBe('2001:db8:1:2::/64')
    expect(clientNetwork('2001:DB8::1')).toBe('2001:db8:0:0::/64')
    expect(clientNetwork('fe80::1%eth0')).toBe('fe80:0:0:0::/64')
    expect(clientNetwork('192.0.2.1')).toBe('192.0.2.1')
  })

  it('remembers a bounded number of clients', () => {
    const buckets = new TokenBuckets({ perSecond: 1, burst: 1, maxClients: 100 })
    for (let client = 0; client < 1_000; client++) buckets.take(String(client), 0)
    expect(buckets.size).toBe(100)
    expect(buckets.take('999', 0).allowed).toBe(false)
  })

  it('of a verb cannot be passed by encoding the verb', async () => {
    const { app } = serviceApp()
    const { rateLimits } = configOf('[http_server.rate_limits.auth]\nper_second = 1\nburst = 1\n').httpServer
    app.use(
      '/kbs/v0/*',
      kbsRateLimits(rateLimits, () => 0),
    )
    app.all('/kbs/v0/*', (c) => c.text('ok'))
    const ask = async (path: string) =>
      (await app.request(path, { method: 'POST' }, from('192.0.2.1'))).status
    expect(await ask('/kbs/v0/auth')).toBe(200)
    expect(await ask('/kbs/v0/auth')).toBe(429)
    expect(await ask('/kbs/v0/%61uth')).toBe(429)
    expect(await ask('/kbs/v0/attest')).toBe(200)
  })

  it('is installed by the service app', async () => {
    const { app } = serviceApp('[http_server.rate_limits.admin]\nper_second = 1\nburst = 1\n')
    app.all('/kbs/v0/*', (c) => c.text('ok'))
    const ask = async (method: string) =>
      (await app.request('/kbs/v0/resource/a/b/c', { method }, from('192.0.2.1'))).status
    expect([await ask('POST'), await ask('DELETE'), await ask('GET')]).toEqual([200, 429, 200])
  })
})

describe('the concurrency limit', () => {
  it('answers 503 at once beyond the limit, and lets probes pass', async () => {
    const { app } = serviceApp('max_concurrent_requests = 1')
    let release = () => {}
    app.get('/slow', async (c) => {
      await new Promise<void>((resolve) => {
        release = resolve
      })
      return c.text('done')
    })
    app.get('/healthz', (c) => c.body(null))
    const first = app.request('/slow')
    await new Promise((resolve) => setTimeout(resolve, 10))
    const second = await app.request('/slow')
    expect(second.status).toBe(503)
    expect(second.headers.get('retry-after')).toBe('1')
    expect((await app.request('/healthz')).status).toBe(200)
    release()
    expect((await first).status).toBe(200)
    const third = app.request('/slow')
    await new Promise((resolve) => setTimeout(resolve, 10))
    release()
    expect((await third).status).toBe(200)
  })
})
