import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from '../redis/redis-process.ts'

const START_TIMEOUT_MS = 20_000

/**
 * The program of a real HashiCorp Vault, in PATH or where `KBS_VAULT` says; undefined where there is none. Nobody is made
 * to have it: its licence (BUSL) is none that we ship under, its compilation takes longer than all other tests, and
 * `fake-vault.ts` stands in for it everywhere.
 */
export function vaultProgram(): string | undefined {
  const named = process.env.KBS_VAULT
  const inPath = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, 'vault'))
  return [...(named === undefined ? [] : [named]), ...inPath].find((path) => existsSync(path))
}

/** A real Vault in development mode on 127.0.0.1, over TLS: KV version 2 at `secret`, version 1 at `first`. */
export interface RealVault {
  /** `https://localhost:port` */
  readonly url: string
  /** PEM of the CA that its certificate is from. */
  readonly ca: string
  readonly rootToken: string
  /** Any request below `/v1/`, as root. @throws Error for a status that is none of success */
  administer(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, body?: object): Promise<unknown>
  stop(): Promise<void>
}

const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

export async function startVault(program: string): Promise<RealVault> {
  const folder = await mkdtemp(join(tmpdir(), 'kbs-vault-'))
  const port = await freePort()
  const rootToken = `root-${crypto.randomUUID()}`
  const flags = [
    'server',
    '-dev',
    '-dev-tls',
    '-dev-tls-san=localhost',
    '-dev-no-store-token',
    `-dev-tls-cert-dir=${folder}`,
    `-dev-listen-address=127.0.0.1:${port}`,
    `-dev-root-token-id=${rootToken}`,
  ]
  const child = spawn(program, flags, { env: { HOME: folder }, stdio: ['ignore', 'pipe', 'pipe'] })
  running.add(child)
  child.once('exit', () => running.delete(child))
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-4_000)
    })
  }
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit')
      child.kill('SIGTERM')
      await exited
    }
    await rm(folder, { recursive: true, force: true })
  }
  const url = `https://localhost:${port}`
  const ca = () => readFile(join(folder, 'vault-ca.pem'), 'utf8')
  const administer: RealVault['administer'] = async (method, path, body) =>
    call(`${url}/v1/${path}`, method, await ca(), rootToken, body)
  const deadline = performance.now() + START_TIMEOUT_MS
  while ((await administer('GET', 'sys/health').catch(() => undefined)) === undefined) {
    if (child.exitCode !== null || performance.now() > deadline) {
      await stop()
      throw new Error(`Vault did not start:\n${output}`)
    }
    await delay(100)
  }
  await administer('POST', 'sys/mounts/first', { type: 'kv', options: { version: '1' } })
  return { url, ca: await ca(), rootToken, administer, stop }
}

function call(url: string, method: string, ca: string, token: string, body?: object): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const headers = { 'x-vault-token': token, 'content-type': 'application/json' }
    const sent = request(url, { method, ca, headers }, (answer) => {
      let text = ''
      answer.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      answer.once('end', () => {
        const status = answer.statusCode ?? 0
        if (status >= 300) reject(new Error(`${method} ${new URL(url).pathname}: ${status} ${text}`))
        else resolve(text === '' ? {} : JSON.parse(text))
      })
    })
    sent.once('error', reject).end(body === undefined ? undefined : JSON.stringify(body))
  })
}
