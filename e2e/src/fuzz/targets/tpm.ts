/** What a TPM signs, what wraps it, and evidence of a plain TPM. */
import { createPublicKey } from 'node:crypto'
import { JsonSyntaxError, parseJson } from '@passport-kbs/protocol'
import { createTpmVerifier, EvidenceRejected } from '@passport-kbs/tee-evidence'
import {
  createVirtualAzureSnpVm,
  createVirtualVtpm,
  marshalSignature,
  vtpmDefects,
} from '@passport-kbs/testing'
import { CheckFailure } from '../../../../packages/tee-evidence/src/rejection.ts'
import { parseHclReport } from '../../../../packages/tee-evidence/src/vtpm/hcl-report.ts'
import {
  checkPcrSelection,
  parseTpmQuote,
  parseTpmtSignature,
} from '../../../../packages/tee-evidence/src/vtpm/tpm-quote.ts'
import {
  attestationKeyOf,
  checkUserData,
  parseVariableData,
} from '../../../../packages/tee-evidence/src/vtpm/variable-data.ts'
import type { FuzzTarget } from '../target.ts'
import { jsonSeeds, readWithAll, vectorSeeds } from './seeds.ts'

const now = new Date('2026-03-01T12:00:00Z')
const reportData = new Uint8Array(48).fill(7)
const initDataDigest = new Uint8Array(32).fill(9)
const vtpm = createVirtualVtpm()
const quotes = [undefined, ...Object.values(vtpmDefects)].map((defect) =>
  vtpm.quote(reportData.subarray(0, 32), initDataDigest, defect),
)
const verifier = createTpmVerifier()

export const tpm: FuzzTarget = {
  name: 'tpm',
  rejections: [JsonSyntaxError, EvidenceRejected],
  seeds: () => [...jsonSeeds(quotes.map(evidenceOf)), ...vectorSeeds('tpm', /^tpm_evidence\.json$/)],
  run: (input) =>
    verifier.verify(parseJson(input), {
      now,
      expectedReportData: reportData,
      expectedInitDataDigest: initDataDigest,
    }),
}

function evidenceOf({ message, signature, pcrs }: (typeof quotes)[number]): unknown {
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64')
  const key = createPublicKey(vtpm.attestationKey).export({ format: 'der', type: 'spki' })
  return {
    ak_public: base64(key),
    tpm_quote: {
      signature: base64(marshalSignature(signature)),
      message: base64(message),
      pcrs: pcrs.map((pcr) => Buffer.from(pcr).toString('hex')),
    },
  }
}

export const tpmQuote: FuzzTarget = {
  name: 'tpm-quote',
  rejections: [CheckFailure],
  maxLength: 4096,
  seeds: () => [
    ...quotes.flatMap(({ message, signature }) => [message, marshalSignature(signature)]),
    ...vectorSeeds('az-snp-vtpm', /^tpm-quote\.(msg|sig)$/),
  ],
  run(input) {
    readWithAll([CheckFailure], () => parseTpmtSignature(input))
    const quote = parseTpmQuote(input)
    checkPcrSelection(
      quote,
      Array.from({ length: 24 }, () => new Uint8Array(32)),
    )
  },
}

export const hcl: FuzzTarget = {
  name: 'hcl',
  rejections: [CheckFailure],
  seeds() {
    const vm = createVirtualAzureSnpVm({ generation: 'Genoa', now })
    const report = ([0, 1, 2] as const).flatMap((version) =>
      hclReportOf(vm.evidence({ reportData, version })),
    )
    return [
      ...report,
      ...vectorSeeds('az-snp-vtpm', /^hcl-report\.bin$/),
      ...vectorSeeds('az-tdx-vtpm', /^hcl-report\.bin$/),
    ]
  },
  run(input) {
    readWithAll(
      [CheckFailure],
      () => readReport(input, 'snp'),
      () => readReport(input, 'tdx'),
      () => parseVariableData(input),
    )
  },
}

function hclReportOf(evidence: Readonly<Record<string, unknown>>): Uint8Array[] {
  const { hcl_report: report } = evidence
  if (Array.isArray(report)) return [Buffer.from(report)]
  return typeof report === 'string' ? [Buffer.from(report, 'base64url')] : []
}

function readReport(input: Uint8Array, type: 'snp' | 'tdx'): void {
  const { variableData } = parseHclReport(input, type)
  const variables = parseVariableData(variableData)
  readWithAll(
    [CheckFailure],
    () => attestationKeyOf(variables),
    () => checkUserData(variables, reportData),
  )
}
