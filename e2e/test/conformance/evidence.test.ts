/** Every case of the evidence vectors, as `pnpm conformance evidence` runs them. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
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
    ['another schema', { schema: '../etc/passwd', cases: [] }],
  ])('fails on %s', async (_name, content) => {
    expect(await codeFor(content)).toBe(1)
  })
})
