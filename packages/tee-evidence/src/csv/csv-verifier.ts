import type { JsonObject, JsonValue } from '@passport-kbs/protocol'
import { eventLogChecks, verifyEventLog } from '../eventlog/event-log-evidence.ts'
import { expectationCheck, requireReportData, requireUsableExpectations } from '../intel/report-binding.ts'
import { blamingSource, fail, failForOutage } from '../rejection.ts'
import { type HygonPlatform, type HygonRiskRules, hygonRisk } from '../risk/hygon-risk.ts'
import { type RiskAppraisal, withRisk } from '../risk/risk-rule.ts'
import {
  type Check,
  CheckRun,
  type VerificationRequest,
  type VerifiedEvidence,
  type Verifier,
  verifiedEvidence,
} from '../verifier.ts'
import { type AttestationReport, type ReportV2, readReport, reportVersion } from './attestation-report.ts'
import { csvChecks } from './csv-checks.ts'
import { csvClaims } from './csv-claims.ts'
import { type CsvEvidence, chipIdOf, csvEventLogBytes, readCsvEvidence } from './csv-evidence.ts'
import { hygonKeyUsage, hygonSm2Algorithm, verifyHygonSignature } from './hygon-certificate.ts'
import {
  type HskCekOffer,
  type HygonCertificateSource,
  HygonCertificatesUnavailable,
  hskCekOffer,
} from './hygon-certificate-source.ts'
import {
  HygonChainVerifier,
  type HygonRoot,
  hygonRoot,
  type PlatformKey,
  readHskCek,
  readPek,
} from './hygon-chain.ts'
import { hygonRootCertificate } from './hygon-root.ts'

export interface CsvVerifierOptions {
  /** Default: Hygon's root. */
  readonly root?: HygonRoot
  /** Looks up HSK and CEK when the guest sends none. Absent: such evidence is refused. */
  readonly certificateSource?: HygonCertificateSource
  /** 2 refuses V1 reports, which whoever holds one can shift (spec 04 §9.7). Default 1. */
  readonly minReportVersion?: 1 | 2
  /** Development only: accepts debuggable guests; `policy.nodbg` in the claims says so. */
  readonly allowDebug?: boolean
  /** Accepts an expected init-data digest although no report can carry one, as Trustee does. */
  readonly ignoreInitData?: boolean
  /** Refuses evidence without an event log, and V1 reports, which prove none. */
  readonly requireEventLog?: boolean
  /** What to refuse, or to flag, of genuine platforms. Default: nothing. */
  readonly risk?: HygonRiskRules
}

/** What a verifier makes once, for all evidence. */
interface Prepared {
  readonly checks: readonly Check[]
  readonly chains: HygonChainVerifier
  readonly risk: RiskAppraisal<HygonPlatform>
  /** Chips that the operator has listed, if any. */
  readonly listed: ReadonlySet<string>
}

/** Verifies `csv` evidence: a Hygon CSV attestation report V1 or V2 (spec 04 §9). */
export function createCsvVerifier(options: CsvVerifierOptions = {}): Verifier {
  const chains = new HygonChainVerifier(options.root ?? hygonRoot(hygonRootCertificate()))
  const risk = hygonRisk(options.risk ?? {})
  const listed = new Set(options.risk?.allowedChipIds)
  const checks = [...ownChecks, ...risk.checks]
  return {
    tee: 'csv',
    checks,
    verify: async (evidence, request) => [
      await verifyCsv(evidence, request, options, { checks, chains, risk, listed }),
    ],
  }
}

const ownChecks: readonly Check[] = [expectationCheck, ...csvChecks, ...eventLogChecks]

async function verifyCsv(
  input: JsonValue,
  request: VerificationRequest,
  options: CsvVerifierOptions,
  prepared: Prepared,
): Promise<VerifiedEvidence> {
  const { risk } = prepared
  const run = new CheckRun(prepared.checks)
  run.make('expected-values', () => requireUsableExpectations(request))
  const evidence = run.make('evidence-format', () => readCsvEvidence(input))
  const version = run.make('report-version', () => requireVersion(evidence, options))
  const log = run.make('event-log-member', () => eventLog(evidence, version, options))
  const report = readReport(version, evidence.reportData)
  const chipId = run.make('chip-id', () => chipIdOf(evidence.serialNumber))
  run.make('pek-copy', () => requireSame(evidence.pek, report.pek, 'CSV_PEK_MISMATCH'))
  run.make('serial-number-copy', () =>
    requireSame(evidence.serialNumber, report.serialNumber, 'CSV_SERIAL_MISMATCH'),
  )
  const pek = await verifyChain(run, evidence, chipId, options.certificateSource, prepared)
  run.make('report-algorithm', () => requireAlgorithm(report))
  run.make('report-signature', () => requireSignature(report, pek))
  if (report.version === 2) run.make('rtmr0', () => requireRtmr0(report))
  run.make('report-data', () => requireReportData(report.reportData, request.expectedReportData))
  run.make('init-data', () => requireNoInitData(request, options))
  run.make('debug', () => requireNoDebug(report, options))
  const claims: JsonObject = csvClaims(report, chipId)
  if (report.version === 2 && log !== undefined) {
    claims.uefi_event_logs = verifyEventLog(run, log, 'sm3', report.rtmrs.slice(1))
  }
  const build = report.version === 2 ? report.build : undefined
  const found = risk.appraise(run, { chipId, build }, request.now)
  return verifiedEvidence({
    tee: 'csv',
    teeClass: 'cpu',
    claims: withRisk(claims, found),
    passed: run.passed,
  })
}

