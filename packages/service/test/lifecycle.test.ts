import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { createServiceApp } from '../src/http/service-app.ts'
import { mountOperation } from '../src/observability/operation.ts'
import { type OpenService, type ServiceOptions, startService } from '../src/start-service.ts'
import { temporaryFile } from './tokens.ts'

const program = fileURLToPath(new URL('lifecycle-program.ts', import.meta.url))

interface Running {
  readonly child: ChildProcessWithoutNullStreams
  readonly url: string
  output(): string
  /** Resolves once the output has `text`. */
  said(text: string): Promise<void>
}

async function start(graceMs: number): Promise<Running> {
  const child = spawn(process.execPath, [program, String(graceMs)])
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  const said = (text: string) => expect.poll(() => output, { timeout: 10_000, interval: 10 }).toContain(text)
  await said('http://')
  return { child, url: output.trim(), output: () => output, said: (text) => said(text) as Promise<void> }
}

describe('a service that is told to stop', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)(
    'by %s lets requests in work finish, closes, and ends with status 0',
    async (signal) => {
      const { child, url, said, output } = await start(5_000)
      const answer = fetch(`${url}/slow`).then((response) => response.text())
      await said('asked')
      child.kill(signal)
      expect(await answer).toBe('finished')
      expect(await once(child, 'exit')).toEqual([0, null])
      expect(output()).toContain('closed')
    },
  )

  it('ends at once when told twice', async () => {
    const { child, url, said, output } = await start(60_000)
    const answer = fetch(`${url}/slow`).catch(() => 'cut')
    await said('asked')
    child.kill('SIGTERM')
    await new Promise((resolve) => setTimeout(resolve, 50))
    child.kill('SIGTERM')
    expect(await once(child, 'exit')).toEqual([1, null])
    expect(await answer).toBe('cut')
    expect(output()).not.toContain('closed')
  })
})

describe('a program that cannot start', () => {
  it.each([
    [
      "new service.ConfigError([{ path: 'a.b', problem: 'unknown key', remedy: 'Remove it' }])",
      78,
      'a.b: unknown key.\n    Remove it.',
    ],
    ["new TypeError('no')", 1, 'TypeError: no'],
  ])('because of %s ends with status %d and says so on stderr', async (error, status, text) => {
    const index = new URL('../src/index.ts', import.meta.url)
    const script = `const service = await import('${index}'); service.exitWithConfigError(${error})`
    const child = spawn(process.execPath, ['--input-type=module', '-e', script])
    let output = ''
    child.stderr.on('data', (chunk: Buffer) => {
      output += chunk.toString()
    })
    expect(await once(child, 'close')).toEqual([status, null])
    expect(output).toContain(text)
  })
})

describe('a service that starts', () => {
  const options = async (toml: string) => {
    const file = await temporaryFile('kbs.toml', toml)
    return { program: 'kbs-attest', version: '1', argv: ['-c', file], env: { KBS_LOG: 'silent' } } as const
  }

  it('listens with its app, and closes what it opened', async () => {
    let closed = false
    const service = await startService({
      ...(await options('[http_server]\ninsecure_http = true\nsockets = ["127.0.0.1:0"]\n')),
      open: async () => ({
        app: () => ({ fetch: () => new Response('hello') }),
        close: async () => {
          closed = true
        },
      }),
    })
    expect(await (await fetch(service.urls[0] ?? '')).text()).toBe('hello')
    await service.close()
    expect(closed).toBe(true)
    await expect(fetch(service.urls[0] ?? '')).rejects.toThrow()
  })

  it('closes what it opened when it cannot listen', async () => {
    let closed = false
    const start = startService({
      ...(await options(
        '[http_server]\nprivate_key = "/nowhere/key.pem"\ncertificate = "/nowhere/cert.pem"\n',
      )),
      open: async () => ({
        app: () => ({ fetch: () => new Response('hello') }),
        close: async () => {
          closed = true
        },
      }),
    })
    await expect(start).rejects.toThrow(/http_server.private_key: \/nowhere\/key.pem cannot be read/)
    expect(closed).toBe(true)
  })
})

