/** Evidence of Intel's TEEs through the whole verifier, with the collateral of a virtual Intel. */
import { JsonSyntaxError, type JsonValue, parseJson } from '@passport-kbs/protocol'
import {
  createAzureTdxVtpmVerifier,
  createDcap,
  createSgxVerifier,
  createTdxVerifier,
  EvidenceRejected,
  fixedCollateral,
  intelRoot,
  type Verifier,
} from '@passport-kbs/tee-evidence'
import {
  createVirtualAzureTdxVm,
  createVirtualIntel,
  enclaveEvidence,
  type QuoteDefect,
  quoteDefects,
  tdEvidence,
  virtualEventLog,
} from '@passport-kbs/testing'
import type { FuzzTarget } from '../target.ts'
import { jsonSeeds, vectorSeeds } from './seeds.ts'

const now = new Date('2026-01-15T12:00:00Z')
const reportData = new Uint8Array(48).fill(7)
const request = { now, expectedReportData: reportData }
const intel = createVirtualIntel(now)
const root = intelRoot(intel.rootCertificate)
const platform = intel.platform()
const dcap = (tee: 'tdx' | 'sgx') =>
  createDcap({ root, collateral: fixedCollateral(intel.collateral({ tee })) })

function defectsOf(tee: 'tdx' | 'sgx'): QuoteDefect[] {
  return quoteDefects.filter(({ of = tee }) => of === tee).map(({ name }) => name)
}

function target(name: string, verifier: Verifier, seeds: () => Uint8Array[]): FuzzTarget {
  return {
    name,
    rejections: [JsonSyntaxError, EvidenceRejected],
    seeds,
    run: (input) => verifier.verify(parseJson(input) as JsonValue, request),
  }
}

export const tdx: FuzzTarget = target('tdx', createTdxVerifier({ dcap: dcap('tdx') }), () => {
  const { bytes, registers } = virtualEventLog()
  return [
    ...jsonSeeds([
      tdEvidence(platform, { reportData }),
      tdEvidence(platform, { reportData, version: 5 }),
      tdEvidence(platform, { reportData, version: 5, layout: '1.0' }),
      tdEvidence(platform, { reportData, eventLog: bytes, rtmrs: registers }),
      ...defectsOf('tdx').map((defect) => tdEvidence(platform, { reportData, defect })),
    ]),
    ...vectorSeeds('tdx', /^evidence-(90c0|b0c0|azure)\.json$/),
  ]
})

export const sgx: FuzzTarget = target('sgx', createSgxVerifier({ dcap: dcap('sgx') }), () => [
  ...jsonSeeds([
    enclaveEvidence(platform, { reportData }),
    ...defectsOf('sgx').map((defect) => enclaveEvidence(platform, { reportData, defect })),
  ]),
  ...vectorSeeds('sgx', /^evidence-.*\.json$/),
])

export const azTdxVtpm: FuzzTarget = target(
  'az-tdx-vtpm',
  createAzureTdxVtpmVerifier({ dcap: dcap('tdx') }),
  () => {
    const vm = createVirtualAzureTdxVm(platform)
    return [
      ...jsonSeeds(([0, 1, 2] as const).map((version) => vm.evidence({ reportData, version }))),
      ...vectorSeeds('az-tdx-vtpm', /^evidence-.*\.json$/),
    ]
  },
)
