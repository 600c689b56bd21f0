import { randomBytes } from 'node:crypto'
import { encodeHex, type JsonObject } from '@passport-kbs/protocol'
import {
  type AzureSnpDefectName,
  azureSnpDefects,
  createVirtualAzureSnpVm,
  createVirtualSnpMachine,
  type SnpDefectName,
  snpDefects,
  snpLeafDefects,
  snpReportDefects,
  virtualCrl,
  vtpmDefects,
} from '@passport-kbs/testing'
import {
  type AmdRiskRules,
  type AzureSnpVtpmPolicy,
  createAzureSnpVtpmVerifier,
  createSnpVerifier,
  type EndorsementSource,
  EndorsementUnavailable,
  type SnpPolicy,
} from '../../src/index.ts'
import { type Scenario, type Subject, scenariosOf } from './subject.ts'

const day = 86_400_000
const now = new Date('2026-03-01T12:00:00Z')
const afterDays = (days: number) => new Date(now.getTime() + days * day)
const reportData = randomBytes(48)
const initDataDigest = randomBytes(32)
const request = { now, expectedReportData: reportData, expectedInitDataDigest: initDataDigest }
const machine = createVirtualSnpMachine({ generation: 'Milan', now })
const vm = createVirtualAzureSnpVm({ generation: 'Milan', now })

/** A source of revocation lists that are five days old; with `undefined`, of none. */
function crlSource(revoked: readonly ('ask' | 'asvk')[] | undefined): EndorsementSource {
  return {
    name: 'lists',
    // biome-ignore lint/correctness/useYield: it has no certificates
    async *vceks() {
      throw new EndorsementUnavailable('no certificates here')
    },
    async crl({ generation }) {
      if (revoked === undefined) throw new EndorsementUnavailable('no list')
      return virtualCrl({ generation, revoked, thisUpdate: afterDays(-5), nextUpdate: afterDays(365) })
    },
  }
}

const genuineSource = crlSource([])

/** Every rule, kept by the chip with this id. */
const kept = (chipId: Uint8Array): Required<Omit<AmdRiskRules, 'flagOnly'>> => ({
  refusedProducts: ['Genoa', 'Turin'],
  minTcb: { Milan: { bootloader: machine.tcb.bootloader, snp: machine.tcb.snp } },
  allowedChipIds: [encodeHex(chipId)],
  maxCertificateAgeDays: 10_000,
  maxCrlAgeDays: 30,
})

const brokenRules: readonly (readonly [name: string, rule: AmdRiskRules])[] = [
  ['a refused product', { refusedProducts: ['Milan'] }],
  ['firmware below the minimum', { minTcb: { Milan: { snp: machine.tcb.snp + 1 } } }],
  ['a chip that is not listed', { allowedChipIds: ['11'.repeat(64)] }],
  ['a certificate that is too old', { maxCertificateAgeDays: 0 }],
  ['a revocation list that is too old', { maxCrlAgeDays: 4 }],
]

const strict = { rejectDebug: true, crlPolicy: 'require' } as const

function snpVerifier(rule: AmdRiskRules = {}, source = genuineSource) {
  const policy: SnpPolicy = { ...strict, risk: { ...kept(machine.chipId), ...rule } }
  return createSnpVerifier({ roots: machine.roots, endorsementSources: [source], policy })
}

/** Only Turin has the component that this defect raises. */
const otherGenerationOnly: readonly SnpDefectName[] = ['raised-fmc']

/** `snp` with every option that adds a check. */
export function snpSubject(): Subject {
  const evidence = machine.evidence({ reportData, initDataDigest })
  const genuine = { verifier: snpVerifier(), evidence, request }
  const scenario = scenariosOf(genuine)
  const defects = (Object.keys(snpDefects) as SnpDefectName[]).filter(
    (name) => !otherGenerationOnly.includes(name),
  )
  return {
    genuine,
    failures: [
      ...defects.map((defect) =>
        scenario(defect, () => ({ evidence: machine.evidence({ reportData, initDataDigest, defect }) })),
      ),
      ...brokenRules.map(([name, rule]) => scenario(name, () => ({ verifier: snpVerifier(rule) }))),
      ...revocations(scenario, (source) => snpVerifier({}, source)),
      ...requests(scenario),
      scenario('an init-data digest of 33 bytes', () => ({
        request: { ...request, expectedInitDataDigest: randomBytes(33) },
      })),
    ],
  }
}

function azureVerifier(rule: AmdRiskRules = {}, source = genuineSource) {
  const policy: AzureSnpVtpmPolicy = {
    ...strict,
    minEvidenceVersion: 2,
    risk: { ...kept(vm.machine.chipId), ...rule },
  }
  return createAzureSnpVtpmVerifier({ roots: vm.roots, endorsementSources: [source], policy })
}

/** `az-snp-vtpm` with every option that adds a check. */
export function azureSnpSubject(): Subject {
  const evidence = vm.evidence({ reportData, initDataDigest })
  const genuine = { verifier: azureVerifier(), evidence, request }
  const scenario = scenariosOf(genuine)
  const names = Object.keys({ ...vtpmDefects, ...azureSnpDefects, ...snpReportDefects, ...snpLeafDefects })
  const inapplicable: readonly string[] = [...otherGenerationOnly, 'other-report-data', 'other-init-data']
  const defects = (names as AzureSnpDefectName[]).filter((name) => !inapplicable.includes(name))
  return {
    genuine,
    failures: [
      ...defects.map((defect) =>
        scenario(defect, () => ({ evidence: vm.evidence({ reportData, initDataDigest, defect }) })),
      ),
      ...brokenRules.map(([name, rule]) => scenario(name, () => ({ verifier: azureVerifier(rule) }))),
      ...revocations(scenario, (source) => azureVerifier({}, source)),
      ...requests(scenario),
      ...azureForms(scenario),
    ],
  }
}

type MakeScenario = ReturnType<typeof scenariosOf>

function azureForms(scenario: MakeScenario): Scenario[] {
  const versionOne = (): JsonObject => vm.evidence({ reportData, initDataDigest, version: 1 })
  return [
    scenario('evidence of version 1', () => ({ evidence: versionOne() })),
    scenario('no expected report data', () => ({
      request: { now, expectedInitDataDigest: initDataDigest },
    })),
  ]
}

function revocations(
  scenario: MakeScenario,
  using: (source: EndorsementSource) => Subject['genuine']['verifier'],
) {
  return [
    scenario('a revoked intermediate', () => ({ verifier: using(crlSource(['ask'])) })),
    scenario('no revocation list', () => ({ verifier: using(crlSource(undefined)) })),
  ]
}

function requests(scenario: MakeScenario): Scenario[] {
  const asking = (name: string, change: object) =>
    scenario(name, () => ({ request: { ...request, ...change } }))
  return [
    asking('report data of another session', { expectedReportData: randomBytes(48) }),
    asking('expected report data of 65 bytes', { expectedReportData: randomBytes(65) }),
    asking('other init data', { expectedInitDataDigest: randomBytes(32) }),
    asking('a clock before all certificates', { now: new Date('2001-01-01T00:00:00Z') }),
    asking('a clock behind all certificates', { now: new Date('2090-01-01T00:00:00Z') }),
  ]
}
