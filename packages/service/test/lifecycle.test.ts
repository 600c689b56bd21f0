import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { startService } from '../src/start-service.ts'
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
