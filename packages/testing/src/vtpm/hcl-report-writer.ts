/** The HCL report of an Azure paravisor (spec 03 §7). */

export type VirtualHclType = 'snp' | 'tdx'

/** Size of NV index 0x01400001 on current VMs. */
const nvSize = 2600

function u32(...values: readonly number[]): Buffer {
  return Buffer.concat(
    values.map((value) => {
      const bytes = Buffer.alloc(4)
      bytes.writeUInt32LE(value)
      return bytes
    }),
  )
}

/**
 * @param hardwareReport an SNP report (1184 bytes) or a TDREPORT (1024 bytes, zero-padded here)
 * @param variableData the exact bytes whose SHA-256 is in the hardware report data
 */
export function writeHclReport(
  type: VirtualHclType,
  hardwareReport: Uint8Array,
  variableData: Uint8Array,
): Buffer {
  const dataSize = 20 + variableData.length
  const report = Buffer.concat([
    Buffer.from('HCLA', 'latin1'),
    u32(2, 0x4c0 + dataSize, 2, 0),
    Buffer.alloc(12),
    hardwareReport,
    Buffer.alloc(1184 - hardwareReport.length),
    u32(dataSize, 1, type === 'snp' ? 2 : 4, 1, variableData.length),
    variableData,
  ])
  return Buffer.concat([report, Buffer.alloc(Math.max(0, nvSize - report.length))])
}
