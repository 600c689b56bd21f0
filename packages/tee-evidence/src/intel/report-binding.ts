import { timingSafeEqual } from 'node:crypto'
import { fail } from '../rejection.ts'
import type { Check, VerificationRequest } from '../verifier.ts'

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

/**
 * The quote carries the expected report data, zero-padded to 64 bytes. Absent: not compared.
 * @throws CheckFailure `REPORT_DATA_MISMATCH`
 */
export function requireReportData(actual: Uint8Array, expected: Uint8Array | undefined): void {
  if (expected !== undefined && !equalsPadded(actual, expected)) {
    fail('REPORT_DATA_MISMATCH', 'the report data is not the expected digest')
  }
}

/**
 * The quote carries the expected init-data digest in MRCONFIGID (48 bytes) or CONFIGID (64): a shorter digest is zero-padded,
 * a longer one cut, as Trustee does. Absent: not compared.
 * @throws CheckFailure `INIT_DATA_MISMATCH`
 */
export function requireInitData(actual: Uint8Array, expected: Uint8Array | undefined): void {
  if (expected !== undefined && !equalsPadded(actual, expected.subarray(0, actual.length))) {
    fail('INIT_DATA_MISMATCH', 'the configuration id is not the expected init-data digest')
  }
}

function equalsPadded(actual: Uint8Array, expected: Uint8Array): boolean {
  if (expected.length > actual.length) return false
  const padded = Buffer.alloc(actual.length)
  padded.set(expected)
  return timingSafeEqual(actual, padded)
}

/** Checks of the functions above, in the order in which `tdx` and `sgx` make them. */
export const expectationCheck: Check = {
  name: 'expected-values',
  source: 'spec 04 §7.2',
  codes: ['INPUT_INVALID'],
  protects: 'A value of unusable length would be padded or cut into one that matches too much.',
}

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
