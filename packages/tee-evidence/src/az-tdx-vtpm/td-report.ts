import type { TdReport } from '../intel/report-layout.ts'
import { fail } from '../rejection.ts'
import { bytesEqual } from '../x509/certificate.ts'

/** Size of a TDREPORT_STRUCT (Intel TDX module ABI); the HCL report keeps it in an area of 1184 bytes. */
const tdReportSize = 1024
const tdReportType = 0x81
const reportDataAt = 0x080
const tdInfoAt = 0x200

/** TDINFO_STRUCT in the order of its bytes, by the names that a TD quote has for the same fields. */
const tdInfo = [
  ['td_attributes', 8],
  ['xfam', 8],
  ['mr_td', 48],
  ['mr_config_id', 48],
  ['mr_owner', 48],
  ['mr_owner_config', 48],
  ['rtmr_0', 48],
  ['rtmr_1', 48],
  ['rtmr_2', 48],
  ['rtmr_3', 48],
] as const satisfies readonly (readonly [keyof TdReport, number])[]

/**
 * Demands that the TDREPORT in the HCL report says the same as the body of the TD quote (spec 03 §10.3 step 8). It adds no
 * trust, but keeps evidence that contradicts itself out of logs and claims.
 * @param hardwareReport the 1184-byte hardware report area
 * @throws CheckFailure `TD_REPORT_MISMATCH` naming the first field that differs
 */
export function requireSameTdReport(hardwareReport: Uint8Array, quoted: TdReport): void {
  if (hardwareReport[0] !== tdReportType)
    fail('TD_REPORT_MISMATCH', `report type ${hardwareReport[0]} is not TDX`)
  requireField(hardwareReport, reportDataAt, 'report_data', quoted.report_data)
  let offset = tdInfoAt
  for (const [name, size] of tdInfo) {
    requireField(hardwareReport, offset, name, quoted[name])
    offset += size
  }
  if (hardwareReport.subarray(tdReportSize).some((byte) => byte !== 0)) {
    fail('TD_REPORT_MISMATCH', 'non-zero bytes behind the TDREPORT')
  }
}

function requireField(report: Uint8Array, offset: number, name: string, quoted: Uint8Array): void {
  if (!bytesEqual(report.subarray(offset, offset + quoted.length), quoted)) {
    fail('TD_REPORT_MISMATCH', `${name} differs between TDREPORT and TD quote`)
  }
}
