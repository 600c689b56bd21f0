import { encodeHex, type JsonObject } from '@passport-kbs/protocol'
import type { AttestationReport, ReportV1, ReportV2 } from './attestation-report.ts'

/** Bits 0 to 7 of the guest policy; a set bit is the number 1 in the claims. */
const policyBits = ['nodbg', 'noks', 'es', 'nosend', 'domain', 'csv', 'csv3', 'asid_reuse'] as const

/**
 * The claims of a report (spec 04 §9.6), all fields unmasked.
 * @param chipId of the serial number, which no signature covers.
 */
export function csvClaims(report: AttestationReport, chipId: string): JsonObject {
  return {
    version: String(report.version),
    policy: policyClaims(report.policy),
    user_pubkey_digest: encodeHex(report.userPubkeyDigest),
    vm_id: encodeHex(report.vmId),
    vm_version: encodeHex(report.vmVersion),
    report_data: encodeHex(report.reportData),
    mnonce: encodeHex(report.mnonce),
    measure: encodeHex(report.measure),
    sig_usage: littleEndianHex(report.sigUsage),
    sig_algo: littleEndianHex(report.sigAlgo),
    serial_number: chipId,
    ...(report.version === 1 ? v1Claims(report) : v2Claims(report)),
  }
}

function v1Claims(report: ReportV1): JsonObject {
  return { anonce: encodeHex(report.anonce) }
}

function v2Claims(report: ReportV2): JsonObject {
  return {
    build: report.build,
    rtmr_version: report.rtmrVersion,
    reserved0: encodeHex(report.reserved0),
    ...Object.fromEntries(report.rtmrs.map((rtmr, index) => [`rtmr${index}`, encodeHex(rtmr)])),
    reserved1: encodeHex(report.reserved1),
  }
}

function policyClaims(policy: number): JsonObject {
  return {
    ...Object.fromEntries(policyBits.map((name, bit) => [name, (policy >>> bit) & 1])),
    hsk_version: (policy >>> 8) & 0xf,
    cek_version: (policy >>> 12) & 0xf,
    api_major: (policy >>> 16) & 0xff,
    api_minor: (policy >>> 24) & 0xff,
  }
}

function littleEndianHex(value: number): string {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return encodeHex(bytes)
}
