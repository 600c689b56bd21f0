/** Every case of the evidence vectors, as `pnpm conformance evidence` runs them. */
import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, type MockInstance, vi } from 'vitest'
import { run } from '../../src/conformance/evidence.ts'

const vectors = process.env.KBS_VECTORS ?? resolve(import.meta.dirname, '../../../../shared/vectors')
const hasVectors = existsSync(join(vectors, 'snp'))
if (!hasVectors && process.env.CI === 'true') throw new Error('no vectors: set KBS_VECTORS')
if (!hasVectors) console.warn(`SKIPPED: no vectors at ${vectors}; set KBS_VECTORS to the vectors folder`)

let log: MockInstance<typeof console.log>
beforeEach(() => {
  log = vi.spyOn(console, 'log').mockImplementation(() => {})
})
afterEach(() => log.mockRestore())

describe('the evidence vectors', () => {
  it.skipIf(!hasVectors).each(['snp', 'az-snp-vtpm', 'tdx', 'az-tdx-vtpm', 'sgx', 'csv', 'eventlog'])(
    '%s: every case has its expected outcome',
    async (folder) => {
      const code = await run([join(vectors, folder)])
      const failures = log.mock.calls.flat().filter((line) => String(line).startsWith('FAILED'))
      expect(failures).toEqual([])
      expect(code).toBe(0)
    },
    120_000,
  )
})

describe.skipIf(!hasVectors)('a case of the SNP vectors', () => {
  it.each([
    [{}, ['CERT_EXPIRED']],
    [{ cert_validity: 'ignore' }, undefined],
    [{ options: { cert_validity: 'ignore' } }, undefined],
    [{ cert_validity: 'ignore', crl_policy: 'require' }, ['CRL_UNAVAILABLE']],
  ])('may set a knob: %j', async (knobs, codes) => {
    const folder = mkdtempSync(join(tmpdir(), 'cases-'))
    symlinkSync(join(vectors, 'snp', 'evidence-milan-v3.json'), join(folder, 'evidence.json'))
    const expected = codes === undefined ? { result: 'accept' } : { result: 'reject', codes }
    const one = {
      id: 'one',
      evidence: 'evidence.json',
      now: '2044-01-01T00:00:00Z',
      expect: expected,
      ...knobs,
    }
    const content = { schema: 'evidence-cases/1', tee: 'snp', cases: [one] }
    writeFileSync(join(folder, 'cases.json'), JSON.stringify(content))
    try {
      await run([folder])
    } finally {
      rmSync(folder, { recursive: true })
    }
    expect(log.mock.calls.flat().filter((line) => String(line).startsWith('FAILED'))).toEqual([])
  })
})

describe.skipIf(!hasVectors)('a case of the Intel vectors', () => {
  const evidence = join(vectors, 'tdx')
  async function failuresFor(fields: object): Promise<unknown[]> {
    const folder = mkdtempSync(join(tmpdir(), 'cases-'))
    for (const name of ['evidence-b0c0.json', 'collateral'])
      symlinkSync(join(evidence, name), join(folder, name))
    const defaults = {
      id: 'one',
      evidence: 'evidence-b0c0.json',
      collateral: 'collateral/tdx-b0c06f000000-2025-06.json',
      now: '2025-07-01T00:00:00Z',
    }
    const content = { schema: 'evidence-cases/1', tee: 'tdx', cases: [{ ...defaults, ...fields }] }
    writeFileSync(join(folder, 'cases.json'), JSON.stringify(content))
    try {
      await run([folder])
    } finally {
      rmSync(folder, { recursive: true })
    }
    return log.mock.calls.flat().filter((line) => String(line).startsWith('FAILED'))
  }

  it('may demand an event log', async () => {
    const options = { require_eventlog: true }
    const expected = { result: 'reject', codes: ['EVIDENCE_MALFORMED'] }
    expect(await failuresFor({ options, expect: expected })).toEqual([])
  })

  it.each(['pck_crl', 'root_ca_crl'])('may make %s something that is not even base64', async (name) => {
    const collateralMutations = [{ op: 'json-set', path: [name], value: 'no base64!' }]
    const expected = { result: 'reject', codes: ['CRL_INVALID'] }
    expect(await failuresFor({ collateral_mutations: collateralMutations, expect: expected })).toEqual([])
  })
})

describe('a case file', () => {
  async function codeFor(content: object): Promise<number> {
    const folder = mkdtempSync(join(tmpdir(), 'cases-'))
    writeFileSync(join(folder, 'cases.json'), JSON.stringify(content))
    writeFileSync(join(folder, 'evidence.json'), '{}')
    try {
      return await run([folder])
    } finally {
      rmSync(folder, { recursive: true })
    }
  }
  const snpCase = (expected: object) => ({
    schema: 'evidence-cases/1',
    tee: 'snp',
    default_now: '2026-06-01T00:00:00Z',
    cases: [{ id: 'one', evidence: 'evidence.json', expect: expected }],
  })

  it('passes when every outcome is the expected one', async () => {
    expect(await codeFor(snpCase({ result: 'reject', codes: ['EVIDENCE_MALFORMED'] }))).toBe(0)
  })

  it('may hold a document nested far deeper than evidence may be', async () => {
    const bomb = JSON.parse(`${'['.repeat(200)}${']'.repeat(200)}`)
    const content = snpCase({ result: 'reject', codes: ['EVIDENCE_MALFORMED'] })
    const mutations = [{ op: 'json-set', path: ['x'], value: bomb }]
    expect(await codeFor({ ...content, cases: content.cases.map((one) => ({ ...one, mutations })) })).toBe(0)
  })

  it.each(['sample', 'sampledevice'])('of %s finds it switched off', async (tee) => {
    const expected = snpCase({ result: 'reject', codes: ['TEE_NOT_ENABLED'] })
    expect(await codeFor({ ...expected, tee })).toBe(0)
  })

  it('that is not JSON fails, and the others are run', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'cases-'))
    writeFileSync(join(folder, 'cases-a.json'), '{')
    const good = snpCase({ result: 'reject', codes: ['EVIDENCE_MALFORMED'] })
    writeFileSync(join(folder, 'cases-b.json'), JSON.stringify(good))
    writeFileSync(join(folder, 'evidence.json'), '{}')
    try {
      expect(await run([folder])).toBe(1)
    } finally {
      rmSync(folder, { recursive: true })
    }
    const lines = log.mock.calls.flat().map(String)
    expect(lines.filter((line) => line.startsWith('FAILED'))).toHaveLength(1)
    expect(lines.some((line) => /cases-b\.json +1 +0/.test(line))).toBe(true)
  })

  it('that is not there is a failure, beside others too', async () => {
    expect(await run([join(tmpdir(), 'no-such-folder')])).toBe(1)
  })

  it.each([
    ['another code', snpCase({ result: 'reject', codes: ['CERT_EXPIRED'] })],
    ['an expected acceptance', snpCase({ result: 'accept' })],
    [
      'a TEE without a runner',
      { ...snpCase({ result: 'reject', codes: ['EVIDENCE_MALFORMED'] }), tee: 'unheard-of' },
    ],
    ['a case that is no object', { ...snpCase({}), cases: ['one'] }],
    ['another schema', { schema: '../etc/passwd', cases: [] }],
  ])('fails on %s', async (_name, content) => {
    expect(await codeFor(content)).toBe(1)
  })
})
