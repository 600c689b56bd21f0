import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { createGuest, sampleAttester } from '@passport-kbs/guest-client'
import { describe, expect, it, onTestFinished } from 'vitest'
import { expectProblem } from '../../kbs-attest/test/problem.ts'

const main = join(import.meta.dirname, '../src/main.ts')
const allowAll = 'package policy\n\nallow if data.plugin == "resource"\n'

interface Program {
  readonly url: string
  readonly process: ChildProcess
  readonly ended: Promise<number | null>
  log(): string
}

/** Starts the program as an operator does, with files in `folder`; `limit` is put before it in the shell. */
async function start(folder: string, { limit = '', more = '' } = {}): Promise<Program> {
  const file = join(folder, 'kbs.toml')
  await writeFile(file, configuration(join(folder, 'storage'), more))
  const command = `${limit} exec "${process.execPath}" "${main}" -c "${file}"`
  const env = { PATH: process.env.PATH, KBS_PROFILE: 'development' }
  const child = spawn('bash', ['-c', command], { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
  onTestFinished(async () => {
    child.kill('SIGKILL')
    await ended
  })
  const lines: string[] = []
  child.stderr.on('data', (chunk) => lines.push(String(chunk)))
  const url = await new Promise<string>((resolve, reject) => {
    ended.then((code) => reject(new Error(`ended with ${code}: ${lines.join('\n')}`)))
    createInterface(child.stdout).on('line', (line) => {
      lines.push(line)
      const { listening } = JSON.parse(line) as { listening?: string[] }
      if (listening) resolve(listening[0] ?? '')
    })
  })
  return { url, process: child, ended, log: () => lines.join('\n') }
}

function configuration(dirPath: string, more: string): string {
  return `
[http_server]
insecure_http = true
sockets = ["127.0.0.1:0"]

[admin]
authorization_mode = "InsecureAllowAll"

[storage_backend]
storage_type = "LocalFs"

[storage_backend.backends.local_fs]
dir_path = "${dirPath}"

[[plugins]]
name = "resource"
storage_backend_type = "KvStorage"
${more}`
}

const temporaryFolder = () => mkdtemp(join(tmpdir(), 'kbs-program-'))

function post(url: string, path: string, body: string | Uint8Array<ArrayBuffer>): Promise<Response> {
  return fetch(`${url}/kbs/v0/${path}`, { method: 'POST', body })
}

function setResourcePolicy(url: string): Promise<Response> {
  const policy = Buffer.from(allowAll).toString('base64url')
  return post(url, 'resource-policy', JSON.stringify({ policy }))
}

async function read(url: string, path: string): Promise<Buffer> {
  const guest = createGuest({ kbsUrl: url, attester: sampleAttester(), attempts: 1 })
  return Buffer.from(await guest.getResource(path))
}

describe('the program kbs', () => {
  it('serves what an operator has put into its LocalFs folder, and ends when it is told to', async () => {
    const folder = await temporaryFolder()
    await mkdir(join(folder, 'storage', 'repository'), { recursive: true })
    await writeFile(join(folder, 'storage', 'repository', 'one\\x2Ftwo\\x2Fthree'), 'put there')
    const program = await start(folder)
    expect((await setResourcePolicy(program.url)).status).toBe(200)
    expect((await read(program.url, 'one/two/three')).toString()).toBe('put there')
    program.process.kill('SIGTERM')
    expect(await program.ended).toBe(0)
    expect(await readFile(join(folder, 'storage', 'kbs', 'resource-policy.rego'), 'utf8')).toBe(allowAll)
  })

  it('answers 503 when the disk takes no more, keeps what was there, and goes on', async () => {
    const folder = await temporaryFolder()
    // no file may grow over 64 blocks of 1 KiB
    const { url, log } = await start(folder, { limit: 'ulimit -f 64;' })
    expect((await setResourcePolicy(url)).status).toBe(200)
    expect((await post(url, 'resource/a/b/c', 'the old value')).status).toBe(200)

    const large = new Uint8Array(200 * 1024).fill(0x41)
    const answer = await post(url, 'resource/a/b/c', large)
    expect(answer.headers.get('retry-after')).toBe('5')
    await expectProblem(answer, 503, 'ServiceUnavailable')
    const policy = Buffer.from(`${allowAll}${`# ${'more'.repeat(100)}\n`.repeat(300)}`).toString('base64url')
    const refused = await post(url, 'resource-policy', JSON.stringify({ policy }))
    await expectProblem(refused, 503, 'ServiceUnavailable')

    expect((await read(url, 'a/b/c')).toString()).toBe('the old value')
    expect((await post(url, 'resource/a/b/c', 'the new value')).status).toBe(200)
    expect((await read(url, 'a/b/c')).toString()).toBe('the new value')
    expect(await readdir(join(folder, 'storage', 'repository'))).toEqual(['a\\x2Fb\\x2Fc'])
    const failed = { audit: true, event: 'resource-write', decision: 'failed', resourcePath: 'a/b/c' }
    const records = log()
      .split('\n')
      .flatMap((line) => (line.startsWith('{') ? [JSON.parse(line)] : []))
    expect(records).toContainEqual(expect.objectContaining(failed))
  })

  it('does not start on a configuration that it does not understand, and says why with status 78', async () => {
    const starting = start(await temporaryFolder(), { more: '\n[[plugins]]\nname = "gameboy"\n' })
    await expect(starting).rejects.toThrow(/^ended with 78: .*plugins/s)
  })
})
