import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { adminRefusal, problems } from '@passport-kbs/protocol'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type Broker, startBroker } from './broker.ts'
import { kbsctl } from './kbsctl.ts'
import { loopbackCertificate } from './tls-certificate.ts'

let broker: Broker
let folder: string

beforeAll(async () => {
  broker = await startBroker()
  folder = await mkdtemp(join(tmpdir(), 'kbsctl-'))
  await writeFile(join(folder, 'token'), ' admin.jwt.here \n')
  await writeFile(join(folder, 'policy.rego'), 'package policy\n')
  await writeFile(join(folder, 'secret'), Buffer.from([0, 255, 10]))
})
afterAll(async () => {
  await broker.close()
  await rm(folder, { recursive: true })
})
afterEach(() => {
  broker.received.length = 0
  broker.refuseAdmin = undefined
})

const config = (...args: string[]) =>
  kbsctl(['--url', broker.url, 'config', '--admin-token-file', 'token', ...args], { cwd: folder })

/** Spec 01 §6.3: the requests and the texts of kbs-client. */
describe('config', () => {
  it('set-attestation-policy posts the policy in base64url', async () => {
    const outcome = await config('set-attestation-policy', '--policy-file', 'policy.rego')
    expect(outcome).toEqual({
      status: 0,
      stdout: 'Set attestation policy success \n policy: cGFja2FnZSBwb2xpY3kK\n',
      stderr: '',
    })
    expect(broker.received).toMatchObject([
      {
        method: 'POST',
        path: '/kbs/v0/attestation-policy',
        authorization: 'Bearer admin.jwt.here',
        contentType: 'application/json',
        userAgent: 'kbsctl/0.1.0',
        body: '{"type":"rego","policy_id":"default_cpu","policy":"cGFja2FnZSBwb2xpY3kK"}',
      },
    ])
    await config(
      'set-attestation-policy',
      '--policy-file',
      'policy.rego',
      '--type',
      't',
      '--id',
      'default_gpu',
    )
    expect(broker.received[1]?.body).toContain('"type":"t","policy_id":"default_gpu"')
  })

  it('set-resource-policy posts a file', async () => {
    const outcome = await config('set-resource-policy', '--policy-file', 'policy.rego')
    expect(outcome.stdout).toBe('Set resource policy success \n policy: cGFja2FnZSBwb2xpY3kK\n')
    expect(broker.received[0]).toMatchObject({
      path: '/kbs/v0/resource-policy',
      body: '{"policy":"cGFja2FnZSBwb2xpY3kK"}',
    })
  })

  it.each([
    ['--allow-all', /allow/],
    ['--deny-all', /default allow := false\s*$/],
    ['--affirming', /affirming/],
    ['--default', /sample/],
  ])('set-resource-policy %s posts that very policy', async (flag, text) => {
    expect((await config('set-resource-policy', flag)).status).toBe(0)
    const { policy } = JSON.parse(broker.received[0]?.body ?? '')
    expect(Buffer.from(policy, 'base64url').toString()).toMatch(text)
  })

  it('set-resource-policy wants one policy and no more', async () => {
    expect(await config('set-resource-policy')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('--policy-file'),
    })
    expect((await config('set-resource-policy', '--allow-all', '--deny-all')).status).toBe(2)
    expect(broker.received).toEqual([])
  })

  it('set-resource posts the bytes as they are', async () => {
    const outcome = await config('set-resource', '--path', 'x/y/z', '--resource-file', 'secret')
    expect(outcome).toMatchObject({ status: 0, stdout: 'Set resource success \n resource: AP8K\n' })
    expect(broker.received[0]).toMatchObject({
      method: 'POST',
      path: '/kbs/v0/resource/x/y/z',
      contentType: 'application/octet-stream',
    })
  })

  it('delete-resource deletes', async () => {
    expect((await config('delete-resource', '--path', 'x/y/z')).status).toBe(0)
    expect(broker.received[0]).toMatchObject({ method: 'DELETE', path: '/kbs/v0/resource/x/y/z', body: '' })
  })

  it('get-reference-value prints the value quoted, or raw', async () => {
    expect((await config('get-reference-value', '--id', 'svn')).stdout).toBe('"[\\"1\\"]"\n')
    expect((await config('get-reference-value', '--id', 'svn', '--raw')).stdout).toBe('["1"]\n')
    expect(broker.received[0]).toMatchObject({ method: 'GET', path: '/kbs/v0/reference-value/svn' })
  })

  it.each([
    [['svn', '1'], '{"svn":["1"]}'],
    [['svn', '1', '--as-integer'], '{"svn":[1]}'],
    [['svn', '--as-integer', '--', '-1'], '{"svn":[-1]}'],
    [['svn', '18446744073709551', '--as-integer', '--as-single-value'], '{"svn":18446744073709551}'],
    [['debug', 'false', '--as-bool', '--as-single-value'], '{"debug":false}'],
  ])('set-sample-reference-value %j registers %s', async (args, payload) => {
    expect((await config('set-sample-reference-value', ...args)).stdout).toBe('Reference Values Updated\n')
    const message = JSON.parse(broker.received[0]?.body ?? '')
    expect(message).toMatchObject({ version: '0.1.0', type: 'sample' })
    expect(Buffer.from(message.payload, 'base64').toString()).toBe(payload)
  })

  it('set-sample-reference-value refuses what is not of the type', async () => {
    expect((await config('set-sample-reference-value', 'svn', '1.5', '--as-integer')).status).toBe(1)
    expect((await config('set-sample-reference-value', 'debug', 'yes', '--as-bool')).status).toBe(1)
  })

  it('prints the answer of a server that refuses, as tests of Trustee expect', async () => {
    broker.refuseAdmin = problems.adminRefused('resource-policy', adminRefusal.unverifiable())
    const outcome = await config('set-resource-policy', '--policy-file', 'policy.rego')
    expect(outcome).toMatchObject({ status: 1, stdout: '' })
    expect(outcome.stderr).toMatch(
      /^Error: Request Failed, Response: \{.*Cannot verify token with any of the issuers/,
    )
  })

  it('fails without a word on stdout when a file or the server is missing', async () => {
    expect(await config('set-resource', '--path', 'a/b/c', '--resource-file', 'missing')).toMatchObject({
      status: 1,
      stdout: '',
      stderr: 'Error: cannot read missing: ENOENT\n',
    })
    const gone = await startBroker()
    await gone.close()
    const outcome = await kbsctl(['--url', gone.url, 'config', 'get-reference-value', '--id', 'x'])
    expect(outcome).toMatchObject({ status: 1, stdout: '', stderr: expect.stringContaining('ECONNREFUSED') })
  })
})

