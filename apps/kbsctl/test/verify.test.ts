import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { kbsctl } from './kbsctl.ts'

const vectors =
  process.env.KBS_VECTORS ?? fileURLToPath(new URL('../../../../shared/vectors', import.meta.url))
const haveVectors = existsSync(join(vectors, 'snp'))
if (!haveVectors) {
  const message = `kbsctl verify is not tested: no vectors at ${vectors}; set KBS_VECTORS`
  if (process.env.CI) throw new Error(message)
  console.warn(message)
}

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kbsctl-'))
})
afterAll(() => rm(folder, { recursive: true }))

const genoa = join(vectors, 'snp/evidence-genoa-v3.json')
/** Recorded with the evidence (vectors, snp/README.md). */
const reportData =
  '7e7320889600c7ac133aea7b896c51f41026002982292a7369559796999c1bf929eef3ff23c46e858f0b1982f9a92b17c51b578d958cde6b0c92978f150cf9b0'
/** Likewise (vectors, tdx/cases.json, `90c0-v5-ok`). */
const tdReportData =
  '945eaacf5abc1f719d8666a942fda03d1edcb4490277396093dc5a5289ab9f1e094aed63060cd4a4933a4dd537ed1255c9c79ecb3ed82cd1b486233e31c25c3a'
const snp = ['verify', '--tee', 'snp', '--at', '2026-06-01T00:00:00Z', '--report-data']

describe.skipIf(!haveVectors)('verify', () => {
  it('prints every check and the claims of genuine evidence', async () => {
    const { status, stdout } = await kbsctl([...snp, reportData, genoa])
    expect(status).toBe(0)
    expect(stdout).toMatch(/^snp: verified\n/)
    expect(stdout).toMatch(/\n {2}passed {6,}report-signature +spec 03/)
    expect(stdout).not.toMatch(/failed|not-reached/)
    // no init data was expected, and nothing asks for revocation or the debug gate
    const notMade = [...stdout.matchAll(/\n {2}not-made +(\S+)/g)].map(([, name]) => name)
    expect(notMade).toEqual(['init-data', 'debug-gate', 'certificate-revocation'])
    expect(stdout).toMatch(/\nclaims \(cpu\)\n\{\n/)
  })

  it('prints the same as JSON, integers exact', async () => {
    const { status, stdout } = await kbsctl([...snp, reportData, '--json', genoa])
    const report = JSON.parse(stdout)
    expect(status).toBe(0)
    expect(report).toMatchObject({ tee: 'snp', verified: true })
    expect(new Set(report.checks.map((check: { state: string }) => check.state))).toEqual(
      new Set(['passed', 'not-made']),
    )
    expect(report.evidence[0]).toMatchObject({ tee: 'snp', class: 'cpu' })
  })

  it('names the check that fails', async () => {
    const { status, stdout } = await kbsctl([...snp, '00', genoa])
    expect(status).toBe(1)
    expect(stdout).toMatch(/^snp: REFUSED\n/)
    expect(stdout).toMatch(/\n {2}failed {6,}report-data/)
    expect(stdout).toMatch(/\nREPORT_DATA_MISMATCH: /)
    // the signature comes before the binding, as the evidence brings its certificates; the gates come after it
    expect(stdout).toMatch(/\n {2}passed {6,}report-signature/)
    expect(stdout).toMatch(/\n {2}not-reached +debug-gate/)
    expect(stdout).not.toContain('claims')
  })

  it('judges certificates by the time that was given', async () => {
    const args = [
      'verify',
      '--tee',
      'snp',
      '--report-data',
      reportData,
      '--json',
      '--at',
      '2020-01-01',
      genoa,
    ]
    const { status, stdout } = await kbsctl(args)
    expect(status).toBe(1)
    expect(JSON.parse(stdout).rejection).toMatchObject({ check: 'certificate-validity' })
  })

  it('verifies a quote with the collateral of its time', async () => {
    const { status, stdout } = await kbsctl([
      ...['verify', '--tee', 'tdx', '--json', '--at', '2026-03-01T00:00:00Z', '--report-data', tdReportData],
      ...['--collateral', join(vectors, 'tdx/collateral/tdx-90c06f000000-2026-02.json')],
      join(vectors, 'tdx/evidence-90c0.json'),
    ])
    expect(status).toBe(0)
    const claims = JSON.parse(await readFile(join(vectors, 'tdx/claims/90c0.claims.json'), 'utf8'))
    expect(JSON.parse(stdout).evidence[0].claims).toEqual(claims)
  })

  it('has no collateral but what it is given', async () => {
    const { status, stdout } = await kbsctl([
      ...['verify', '--tee', 'tdx', '--report-data', '00', '--json'],
      join(vectors, 'tdx/evidence-b0c0.json'),
    ])
    expect(status).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({ verified: false, rejection: { code: expect.any(String) } })
  })
})

describe('verify', () => {
  it('refuses what is no evidence', async () => {
    await writeFile(join(folder, 'empty.json'), '{}')
    await writeFile(join(folder, 'broken.json'), '{"a":1,"a":2}')
    const run = (name: string) => kbsctl([...snp, reportData, join(folder, name)])
    expect((await run('empty.json')).stdout).toMatch(/EVIDENCE_MALFORMED/)
    expect((await run('broken.json')).stderr).toMatch(/duplicate member name/)
    expect((await run('missing.json')).status).toBe(1)
  })

  it('needs to be told what to expect, in a form that it can read', async () => {
    expect((await kbsctl(['verify', '--tee', 'snp', genoa])).status).toBe(2)
    expect((await kbsctl([...snp, 'xyz', genoa])).stderr).toBe('Error: --report-data is not hexadecimal\n')
    const at = ['verify', '--tee', 'snp', '--report-data', '00', '--at', 'yesterday', genoa]
    expect((await kbsctl(at)).stderr).toMatch(/--at/)
    expect((await kbsctl(['verify', '--tee', 'sample', '--report-data', '00', genoa])).stderr).toMatch(/snp/)
  })
})
