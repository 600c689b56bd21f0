/** Real Azure evidence (vectors/az-snp-vtpm; provenance in its README). */
import { createHash } from 'node:crypto'
import { decodeHex, type JsonObject } from '@passport-kbs/protocol'
import { describe, expect, it } from 'vitest'
import { parseReport } from '../../src/amd/report.ts'
import { createAzureSnpVtpmVerifier } from '../../src/index.ts'
import { parseHclReport } from '../../src/vtpm/hcl-report.ts'
import {
  checkInitDataPcr,
  checkPcrDigest,
  checkPcrSelection,
  checkQuoteSignature,
  parseTpmQuote,
} from '../../src/vtpm/tpm-quote.ts'
import {
  attestationKeyOf,
  checkVariableDataBinding,
  parseVariableData,
} from '../../src/vtpm/variable-data.ts'
import { vectorBytes, vectorJson, vectors } from '../eventlog/vectors.ts'

const now = new Date('2026-06-01T00:00:00Z')
const folder = 'az-snp-vtpm'

describe.skipIf(vectors === undefined)('real evidence', () => {
  it.each([
    ['evidence-v1', '6368616c6c656e6765'],
    [
      'evidence-genoa',
      '0218488bae25d2509232bf676f1a66a30d7372add909109b36016ef136f2938ca05475f8b46094de6b64270ea35d950f',
    ],
  ])('%s is accepted with exactly its claims', async (name, reportData) => {
    const verifier = createAzureSnpVtpmVerifier()
    const request = { now, expectedReportData: decodeHex(reportData) }
    const [entry] = await verifier.verify(vectorJson(folder, `${name}.json`), request)
    expect(entry?.claims).toEqual(vectorJson(folder, `${name}.claims.json`))
  })
})

describe.skipIf(vectors === undefined)('the HCL report of a third VM', () => {
  const parts = () => {
    const hcl = parseHclReport(vectorBytes(folder, 'hcl-report.bin'), 'snp')
    const quote = vectorJson(folder, 'tpm-quote-v1.json') as JsonObject
    const hex = (name: string) => decodeHex(String(quote[name]))
    const pcrs = (quote.pcrs as string[]).map(decodeHex)
    return { hcl, message: hex('message'), signature: hex('signature'), pcrs }
  }

  it('binds its variable data to its report', () => {
    const { hcl } = parts()
    const { reportData } = parseReport(hcl.hardwareReport)
    expect(() => checkVariableDataBinding(hcl.variableData, reportData)).not.toThrow()
    const changed = Uint8Array.from(hcl.variableData)
    changed[300] = (changed[300] ?? 0) + 1
    expect(() => checkVariableDataBinding(changed, reportData)).toThrow(/variable data/)
  })

  it('has the key of its quote, and no other', () => {
    const { hcl, message, signature, pcrs } = parts()
    const key = attestationKeyOf(parseVariableData(hcl.variableData))
    expect(() => checkQuoteSignature(key, message, signature)).not.toThrow()
    const quote = parseTpmQuote(message)
    expect(Buffer.from(quote.extraData).toString()).toBe('challenge')
    expect(() => checkPcrSelection(quote, pcrs)).not.toThrow()
    expect(() => checkPcrDigest(quote, pcrs)).not.toThrow()
    const other = [vectorBytes(folder, 'tpm-quote.msg'), vectorBytes(folder, 'tpm-quote.sig')] as const
    expect(() => checkQuoteSignature(key, ...other)).toThrow(/not signed/)
  })

  it('a quote of PCRs 0 to 7 and 14 is refused', () => {
    const quote = parseTpmQuote(vectorBytes(folder, 'tpm-quote.msg'))
    expect(() => checkPcrSelection(quote, parts().pcrs)).toThrow(/bitmap ff4000/)
  })
})

describe('PCR 8 (spec 03 §8.5)', () => {
  const pcrsWith = (pcr8: string) =>
    Array.from({ length: 24 }, (_unused, index) => (index === 8 ? decodeHex(pcr8) : new Uint8Array(32)))

  it.each([
    [
      '8505e4e25e50a27c5dc8147af88efbece627fbea55291911eff832d9ee127781',
      'bddaccb9c52249e97a31baea61b7d91be8221a16e703d92148d04fb8e9c1dfdd',
    ],
    [
      createHash('sha256').update('x').digest('hex'),
      '7f85193790de75e46b70bfec3614098f47332a6993dabac6e38ad35f47df5da4',
    ],
  ])('extended once with %s is %s', (digest, pcr8) => {
    expect(() => checkInitDataPcr(pcrsWith(pcr8), decodeHex(digest))).not.toThrow()
    expect(() => checkInitDataPcr(pcrsWith('00'.repeat(32)), decodeHex(digest))).toThrow(/PCR 8/)
  })
})