describe('the admin token', () => {
  it('is looked for where set-up scripts put it, and may be missing', async () => {
    const get = (options: { cwd?: string; home?: string }) =>
      kbsctl(['--url', broker.url, 'config', 'get-reference-value', '--id', 'x'], options)
    const missing = await get({})
    expect(missing.stderr).toMatch(/^Warning: no admin token file found/)
    await mkdir(join(folder, '.trustee'))
    await writeFile(join(folder, '.trustee/admin-token'), 'from-home\n')
    await get({ home: folder })
    await mkdir(join(folder, 'kbs/config/docker-compose'), { recursive: true })
    await writeFile(join(folder, 'kbs/config/docker-compose/admin-token'), 'from-here\n')
    await get({ cwd: folder, home: folder })
    expect(broker.received.map(({ authorization }) => authorization)).toEqual([
      undefined,
      'Bearer from-home',
      'Bearer from-here',
    ])
  })
})

describe('--cert-file', () => {
  it('is what makes a private certificate trusted', async () => {
    const tls = loopbackCertificate()
    const secure = await startBroker(tls)
    await writeFile(join(folder, 'cert.pem'), tls.cert)
    const args = ['--url', secure.url, 'get-resource', '--path', 'a/b/c']
    const trusting = await kbsctl(['--cert-file', 'cert.pem', ...args], { cwd: folder })
    const wary = await kbsctl(args)
    await secure.close()
    expect(trusting).toMatchObject({ status: 0, stdout: `${Buffer.from('the secret').toString('base64')}\n` })
    expect(wary).toMatchObject({ status: 1, stderr: expect.stringMatching(/no answer.*CERT/) })
  })
})

describe('usage', () => {
  it('is refused with status 2 where it makes no sense', async () => {
    expect((await kbsctl(['frobnicate'])).status).toBe(2)
    expect((await kbsctl(['config', 'set-resource', '--path', 'a/b/c'])).status).toBe(2)
    expect((await kbsctl(['--url', 'ftp://x', 'attest'])).status).toBe(2)
  })
  it('is explained', async () => {
    expect(await kbsctl(['config', '--help'])).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('set-resource-policy'),
    })
  })
})
