import { randomBytes } from 'node:crypto'
import { encodeHex, type JsonValue } from '@passport-kbs/protocol'
import {
  type AzureTdxDefectName,
  type AzureTdxEvidenceOptions,
  azureTdxDefects,
  type CollateralOptions,
  collateralDefects,
  createVirtualAzureTdxVm,
  type EnclaveEvidenceOptions,
  enclaveEvidence,
  eventLogDefects,
  type QuoteDefect,
  quoteDefects,
  type TdEvidenceOptions,
  tdEvidence,
  virtualEventLog,
  vtpmDefects,
} from '@passport-kbs/testing'
import {
  createAzureTdxVtpmVerifier,
  createDcap,
  createSgxVerifier,
  createTdxVerifier,
  type Dcap,
  fixedCollateral,
  type IntelRiskRules,
  type VerificationRequest,
  type Verifier,
} from '../../src/index.ts'
import { fmspc, intel, now, platform, root } from '../intel/virtual-machine.ts'
import { type Scenario, type Subject, scenariosOf } from './subject.ts'

type IntelTee = 'tdx' | 'sgx'
type MakeScenario = ReturnType<typeof scenariosOf>

const reportData = randomBytes(48)
const initDataDigest = randomBytes(48)
const request = { now, expectedReportData: reportData, expectedInitDataDigest: initDataDigest }
const instanceId = platform.pckFields.platform?.instanceId ?? new Uint8Array(16)

/** Every rule, kept by this platform and its collateral, which is a day old. */
const kept: Required<Omit<IntelRiskRules, 'flagOnly'>> = {
  refusedProducts: ['00606a000000'],
  acceptedTcbStatus: ['UpToDate'],
  minTcbDate: '2024-01-01',
  minTcbEvaluationNumber: 20,
  allowedChipIds: [encodeHex(instanceId)],
  maxCertificateAgeDays: 10_000,
  maxCrlAgeDays: 60,
  maxCollateralAgeDays: 60,
}

const brokenRules: readonly (readonly [name: string, rule: IntelRiskRules])[] = [
  ['a refused product', { refusedProducts: [fmspc] }],
  ['a TCB status that is not accepted', { acceptedTcbStatus: ['SWHardeningNeeded'] }],
  ['a TCB from before the earliest date', { minTcbDate: '2025-01-01' }],
  ['collateral from before the latest TCB recovery', { minTcbEvaluationNumber: 21 }],
  ['a platform that is not listed', { allowedChipIds: ['00'.repeat(16)] }],
  ['a certificate that is too old', { maxCertificateAgeDays: 1 }],
  ['a revocation list that is too old', { maxCrlAgeDays: 0 }],
  ['collateral that is too old', { maxCollateralAgeDays: 0 }],
]

function dcapWith(collateral: CollateralOptions, risk: IntelRiskRules = kept): Dcap {
  return createDcap({ root, collateral: fixedCollateral(intel.collateral(collateral)), risk })
}

/** Without the rule that refuses every status that Intel does not call up to date, revoked ones included. */
function withoutStatusRule({ acceptedTcbStatus: _, ...rules }: IntelRiskRules): IntelRiskRules {
  return rules
}

/** What rules, collateral and clock alone make wrong, whatever the evidence is. */
function platformFailures(
  scenario: MakeScenario,
  tee: IntelTee,
  verifier: (dcap: Dcap) => Verifier,
  revoked: () => JsonValue,
): Scenario[] {
  const served = (name: string, options: CollateralOptions) =>
    scenario(name, () => ({ verifier: verifier(dcapWith({ tee, ...options })) }))
  const asking = (name: string, change: Partial<VerificationRequest>) =>
    scenario(name, () => ({ request: { ...request, ...change } }))
  return [
    ...collateralDefects
      .filter(({ of }) => of === undefined || of === tee)
      .map(({ name }) => served(`collateral: ${name}`, { defect: name })),
    ...brokenRules.map(([name, rule]) =>
      scenario(name, () => ({ verifier: verifier(dcapWith({ tee }, { ...kept, ...rule })) })),
    ),
    served('a revoked platform', { revokedPcks: [platform.pck.serial] }),
    served('collateral of another platform', { fmspc: '00606a000000' }),
    scenario('a revoked TCB, and no rule on its status', () => ({
      evidence: revoked(),
      verifier: verifier(dcapWith({ tee }, withoutStatusRule(kept))),
    })),
    scenario('no collateral', () => ({
      verifier: verifier(createDcap({ root, collateral: fixedCollateral({}), risk: kept })),
    })),
    asking('report data of another session', { expectedReportData: randomBytes(48) }),
    asking('expected report data of 65 bytes', { expectedReportData: randomBytes(65) }),
    asking('a clock before all certificates', { now: new Date('2001-01-01T00:00:00Z') }),
    asking('a clock behind all certificates', { now: new Date('2090-01-01T00:00:00Z') }),
  ]
}

