import { Hono } from 'hono'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import {
  ConfigError,
  createAudit,
  createLogger,
  createMetrics,
  createServiceApp,
  healthRoutes,
  type Metrics,
  startupRefusal,
} from '../../src/index.ts'
import { configOf, httpServerConfig, recordingLogger } from '../fixtures.ts'

describe('the log', () => {
  const sink = () => {
    const lines: string[] = []
    return { lines, destination: { write: (line: string) => void lines.push(line) } }
  }

  it.each([
    [{}, undefined, 'info'],
    [{}, 'warn', 'warn'],
    [{ RUST_LOG: 'debug' }, 'warn', 'debug'],
    [{ RUST_LOG: 'hyper=warn,debug' }, undefined, 'debug'],
    [{ RUST_LOG: 'off' }, undefined, 'silent'],
    [{ RUST_LOG: 'debug', KBS_LOG: 'error' }, undefined, 'error'],
    [{ RUST_LOG: 'nonsense' }, undefined, 'info'],
  ])('has its level from %j and the configuration %s: %s', (env, level, expected) => {
    expect(createLogger({ program: 'kbs', env, ...(level === undefined ? {} : { level }) }).level).toBe(
      expected,
    )
  })

  it('redacts members that carry secrets', () => {
    const { lines, destination } = sink()
    const logger = createLogger({ program: 'kbs', env: {}, destination })
    logger.info(
      {
        token: 'ssss',
        request: { authorization: 'ssss', cookie: 'ssss' },
        evidence: { a: 'ssss' },
        kept: 'k',
      },
      'm',
    )
    expect(lines.join()).not.toContain('ssss')
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      level: 'info',
      program: 'kbs',
      kept: 'k',
      token: '[redacted]',
    })
  })

  it('writes of an error only what describes it', () => {
    const { lines, destination } = sink()
    const cause = Object.assign(new Error('inner'), { evidence: 'ssss', code: 'E1' })
    const logger = createLogger({ program: 'kbs', env: {}, destination })
    logger.error({ err: new Error('outer', { cause }), nested: [{ failure: cause }] }, 'm')
    logger.error(cause)
    expect(lines.join()).not.toContain('ssss')
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      err: { message: 'outer', cause: { message: 'inner', code: 'E1' } },
    })
  })
})

describe('the audit trail', () => {
  it('is written whatever the log level is, with nothing but its own members', () => {
    const { logger, lines } = recordingLogger('error')
    const record = {
      event: 'resource-read',
      decision: 'denied',
      requestId: 'r',
      reason: 'policy',
      token: 'ssss',
    } as const
    createAudit(logger)(record)
    expect(lines[0]).toMatchObject({
      audit: true,
      event: 'resource-read',
      decision: 'denied',
      requestId: 'r',
      reason: 'policy',
    })
    expect(lines[0]).not.toHaveProperty('token')
  })
})

describe('metrics (spec 01 §8)', () => {
  const metricsOf = (toml = ''): Metrics =>
    createMetrics({ config: configOf(toml).metrics, version: '1.2.3' })
  const scrape = async (metrics: Metrics): Promise<{ text: string; type: string | null; status: number }> => {
    const answer = await new Hono().get('/metrics', metrics.handler).request('/metrics')
    return { text: await answer.text(), type: answer.headers.get('content-type'), status: answer.status }
  }

  it('are all there under Trustee’s names, with the content type that Prometheus wants', async () => {
    const metrics = metricsOf()
    metrics.attestationSucceeded('snp')
    metrics.attestationFailed('tdx')
    metrics.attestationUnavailable('csv')
    metrics.resourceRead('a/b/c')
    metrics.resourceWritten('a/b/c')
    metrics.resourceDeleted('a/b/c')
    metrics.pluginCalled('echo-test', 0.002, false)
    metrics.pluginCalled('echo-test', 0.002, true)
    const { text, type } = await scrape(metrics)
    expect(type).toMatch(/^text\/plain; version=0\.0\.4/)
    for (const name of [
      ...['kbs_http_requests_total', 'kbs_http_active_connections', 'kbs_http_request_duration_seconds'],
      ...['kbs_http_request_size_bytes', 'kbs_http_response_size_bytes', 'kbs_resource_reads_total'],
      ...['kbs_resource_writes_total', 'kbs_resource_deletes_total', 'kbs_policy_evaluations_total'],
      ...['kbs_policy_approvals_total', 'kbs_policy_violations_total', 'kbs_policy_errors_total'],
      ...['kbs_auth_requests_total', 'kbs_auth_successes_total', 'kbs_auth_errors_total'],
      ...['kbs_attestation_requests_total', 'kbs_attestation_errors_total'],
    ]) {
      expect(text).toContain(`# TYPE ${name} `)
    }
    expect(text).toContain('kbs_build_info{version="1.2.3",git_hash="unknown",build_date="unknown"} 1')
    expect(text).toContain('kbs_attestation_successes_total{tee_type="snp"} 1')
    expect(text).toContain('kbs_attestation_failures_total{tee_type="tdx"} 1')
    expect(text).toContain('kbs_attestation_unavailable_total{tee_type="csv"} 1')
    expect(text).toContain('kbs_plugin_request_duration_seconds_count{plugin_name="echo-test"} 2')
    expect(text).toContain('kbs_plugin_errors_total{plugin_name="echo-test"} 1')
  })

  it('do not name resources unless asked, and then a bounded number', async () => {
    const quiet = metricsOf()
    quiet.resourceRead('a/b/c')
    expect((await scrape(quiet)).text).toContain('kbs_resource_reads_total{resource_path="*"} 1')
    const naming = metricsOf('[metrics]\nresource_paths = true\nmax_resource_paths = 2\n')
    for (const path of ['a/b/1', 'a/b/2', 'a/b/3', 'a/b/4', 'a/b/1']) naming.resourceRead(path)
    const { text } = await scrape(naming)
    expect(text).toContain('kbs_resource_reads_total{resource_path="a/b/1"} 2')
    expect(text).toContain('kbs_resource_reads_total{resource_path="other"} 2')
  })

  it('count requests below /kbs only, and an active one no longer than it lasts', async () => {
    const metrics = metricsOf()
    const app = createServiceApp({
      httpServer: httpServerConfig(),
      logger: recordingLogger().logger,
      metrics,
    })
    app.get('/healthz', (c) => c.body(null))
    await app.request('/healthz')
    await app.request('/kbs/v0/nothing')
    const { text } = await scrape(metrics)
    expect(text).toContain('kbs_http_requests_total 1')
    expect(text).toContain('kbs_http_active_connections 0')
    expect(text).toContain('kbs_http_responses_total{status_class="4xx"} 1')
  })

  it('can be switched off', async () => {
    expect((await scrape(metricsOf('[metrics]\nenabled = false\n'))).status).toBe(404)
  })
})

