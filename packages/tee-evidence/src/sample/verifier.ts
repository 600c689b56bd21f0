/** `sample` and `sampledevice`: for development only. Nothing is verified but the nonce (spec 04 §10). */
import { encodeBase64, type JsonObject, type JsonValue, jsonObject, type Tee } from '@passport-kbs/protocol'
import { base64Of, member, objectOf, stringOf } from '../evidence-json.ts'
import { fail } from '../rejection.ts'
import {
  type Check,
  CheckRun,
  type VerificationRequest,
  type VerifiedEvidence,
  type Verifier,
  verifiedEvidence,
} from '../verifier.ts'

export interface SampleVerifierOptions {
  /**
   * Must be said in as many words. Default false: every evidence is TEE_NOT_ENABLED. Whoever enables it has checked
   * that the profile is `development` and that the TEE is listed.
   */
  readonly enabled?: boolean
}

const checks: readonly Check[] = [
  {
    name: 'enabled',
    source: 'spec 04 §10',
    codes: ['TEE_NOT_ENABLED'],
    protects: 'Anyone can write sample evidence.',
  },
  {
    name: 'evidence-format',
    source: 'spec 03 §2.4, spec 04 §10',
    codes: ['EVIDENCE_MALFORMED'],
    protects: 'Ambiguous input could be read one way here and another way elsewhere.',
  },
  {
    name: 'report-data',
    source: 'spec 02 §2.4, spec 04 §10',
    codes: ['INPUT_INVALID', 'REPORT_DATA_MISMATCH'],
    protects: 'Evidence could be taken for another session than its own.',
  },
]

interface SampleEvidence {
  readonly svn: string
  /** base64 as received: it is a claim. */
  readonly reportData: string
  readonly reportDataBytes: Uint8Array
}

const textLimit = 4096

/** The sample CPU TEE. */
export function createSampleVerifier(options: SampleVerifierOptions = {}): Verifier {
  return {
    tee: 'sample',
    checks,
    async verify(value, request) {
      const { evidence, passed } = verifySample(value, request, options, '')
      const claims = jsonObject({
        svn: evidence.svn,
        report_data: evidence.reportData,
        launch_digest: 'abcde',
        platform_version: jsonObject({ major: 1, minor: 4 }),
        debug: false,
      })
      // Reflected, not verified: there is nothing in sample evidence to compare it with.
      const { expectedInitDataDigest } = request
      if (expectedInitDataDigest !== undefined) claims.init_data = encodeBase64(expectedInitDataDigest)
      return [entry('sample', claims, passed)]
    },
  }
}

/** The sample device, which a guest sends beside its CPU evidence. */
export function createSampleDeviceVerifier(options: SampleVerifierOptions = {}): Verifier {
  return {
    tee: 'sampledevice',
    checks,
    async verify(value, request) {
      const { evidence, passed } = verifySample(value, request, options, undefined)
      const claims = jsonObject({ svn: evidence.svn, report_data: evidence.reportData })
      return [entry('sampledevice', claims, passed)]
    },
  }
}

function entry(tee: Tee, claims: JsonObject, passed: readonly string[]): VerifiedEvidence {
  return verifiedEvidence({ tee, teeClass: tee === 'sample' ? 'cpu' : 'gpu', claims, passed })
}

function verifySample(
  value: JsonValue,
  request: VerificationRequest,
  options: SampleVerifierOptions,
  defaultReportData: string | undefined,
): { readonly evidence: SampleEvidence; readonly passed: readonly string[] } {
  const run = new CheckRun(checks)
  run.make('enabled', () => {
    if (options.enabled !== true) fail('TEE_NOT_ENABLED', 'sample evidence is for development only')
  })
  const evidence = run.make('evidence-format', () => parseSample(value, defaultReportData))
  const { expectedReportData: expected } = request
  if (expected !== undefined) run.make('report-data', () => checkReportData(evidence, expected))
  return { evidence, passed: run.passed }
}

function parseSample(value: JsonValue, defaultReportData: string | undefined): SampleEvidence {
  const evidence = objectOf(value, 'evidence')
  const svn = stringOf(member(evidence, 'svn'), 'svn', textLimit)
  const given = member(evidence, 'report_data') ?? defaultReportData
  const reportData = stringOf(given, 'report_data', textLimit)
  return { svn, reportData, reportDataBytes: base64Of(reportData, 'report_data', textLimit) }
}

/** Byte for byte, no padding. */
function checkReportData(evidence: SampleEvidence, expected: Uint8Array): void {
  if (expected.length < 1 || expected.length > 64) {
    fail('INPUT_INVALID', `expected report data of ${expected.length} bytes`)
  }
  if (Buffer.compare(evidence.reportDataBytes, expected) !== 0) {
    fail('REPORT_DATA_MISMATCH', 'the evidence was not made for the expected report data')
  }
}