function requireVersion(evidence: CsvEvidence, options: CsvVerifierOptions): AttestationReport['version'] {
  const version = reportVersion(evidence.magic, evidence.flags)
  const minimum = options.minReportVersion ?? 1
  if (version < minimum) {
    fail('EVIDENCE_VERSION_TOO_OLD', `report version ${version}; at least ${minimum} is required`)
  }
  return version
}

/** A V1 report has no registers: a log that comes with it proves nothing, and is not even decoded (spec 04 §9.5). */
function eventLog(
  evidence: CsvEvidence,
  version: AttestationReport['version'],
  options: CsvVerifierOptions,
): Uint8Array | undefined {
  const log = version === 2 ? csvEventLogBytes(evidence) : undefined
  if (log === undefined && options.requireEventLog === true) {
    fail('EVIDENCE_MALFORMED', 'a V2 report with cc_eventlog is required here')
  }
  return log
}

/** Gives the PEK, once HSK, CEK and PEK are a chain from the root. */
async function verifyChain(
  run: CheckRun,
  evidence: CsvEvidence,
  chipId: string,
  source: HygonCertificateSource | undefined,
  { chains, listed }: Prepared,
): Promise<PlatformKey> {
  // no signature covers the serial number: that a report comes from a listed chip, only that chip's own certificates prove
  const ownHskCek = listed.has(chipId) ? undefined : evidence.hskCek
  const offer = await run.makeAsync('chip-certificates', () => chipCertificates(ownHskCek, chipId, source))
  // what the guest itself brought is evidence; all else is what a source gave
  const judging = <T>(make: () => T): T =>
    offer.certificates === ownHskCek ? make() : blamingSource(() => refusing(offer, make))
  const hskCek = run.make('chip-certificate-format', () => judging(() => readHskCek(offer.certificates)))
  const pek = run.make('pek-format', () => readPek(evidence.pek))
  run.make('chip-chain', () => judging(() => chains.requireChip(hskCek)))
  offer.accept()
  run.make('pek-signature', () => chains.requirePek(hskCek, pek))
  return pek
}

async function chipCertificates(
  ownHskCek: Uint8Array | undefined,
  chipId: string,
  source: HygonCertificateSource | undefined,
): Promise<HskCekOffer> {
  if (ownHskCek !== undefined) return hskCekOffer(ownHskCek)
  const offer = await source?.hskCek(chipId).catch(failed)
  return offer ?? fail('CSV_CHAIN_UNAVAILABLE', `no source has HSK and CEK of chip ${chipId}`)
}

function failed(cause: unknown): never {
  if (!(cause instanceof HygonCertificatesUnavailable)) throw cause
  failForOutage('CSV_CHAIN_UNAVAILABLE', cause.message, cause)
}

/** Tells the source when what it offered does not pass. */
function refusing<T>(offer: HskCekOffer, make: () => T): T {
  try {
    return make()
  } catch (error) {
    offer.refuse()
    throw error
  }
}

function requireSame(
  given: Uint8Array,
  inReport: Uint8Array,
  code: 'CSV_PEK_MISMATCH' | 'CSV_SERIAL_MISMATCH',
): void {
  if (Buffer.compare(given, inReport) !== 0) fail(code, 'differs from the copy in the report')
}

function requireAlgorithm({ sigUsage, sigAlgo }: AttestationReport): void {
  if (sigUsage !== hygonKeyUsage.platformEndorsementKey || sigAlgo !== hygonSm2Algorithm) {
    fail('CSV_REPORT_ALGORITHM_UNSUPPORTED', `signer usage ${sigUsage}, algorithm ${sigAlgo}`)
  }
}

function requireSignature(report: AttestationReport, pek: PlatformKey): void {
  if (!verifyHygonSignature(pek.certificate.key, report.signedBytes, report.signature)) {
    fail('CSV_REPORT_SIGNATURE_INVALID', 'the PEK did not sign the report')
  }
}

function requireRtmr0({ rtmrs, measure }: ReportV2): void {
  if (Buffer.compare(rtmrs[0], measure) !== 0) fail('CSV_RTMR0_MISMATCH', 'rtmr0 is not the measurement')
}

function requireNoInitData(request: VerificationRequest, options: CsvVerifierOptions): void {
  if (request.expectedInitDataDigest !== undefined && options.ignoreInitData !== true) {
    fail('INIT_DATA_UNSUPPORTED', 'a CSV report cannot carry an init-data digest')
  }
}

function requireNoDebug({ policy }: AttestationReport, options: CsvVerifierOptions): void {
  if ((policy & 1) === 0 && options.allowDebug !== true)
    fail('DEBUG_NOT_ALLOWED', 'the guest can be debugged')
}