/** What is wrong with `quote` evidence of a TD or an enclave besides the quote itself. */
function documentFailures(
  scenario: MakeScenario,
  evidence: (options: { reportData: Uint8Array }) => JsonValue,
): Scenario[] {
  const base = evidence({ reportData }) as { quote: string }
  const with_ = (name: string, change: object) => scenario(name, () => ({ evidence: { ...base, ...change } }))
  return [
    with_('a quote that is not base64', { quote: '*' }),
    with_('a quote of ten bytes', { quote: Buffer.alloc(10).toString('base64') }),
    with_('a quote of more than 64 KiB', { quote: Buffer.alloc(65_537).toString('base64') }),
    scenario('init data of another guest', () => ({
      request: { ...request, expectedInitDataDigest: randomBytes(48) },
    })),
    scenario('expected report data of no bytes, and a quote without report data', () => ({
      evidence: evidence({ reportData: new Uint8Array(64) }),
      request: { ...request, expectedReportData: new Uint8Array() },
    })),
  ]
}

/** `tdx` with every option that adds a check, and evidence with an event log. */
export function tdxSubject(): Subject {
  const verifier = (dcap: Dcap) => createTdxVerifier({ dcap, requireEventLog: true })
  const log = virtualEventLog()
  const evidence = (options: Partial<TdEvidenceOptions> = {}) =>
    tdEvidence(platform, {
      reportData,
      mrConfigId: initDataDigest,
      eventLog: log.bytes,
      rtmrs: log.registers,
      ...options,
    })
  const genuine = { verifier: verifier(dcapWith({})), evidence: evidence(), request }
  const scenario = scenariosOf(genuine)
  return {
    genuine,
    failures: [
      ...quoteDefects
        .filter(({ of }) => of !== 'sgx')
        .map(({ name, of }) =>
          scenario(`quote: ${name}`, () => ({
            evidence: evidence({ defect: name, version: of === 'v5' ? 5 : 4 }),
          })),
        ),
      ...platformFailures(scenario, 'tdx', verifier, () => evidence({ defect: 'platform-revoked' })),
      ...documentFailures(scenario, evidence),
      scenario('no event log', () => ({ evidence: { ...evidence(), cc_eventlog: null } })),
      ...eventLogDefects.map((defect) =>
        scenario(`event log: ${defect}`, () => ({
          evidence: evidence({ eventLog: virtualEventLog({ defect }).bytes }),
        })),
      ),
    ],
  }
}

/** `sgx` with every option that adds a check. */
export function sgxSubject(): Subject {
  const verifier = (dcap: Dcap) => createSgxVerifier({ dcap })
  const evidence = (options: Partial<EnclaveEvidenceOptions> = {}) =>
    enclaveEvidence(platform, { reportData, configId: initDataDigest, ...options })
  const genuine = { verifier: verifier(dcapWith({ tee: 'sgx' })), evidence: evidence(), request }
  const scenario = scenariosOf(genuine)
  return {
    genuine,
    failures: [
      ...quoteDefects
        .filter(({ of }) => of === undefined || of === 'sgx')
        .map(({ name }) => scenario(`quote: ${name}`, () => ({ evidence: evidence({ defect: name }) }))),
      ...platformFailures(scenario, 'sgx', verifier, () => evidence({ defect: 'platform-revoked' })),
      ...documentFailures(scenario, evidence),
    ],
  }
}

/** A version 5 quote of Azure has a TDX 1.0 body, which has no current TCB. */
const ofCurrentTcb: readonly QuoteDefect[] = [
  'current-module-version',
  'current-level-low',
  'current-revoked',
]

/** `az-tdx-vtpm` with every option that adds a check. */
export function azureTdxSubject(): Subject {
  const verifier = (dcap: Dcap) => createAzureTdxVtpmVerifier({ dcap, minEvidenceVersion: 2 })
  const vm = createVirtualAzureTdxVm(platform)
  const digest = initDataDigest.subarray(0, 32)
  const evidence = (options: Partial<AzureTdxEvidenceOptions> = {}) =>
    vm.evidence({ reportData, initDataDigest: digest, ...options })
  const genuine = {
    verifier: verifier(dcapWith({})),
    evidence: evidence(),
    request: { ...request, expectedInitDataDigest: digest },
  }
  const scenario = scenariosOf(genuine)
  const defects = Object.keys({ ...vtpmDefects, ...azureTdxDefects }) as AzureTdxDefectName[]
  return {
    genuine,
    failures: [
      ...defects.map((defect) => scenario(defect, () => ({ evidence: evidence({ defect }) }))),
      ...quoteDefects
        .filter(({ name, of }) => of !== 'sgx' && !ofCurrentTcb.includes(name))
        .map(({ name, of }) =>
          scenario(`quote: ${name}`, () => ({
            evidence: evidence({ quoteDefect: name, quoteVersion: of === 'v5' ? 5 : 4 }),
          })),
        ),
      ...platformFailures(scenario, 'tdx', verifier, () => evidence({ quoteDefect: 'platform-revoked' })),
      scenario('a debug TD', () => ({
        evidence: evidence({ fields: { td_attributes: Uint8Array.of(1) } }),
      })),
      scenario('evidence of version 1', () => ({ evidence: evidence({ version: 1 }) })),
      scenario('no expected report data', () => ({ request: { now, expectedInitDataDigest: digest } })),
      scenario('init data of another guest', () => ({
        request: { ...request, expectedInitDataDigest: randomBytes(32) },
      })),
    ],
  }
}
