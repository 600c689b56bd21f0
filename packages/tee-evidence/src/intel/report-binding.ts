import { timingSafeEqual } from 'node:crypto'
import { fail } from '../rejection.ts'
import type { Check, CheckRun, VerificationRequest } from '../verifier.ts'

const reportDataSize = 64
const digestSizes = [32, 48, 64]

/** What the caller expects, with lengths checked. */
export type ExpectedBindings = Pick<VerificationRequest, 'expectedReportData' | 'expectedInitDataDigest'>

/** @throws CheckFailure `INPUT_INVALID` for expected values of unusable length (spec 04 §7.2) */
export function requireUsableExpectations({
  expectedReportData,
  expectedInitDataDigest,
}: ExpectedBindings): void {
  const size = expectedReportData?.length
  if (size !== undefined && (size < 1 || size > reportDataSize)) {
    fail('INPUT_INVALID', `expected report data of ${size} bytes`)
  }
  const digestSize = expectedInitDataDigest?.length
  if (digestSize !== undefined && !digestSizes.includes(digestSize)) {
    fail('INPUT_INVALID', `expected init-data digest of ${digestSize} bytes`)
  }
}

/** What a quote carries of its session and of its configuration. */
export interface QuotedBindings {
  /** 64 bytes. */
  readonly reportData: Uint8Array
  /** MRCONFIGID, 48 bytes, or CONFIGID, 64 bytes. */
  readonly configId: Uint8Array
}

/**
 * Makes the checks of `bindingChecks` for what the caller expects; nothing is said to have passed that was not compared
 * (spec 04 §7.2). Report data is zero-padded to 64 bytes; an init-data digest is zero-padded, or cut where it is longer than
 * the configuration id, as Trustee does.
 * @throws EvidenceRejected `REPORT_DATA_MISMATCH` or `INIT_DATA_MISMATCH`
 */
export function verifyBindings(run: CheckRun, quoted: QuotedBindings, expected: ExpectedBindings): void {
  const { expectedReportData: reportData, expectedInitDataDigest: digest } = expected
  if (reportData !== undefined) {
    run.make('report-data', () => requireReportData(quoted.reportData, reportData))
  }
  if (digest !== undefined) {
    run.make('init-data', () => {
      if (!equalsPadded(quoted.configId, digest.subarray(0, quoted.configId.length))) {
        fail('INIT_DATA_MISMATCH', 'the configuration id is not the expected init-data digest')
      }
    })
  }
}

/**
 * The report carries the expected report data, zero-padded to its 64 bytes. Absent: not compared.
 * @throws CheckFailure `REPORT_DATA_MISMATCH`
 */
export function requireReportData(actual: Uint8Array, expected: Uint8Array | undefined): void {
  if (expected !== undefined && !equalsPadded(actual, expected)) {
    fail('REPORT_DATA_MISMATCH', 'the report data is not the expected digest')
  }
}

function equalsPadded(actual: Uint8Array, expected: Uint8Array): boolean {
  if (expected.length > actual.length) return false
  const padded = Buffer.alloc(actual.length)
  padded.set(expected)
  return timingSafeEqual(actual, padded)
}

/** The check of `requireUsableExpectations`. */
export const expectationCheck: Check = {
  name: 'expected-values',
  source: 'spec 04 §7.2',
  codes: ['INPUT_INVALID'],
  protects: 'A value of unusable length would be padded or cut into one that matches too much.',
}

/** The checks of `verifyBindings`. */
export const bindingChecks: readonly Check[] = [
  {
    name: 'report-data',
    source: 'spec 04 §7.2',
    codes: ['REPORT_DATA_MISMATCH'],
    protects: 'A recorded quote could be replayed, or sent for a key that is not in the TEE.',
  },
  {
    name: 'init-data',
    source: 'spec 04 §7.2',
    codes: ['INIT_DATA_MISMATCH'],
    protects: 'The host could start the guest with another configuration than the one that was reviewed.',
  },
]