describe('health', () => {
  const { logger } = recordingLogger()

  it('is always there, and empty', async () => {
    const app = healthRoutes({ probes: { storage: () => Promise.reject(new Error('down')) }, logger })
    const answer = await app.request('/healthz')
    expect([answer.status, await answer.text()]).toEqual([200, ''])
  })

  it('is readiness when all probes succeed', async () => {
    const app = healthRoutes({ probes: { storage: async () => {}, issuer: async () => {} }, logger })
    const answer = await app.request('/readyz')
    expect(answer.status).toBe(200)
    expect(await answer.json()).toEqual({ status: 'ready', checks: { storage: 'ok', issuer: 'ok' } })
  })

  it('is 503 with the names of what fails, and not why', async () => {
    const probes = {
      storage: () => Promise.reject(new Error('password wrong')),
      issuer: () => new Promise<void>(() => {}),
      policy: async () => {},
    }
    const answer = await healthRoutes({ probes, logger, timeoutMs: 20 }).request('/readyz')
    expect(answer.status).toBe(503)
    expect(await answer.json()).toEqual({
      status: 'not ready',
      checks: { storage: 'failing', issuer: 'failing', policy: 'ok' },
    })
  })

  it('is degraded, and in service, when only something fails that informs', async () => {
    let asked = 0
    const secrets = () => Promise.reject(new Error(`down ${asked++}`))
    const app = healthRoutes({
      probes: { storage: async () => {} },
      informative: { secrets },
      logger,
      cacheMs: 0,
    })
    for (let i = 0; i < 5; i++) {
      const answer = await app.request('/readyz')
      expect(answer.status).toBe(200)
      expect(await answer.json()).toEqual({
        status: 'degraded',
        checks: { storage: 'ok', secrets: 'failing' },
      })
    }
    // it may cost money
    expect(asked).toBe(1)
    const probes = { storage: () => Promise.reject(new Error('down')) }
    const both = await healthRoutes({ probes, informative: { secrets }, logger }).request('/readyz')
    expect(both.status).toBe(503)
  })

  it('is not held up by what only informs, but at first', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    onTestFinished(() => void vi.useRealTimers())
    let answers = true
    const secrets = () => (answers ? Promise.resolve() : new Promise<void>(() => {}))
    const app = healthRoutes({ probes: {}, informative: { secrets }, logger, timeoutMs: 50 })
    const status = async () => ((await (await app.request('/readyz')).json()) as { status: string }).status
    expect(await status()).toBe('ready')
    answers = false
    vi.advanceTimersByTime(16_000)
    expect(await status()).toBe('ready')
    await expect.poll(status).toBe('degraded')
  })

  it('asks the dependencies once in a while, however often it is asked', async () => {
    let asked = 0
    const app = healthRoutes({ probes: { storage: async () => void asked++ }, logger })
    await Promise.all(Array.from({ length: 20 }, () => app.request('/readyz')))
    expect(asked).toBe(1)
  })

  it('is not readiness while draining', async () => {
    const answer = await healthRoutes({ probes: {}, logger, isDraining: () => true }).request('/readyz')
    expect(answer.status).toBe(503)
  })
})

describe('a start that is refused', () => {
  it('prints every key with its remedy', () => {
    const error = new ConfigError([
      { path: 'http_server.foo', problem: 'unknown key', remedy: 'Did you mean "fo"?' },
      { path: 'admin', problem: 'is missing', remedy: 'Add it' },
    ])
    expect(startupRefusal(error)).toBe(
      'The service does not start, because of its configuration:\n' +
        '  http_server.foo: unknown key.\n    Did you mean "fo"?\n  admin: is missing.\n    Add it.\n',
    )
    expect(startupRefusal(new TypeError('x'))).toBe('The service cannot start: TypeError: x\n')
  })
})