describe('a service with sockets for metrics', () => {
  /** A program with the route `/kbs/v0/slow`, and a store that the test can break. */
  const program = (state: { storage: 'up' | 'down' }): Pick<ServiceOptions, 'open'> => ({
    open: async ({ httpServer }, { logger, metrics }): Promise<OpenService> => ({
      app: (isDraining, operation) => {
        const app = createServiceApp({ httpServer, logger, metrics })
        const probes = {
          storage: async () => {
            if (state.storage === 'down') throw new Error('down')
          },
        }
        mountOperation(app, { metrics, operation, probes, logger, isDraining, cacheMs: 0 })
        app.get('/kbs/v0/slow', async (c) => {
          await new Promise((resolve) => setTimeout(resolve, 500))
          return c.text('slow')
        })
        return app
      },
      close: async () => {},
    }),
  })
  const start = async (metrics: string, http = '', state: { storage: 'up' | 'down' } = { storage: 'up' }) => {
    const lines: string[] = []
    const file = await temporaryFile(
      'kbs.toml',
      `[http_server]\ninsecure_http = true\nsockets = ["127.0.0.1:0"]\n${http}\n[metrics]\n${metrics}\n`,
    )
    const service = await startService({
      program: 'kbs-attest',
      version: '1',
      argv: ['-c', file],
      env: {},
      ...program(state),
      logDestination: { write: (line) => void lines.push(line) },
    })
    const [guests = ''] = service.urls
    const [operators = ''] = service.metricsUrls
    return { service, guests, operators, log: () => lines.join('') }
  }
  const statuses = (url: string) =>
    Promise.all(
      ['/metrics', '/healthz', '/readyz', '/kbs/v0/nothing', '/'].map(
        async (path) => (await fetch(url + path)).status,
      ),
    )
  const own = 'sockets = ["127.0.0.1:0"]'

  it('serves metrics there only, health on both, and nothing else there', async () => {
    const { service, guests, operators, log } = await start(own)
    expect(await statuses(operators)).toEqual([200, 200, 200, 404, 404])
    expect(await statuses(guests)).toEqual([404, 200, 200, 404, 404])
    const answer = await fetch(`${operators}/metrics`)
    const text = await answer.text()
    expect(answer.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/)
    // the one of the guests' port, not those of the metrics'
    expect(text).toContain('kbs_http_requests_total 1')
    expect(log()).toContain(`"metrics":["${operators}"],"msg":"metrics listening"`)
    await service.close()
    await expect(fetch(operators)).rejects.toThrow()
  })

  it('serves metrics to guests where there are no such sockets, and to nobody when they are switched off', async () => {
    const usual = await start('')
    expect(usual.service.metricsUrls).toEqual([])
    expect(await statuses(usual.guests)).toEqual([200, 200, 200, 404, 404])
    await usual.service.close()
    const off = await start(`enabled = false\n${own}`)
    expect(await statuses(off.operators)).toEqual([404, 200, 200, 404, 404])
    expect(await statuses(off.guests)).toEqual([404, 200, 200, 404, 404])
    await off.service.close()
  })

  it('says there as well when a dependency is down', async () => {
    const state: { storage: 'up' | 'down' } = { storage: 'down' }
    const { service, operators } = await start(own, '', state)
    expect((await fetch(`${operators}/readyz`)).status).toBe(503)
    state.storage = 'up'
    await expect.poll(async () => (await fetch(`${operators}/readyz`)).status).toBe(200)
    await service.close()
  })

  it('has room there when guests have used up theirs, and the same limits', async () => {
    const { service, guests, operators } = await start(
      own,
      'max_concurrent_requests = 1\npayload_request_size = 0.001',
    )
    const slow = fetch(`${guests}/kbs/v0/slow`)
    await expect.poll(async () => (await fetch(`${guests}/kbs/v0/slow`)).status).toBe(503)
    expect((await fetch(`${operators}/metrics`)).status).toBe(200)
    expect((await slow).status).toBe(200)
    const post = { method: 'POST', body: 'a'.repeat(2_000) }
    expect((await fetch(`${operators}/metrics`, post)).status).toBe(413)
    await service.close()
  })

  it('says there that it drains, until requests in work are answered', async () => {
    const { service, guests, operators } = await start(own)
    const slow = fetch(`${guests}/kbs/v0/slow`).then((answer) => answer.text())
    await expect
      .poll(async () => (await fetch(`${operators}/metrics`)).text())
      .toContain('kbs_http_active_connections 1')
    const closed = service.close()
    const readiness = await fetch(`${operators}/readyz`)
    expect([readiness.status, await readiness.json()]).toMatchObject([503, { status: 'draining' }])
    expect(await slow).toBe('slow')
    await closed
    await expect(fetch(operators)).rejects.toThrow()
  })

  it('listens nowhere when it cannot listen there', async () => {
    const { service, guests, operators } = await start(own)
    await expect(start(`sockets = ["${new URL(guests).host}"]`)).rejects.toThrow(/EADDRINUSE/)
    const taken = `sockets = ["${new URL(operators).host}"]`
    await expect(start(taken)).rejects.toThrow(/EADDRINUSE/)
    await service.close()
  })
})
