/** Evidence of Intel's TEEs through the whole verifier, with the collateral of a virtual Intel. */
import { JsonSyntaxError, parseJson } from '@passport-kbs/protocol'
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
  type AzureTdxDefectName,
  azureTdxDefects,
  createVirtualAzureTdxVm,
  createVirtualIntel,
  enclaveEvidence,
  type QuoteDefect,
  quoteDefects,
  tdEvidence,
  virtualEventLog,
  vtpmDefects,
} from '@passport-kbs/testing'
import type { FuzzTarget } from '../target.ts'
import { jsonSeeds, vectorSeeds } from './seeds.ts'

const now = new Date('2026-01-15T12:00:00Z')
const reportData = new Uint8Array(48).fill(7)
const request = { now, expectedReportData: reportData }
/** SHA-384, and SHA-256 where a vTPM binds it. */
const initDataDigest = new Uint8Array(48).fill(9)
const vtpmInitDataDigest = initDataDigest.subarray(0, 32)
const intel = createVirtualIntel(now)
const root = intelRoot(intel.rootCertificate)
const platform = intel.platform()
const dcap = (tee: 'tdx' | 'sgx') =>
  createDcap({ root, collateral: fixedCollateral(intel.collateral({ tee })) })

const vtpmDefectNames = Object.keys({ ...azureTdxDefects, ...vtpmDefects }) as AzureTdxDefectName[]

/** The same evidence with and without a request for init data. */
function bothLengths(evidence: object): string[] {
  const text = JSON.stringify(evidence)
  return [text, `${text} `]
}

function defectsOf(tee: 'tdx' | 'sgx'): QuoteDefect[] {
  return quoteDefects.filter(({ of = tee }) => of === tee).map(({ name }) => name)
}

function target(
  name: string,
  verifier: Verifier,
  seeds: () => Uint8Array[],
  expectedInitDataDigest = initDataDigest,
): FuzzTarget {
  const withInitData = { ...request, expectedInitDataDigest }
  return {
    name,
    rejections: [JsonSyntaxError, EvidenceRejected],
    seeds,
    // both are asked for, whatever is changed: a byte more or less decides
    run: (input) => verifier.verify(parseJson(input), input.length % 2 === 0 ? request : withInitData),
  }
}

export const tdx: FuzzTarget = target('tdx', createTdxVerifier({ dcap: dcap('tdx') }), () => {
  const { bytes, registers } = virtualEventLog()
  return [
    ...jsonSeeds([
      ...bothLengths(tdEvidence(platform, { reportData })),
      ...bothLengths(tdEvidence(platform, { reportData, version: 5 })),
      ...bothLengths(tdEvidence(platform, { reportData, mrConfigId: initDataDigest })),
      ...bothLengths(tdEvidence(platform, { reportData, version: 5, layout: '1.0' })),
      ...bothLengths(tdEvidence(platform, { reportData, eventLog: bytes, rtmrs: registers })),
      ...defectsOf('tdx').map((defect) => tdEvidence(platform, { reportData, defect })),
    ]),
    ...vectorSeeds('tdx', /^evidence-(90c0|b0c0|azure)\.json$/),
  ]
})

export const sgx: FuzzTarget = target('sgx', createSgxVerifier({ dcap: dcap('sgx') }), () => [
  ...jsonSeeds([
    ...bothLengths(enclaveEvidence(platform, { reportData })),
    ...bothLengths(enclaveEvidence(platform, { reportData, configId: initDataDigest })),
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
      ...jsonSeeds(
        ([0, 1, 2] as const).flatMap((version) =>
          bothLengths(vm.evidence({ reportData, version, initDataDigest: vtpmInitDataDigest })),
        ),
      ),
      ...jsonSeeds([
        ...vtpmDefectNames.map((defect) => vm.evidence({ reportData, defect })),
        ...defectsOf('tdx').map((quoteDefect) => vm.evidence({ reportData, quoteDefect })),
      ]),
      ...vectorSeeds('az-tdx-vtpm', /^evidence-.*\.json$/),
    ]
  },
  vtpmInitDataDigest,
)
