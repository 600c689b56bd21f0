import { fail } from '../rejection.ts'
import { csvCertificateSize } from './hygon-certificate.ts'
import { numberFieldSize } from './hygon-number.ts'

/** Bytes of the report field in evidence, of the magic before it, and of the chip's serial number. */
export const reportDataFieldSize = 4096
export const reportMagicSize = 16
export const serialNumberSize = 64

/** The fields that both versions have, unmasked. Byte strings are in wire order. */
interface ReportFields {
  readonly userPubkeyDigest: Uint8Array
  readonly vmId: Uint8Array
  readonly vmVersion: Uint8Array
  readonly reportData: Uint8Array
  readonly mnonce: Uint8Array
  readonly measure: Uint8Array
  /** Guest policy bits. */
  readonly policy: number
  readonly sigUsage: number
  readonly sigAlgo: number
  /** What the PEK signed: of V1 the masked bytes. */
  readonly signedBytes: Uint8Array
  /** r and s, 72 bytes each. */
  readonly signature: Uint8Array
  /** The PEK certificate in the report; not signed by the report. */
  readonly pek: Uint8Array
  /** 64 bytes, NUL padded; not signed. */
  readonly serialNumber: Uint8Array
}

export interface ReportV1 extends ReportFields {
  readonly version: 1
  /** The mask, 4 bytes. It is not signed, so whoever holds a V1 report can shift every field by it (spec 04 §9.7). */
  readonly anonce: Uint8Array
}

export interface ReportV2 extends ReportFields {
  readonly version: 2
  readonly build: number
  readonly rtmrVersion: number
  readonly reserved0: Uint8Array
  /** rtmr0 to rtmr4, 32 bytes each. */
  readonly rtmrs: readonly [Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array]
  readonly reserved1: Uint8Array
}

export type AttestationReport = ReportV1 | ReportV2

const extendedMagic = 'ATTESTATION_EXT\0'

/**
 * The version of a report (spec 04 §9.1).
 * @param magic 16 bytes: zeros for V1, or the extension magic, with which `flags` tells the version.
 * @throws CheckFailure CSV_REPORT_UNSUPPORTED for another magic or other flags.
 */
export function reportVersion(magic: Uint8Array, flags: number): AttestationReport['version'] {
  if (magic.every((byte) => byte === 0)) return 1
  if (Buffer.from(magic).toString('latin1') !== extendedMagic) fail('CSV_REPORT_UNSUPPORTED', 'unknown magic')
  if (flags !== 0 && flags !== 1) fail('CSV_REPORT_UNSUPPORTED', `flags ${flags}`)
  return flags === 0 ? 1 : 2
}

/** Cuts a report of 4096 bytes into its fields (spec 04 §9.3). What stands behind the last field is not looked at. */
export function readReport(version: AttestationReport['version'], data: Uint8Array): AttestationReport {
  return version === 1 ? readV1(data) : readV2(data)
}

function readV1(data: Uint8Array): ReportV1 {
  const anonce = data.subarray(188, 192)
  // the mask starts anew at each field, but all fields begin at multiples of its four bytes
  const unmasked = data.slice(0, 188).map((byte, at) => byte ^ (anonce[at % 4] ?? 0))
  return {
    version: 1,
    ...commonFields(unmasked),
    anonce,
    signedBytes: data.subarray(0, 180),
    ...signerFields(data, 192, 336),
  }
}

function readV2(data: Uint8Array): ReportV2 {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  return {
    version: 2,
    ...commonFields(data),
    build: view.getUint32(188, true),
    rtmrVersion: view.getUint16(192, true),
    reserved0: data.subarray(194, 208),
    rtmrs: [rtmr(data, 0), rtmr(data, 1), rtmr(data, 2), rtmr(data, 3), rtmr(data, 4)],
    reserved1: data.subarray(368, 1024),
    signedBytes: data.subarray(0, 1024),
    ...signerFields(data, 1024, 1168),
  }
}

function rtmr(data: Uint8Array, index: number): Uint8Array {
  const start = 208 + index * 32
  return data.subarray(start, start + 32)
}

function commonFields(fields: Uint8Array) {
  const view = new DataView(fields.buffer, fields.byteOffset, fields.byteLength)
  return {
    userPubkeyDigest: fields.subarray(0, 32),
    vmId: fields.subarray(32, 48),
    vmVersion: fields.subarray(48, 64),
    reportData: fields.subarray(64, 128),
    mnonce: fields.subarray(128, 144),
    measure: fields.subarray(144, 176),
    policy: view.getUint32(176, true),
    sigUsage: view.getUint32(180, true),
    sigAlgo: view.getUint32(184, true),
  }
}

/** The signature, and the PEK certificate and serial number behind one another. */
function signerFields(data: Uint8Array, signature: number, pek: number) {
  const serialNumber = pek + csvCertificateSize
  return {
    signature: data.subarray(signature, signature + 2 * numberFieldSize),
    pek: data.subarray(pek, serialNumber),
    serialNumber: data.subarray(serialNumber, serialNumber + serialNumberSize),
  }
}
