import {
  type CsvEvidenceOptions,
  createVirtualHygonChip,
  createVirtualHygonRoot,
  csvEvidenceDefects,
  eventLogDefects,
  hygonCertificateDefects,
  type VirtualHygonChip,
  virtualEventLog,
} from '@passport-kbs/testing'
import {
  createCsvVerifier,
  type HygonCertificateSource,
  type HygonRiskRules,
  hskCekOffer,
  hygonRoot,
} from '../../src/index.ts'
import { type Subject, scenariosOf } from './subject.ts'

const root = createVirtualHygonRoot()
const trusted = hygonRoot(root.certificate)
const chip = createVirtualHygonChip({ root })
const reportData = new Uint8Array(48).fill(7)
const request = { now: new Date('2026-01-15T00:00:00Z'), expectedReportData: reportData }
const log = virtualEventLog({ banks: ['sm3'] })

/** Has these certificates, or none, for every chip. */
function sourceOf(hskCek: Uint8Array | null): HygonCertificateSource {
  return { name: 'key service', hskCek: async () => (hskCek === null ? undefined : hskCekOffer(hskCek)) }
}

/** Every rule, kept by this chip, whose firmware has build 2400. */
const kept: Required<Omit<HygonRiskRules, 'flagOnly'>> = { minBuild: 2400, allowedChipIds: [chip.chipId] }

function verifier(hskCek: Uint8Array | null = chip.hskCek, rule: HygonRiskRules = {}) {
  return createCsvVerifier({
    root: trusted,
    certificateSource: sourceOf(hskCek),
    minReportVersion: 2,
    requireEventLog: true,
    risk: { ...kept, ...rule },
  })
}

const evidence = (options: Partial<CsvEvidenceOptions> = {}, from: VirtualHygonChip = chip) =>
  from.evidence({ reportData, eventLog: log, ...options })

/** `csv` with every option that adds a check, and evidence with an event log. */
export function csvSubject(): Subject {
  const genuine = { verifier: verifier(), evidence: evidence(), request }
  const scenario = scenariosOf(genuine)
  const forged = (options: Partial<CsvEvidenceOptions>) => () => ({ evidence: evidence(options) })
  return {
    genuine,
    failures: [
      ...csvEvidenceDefects.map((defect) => scenario(defect, forged({ defect }))),
      ...hygonCertificateDefects.map((defect) =>
        scenario(defect, () => {
          const wrong = createVirtualHygonChip({ root, chipId: chip.chipId, keys: chip.keys, defect })
          return { verifier: verifier(wrong.hskCek), evidence: evidence({}, wrong) }
        }),
      ),
      ...eventLogDefects.map((defect) =>
        scenario(`event log: ${defect}`, () => {
          const { bytes } = virtualEventLog({ banks: ['sm3'], defect })
          return { evidence: evidence({ eventLog: { bytes, registers: log.registers } }) }
        }),
      ),
      scenario('no event log', () => ({ evidence: { ...evidence(), cc_eventlog: null } })),
      scenario('a report of version 1', forged({ version: 1 })),
      scenario('a debuggable guest', forged({ policy: 0x44 })),
      scenario('no certificates of the chip', () => ({ verifier: verifier(null) })),
      scenario('certificates of the chip cut short', () => ({
        verifier: verifier(chip.hskCek.subarray(0, 832)),
      })),
      scenario('firmware below the minimum', () => ({
        verifier: verifier(chip.hskCek, { minBuild: 2401 }),
      })),
      scenario('a chip that is not listed', () => ({
        verifier: verifier(chip.hskCek, { allowedChipIds: ['OTHER'] }),
      })),
      scenario('other-serial-number, which is listed', () => ({
        evidence: evidence({ defect: 'other-serial-number' }),
        verifier: verifier(chip.hskCek, { allowedChipIds: [chip.chipId, `${chip.chipId}X`] }),
      })),
      scenario('report data of another session', () => ({
        request: { ...request, expectedReportData: new Uint8Array(48) },
      })),
      scenario('expected init data', () => ({
        request: { ...request, expectedInitDataDigest: new Uint8Array(32) },
      })),
      scenario('expected report data of 65 bytes', () => ({
        request: { ...request, expectedReportData: new Uint8Array(65) },
      })),
      scenario('expected report data of no bytes, and a report without report data', () => ({
        evidence: evidence({ reportData: new Uint8Array(64) }),
        request: { ...request, expectedReportData: new Uint8Array() },
      })),
    ],
  }
}
