import { X509Certificate } from 'node:crypto'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { importSPKI, jwtVerify } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { kbsctl } from './kbsctl.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kbsctl-'))
})
afterAll(() => rm(folder, { recursive: true }))

const file = (name: string) => join(folder, name)
const text = (name: string) => readFile(file(name), 'utf8')
const run = (...args: string[]) => kbsctl(args, { cwd: folder })

describe('keygen', () => {
  it('makes a key pair with which admin tokens are signed and verified', async () => {
    expect((await run('keygen', '--admin', 'admin')).stdout).toBe(
      `${file('admin/admin.key')}\n${file('admin/admin.pub')}\n`,
    )
    expect((await stat(file('admin/admin.key'))).mode & 0o777).toBe(0o600)
    const { stdout } = await run(
      ...['admin-token', '--key', 'admin/admin.key', '--role', 'admin'],
      ...['--issuer', 'TrusteeInDocker', '--audience', 'KBS', '--hours', '0.5'],
    )
    const key = await importSPKI(await text('admin/admin.pub'), 'EdDSA')
    const { payload, protectedHeader } = await jwtVerify(stdout.trim(), key, {
      issuer: 'TrusteeInDocker',
      audience: 'KBS',
      algorithms: ['EdDSA'],
    })
    expect(protectedHeader).toEqual({ alg: 'EdDSA', typ: 'JWT' })
    expect(payload).toMatchObject({ role: 'admin', sub: 'admin', aud: ['KBS'], jti: expect.any(String) })
    expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBe(1800)
  })

  it('makes a token key whose chain leads to the CA', async () => {
    expect((await run('keygen', '--token', 'token', '--days', '30')).status).toBe(0)
    const [leafPem = '', caPem = ''] = (await text('token/token-cert-chain.pem')).split(
      /(?<=-----END CERTIFICATE-----\n)/,
    )
    const leaf = new X509Certificate(leafPem)
    const ca = new X509Certificate(caPem)
    expect(caPem).toBe(await text('token/ca-cert.pem'))
    expect(ca.verify(ca.publicKey)).toBe(true)
    expect(leaf.verify(ca.publicKey)).toBe(true)
    expect(leaf.checkIssued(ca)).toBe(true)
    expect([ca.ca, leaf.ca]).toEqual([true, false])
    expect(leaf.publicKey.asymmetricKeyDetails).toMatchObject({ namedCurve: 'prime256v1' })
    expect(leaf.publicKey.export({ format: 'pem', type: 'spki' })).toBe(await text('token/token.pub'))
    expect(leaf.validToDate.getTime() - leaf.validFromDate.getTime()).toBe(30 * 86_400_000)
    for (const name of ['ca.key', 'token.key']) {
      expect((await stat(file(`token/${name}`))).mode & 0o777).toBe(0o600)
    }
  })

  it('never replaces a file', async () => {
    await writeFile(file('admin.key'), 'precious')
    expect(await run('keygen', '--admin', '.')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('EEXIST'),
    })
    expect(await text('admin.key')).toBe('precious')
  })

  it('has to be told what', async () => {
    expect((await run('keygen')).status).toBe(1)
    expect((await run('keygen', '--token', 'x', '--days', '-1')).status).toBe(2)
    await writeFile(file('nonsense'), 'nonsense')
    expect((await run('admin-token', '--key', 'nonsense', '--role', 'admin')).status).toBe(1)
  })
})
