/**
 * The report that the paravisor of an Azure confidential VM leaves in the vTPM's NV index 0x01400001 (spec 03 §7).
 * Nothing in this envelope is authenticated; only the hardware report is, and through it the variable data.
 */
import { fail } from '../rejection.ts'

export type HclReportType = 'snp' | 'tdx'

export interface HclReport {
  readonly type: HclReportType
  /** 1184 bytes: an SNP report, or a TDREPORT (1024 bytes) and 160 further bytes. */
  readonly hardwareReport: Uint8Array
  /** The JSON text exactly as it was hashed. */
  readonly variableData: Uint8Array
}

const hclReportLimit = 64 * 1024
const variableDataLimit = 32 * 1024

const hardwareReportAt = 0x20
const dataHeaderAt = 0x4c0
const variableDataAt = 0x4d4
const dataHeaderSize = variableDataAt - dataHeaderAt
const reportTypes: Readonly<Record<HclReportType, number>> = { snp: 2, tdx: 4 }
const sha256HashType = 1

/**
 * Reads an HCL report of the given type. Integers are little endian.
 * Rejects with HCL_MALFORMED, HCL_REPORT_TYPE_UNSUPPORTED or HCL_HASH_TYPE_UNSUPPORTED.
 */
export function parseHclReport(bytes: Uint8Array, type: HclReportType): HclReport {
  if (bytes.length < variableDataAt) fail('HCL_MALFORMED', `HCL report has only ${bytes.length} bytes`)
  if (bytes.length > hclReportLimit) fail('HCL_MALFORMED', `HCL report has ${bytes.length} bytes`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint32(0) !== 0x48434c41) fail('HCL_MALFORMED', 'HCL report does not begin with HCLA')
  const variableSize = view.getUint32(0x4d0, true)
  checkSizes(view, variableSize)
  const reportType = view.getUint32(0x4c8, true)
  if (reportType !== reportTypes[type]) {
    fail('HCL_REPORT_TYPE_UNSUPPORTED', `HCL report type ${reportType}, not ${reportTypes[type]}`)
  }
  const hashType = view.getUint32(0x4cc, true)
  if (hashType !== sha256HashType) fail('HCL_HASH_TYPE_UNSUPPORTED', `HCL hash type ${hashType}`)
  return {
    type,
    hardwareReport: bytes.subarray(hardwareReportAt, dataHeaderAt),
    variableData: bytes.subarray(variableDataAt, variableDataAt + variableSize),
  }
}

function checkSizes(view: DataView, variableSize: number): void {
  if (variableSize < 1 || variableSize > variableDataLimit) {
    fail('HCL_MALFORMED', `variable data of ${variableSize} bytes`)
  }
  const dataSize = view.getUint32(dataHeaderAt, true)
  const reportSize = view.getUint32(8, true)
  if (dataSize !== dataHeaderSize + variableSize || reportSize !== dataHeaderAt + dataSize) {
    fail('HCL_MALFORMED', `sizes ${reportSize}, ${dataSize} and ${variableSize} contradict each other`)
  }
  if (variableDataAt + variableSize > view.byteLength) {
    fail('HCL_MALFORMED', 'variable data reaches past the end')
  }
}
