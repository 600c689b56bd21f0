/** ATTESTATION_REPORT as firmware writes it: 1184 bytes, little endian (AMD 56860; spec 03 §3.2). */
import { type KeyObject, sign } from 'node:crypto'
import type { VirtualGeneration } from './authorities.ts'

export interface VirtualTcb {
  /** A number on Turin, null elsewhere. */
  fmc: number | null
  bootloader: number
  tee: number
  snp: number
  microcode: number
}

export interface VirtualFirmwareVersion {
  major: number
  minor: number
  build: number
}

/** All fields of a report; mutable, so that a defect can change one. */
export interface ReportDraft {
  version: number
  guestSvn: number
  policy: bigint
  familyId: Uint8Array
  imageId: Uint8Array
  vmpl: number
  sigAlgo: number
  currentTcb: VirtualTcb
  platformInfo: bigint
  keyInfo: number
  reportData: Uint8Array
  measurement: Uint8Array
  hostData: Uint8Array
  idKeyDigest: Uint8Array
  authorKeyDigest: Uint8Array
  reportId: Uint8Array
  reportIdMa: Uint8Array
  reportedTcb: VirtualTcb
  cpuFamily: number
  cpuModel: number
  cpuStepping: number
  chipId: Uint8Array
  committedTcb: VirtualTcb
  current: VirtualFirmwareVersion
  committed: VirtualFirmwareVersion
  launchTcb: VirtualTcb
  launchMitVector: bigint
  currentMitVector: bigint
}

/** Names the TCB bytes by position; a dash is a reserved byte. */
const tcbLayouts = {
  Milan: ['bootloader', 'tee', '-', '-', '-', '-', 'snp', 'microcode'],
  Genoa: ['bootloader', 'tee', '-', '-', '-', '-', 'snp', 'microcode'],
  Turin: ['fmc', 'bootloader', 'tee', 'snp', '-', '-', '-', 'microcode'],
} as const

function tcbBytes(tcb: VirtualTcb, generation: VirtualGeneration): Uint8Array {
  return Uint8Array.from(tcbLayouts[generation], (name) => (name === '-' ? 0 : (tcb[name] ?? 0)))
}

function firmwareBytes({ build, minor, major }: VirtualFirmwareVersion): Uint8Array {
  return Uint8Array.of(build, minor, major, 0)
}

function u32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

function u64(value: bigint): Uint8Array {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(value)
  return bytes
}

/** The 672 signed bytes, field after field. */
export function signedReportBytes(report: ReportDraft, generation: VirtualGeneration): Buffer {
  const tcb = (version: VirtualTcb) => tcbBytes(version, generation)
  const cpuid = report.version >= 3 ? [report.cpuFamily, report.cpuModel, report.cpuStepping] : [0, 0, 0]
  const hasMitigations = report.version >= 5
  const bytes = Buffer.concat([
    u32(report.version),
    u32(report.guestSvn),
    u64(report.policy),
    report.familyId,
    report.imageId,
    u32(report.vmpl),
    u32(report.sigAlgo),
    tcb(report.currentTcb),
    u64(report.platformInfo),
    u32(report.keyInfo),
    u32(0),
    report.reportData,
    report.measurement,
    report.hostData,
    report.idKeyDigest,
    report.authorKeyDigest,
    report.reportId,
    report.reportIdMa,
    tcb(report.reportedTcb),
    Uint8Array.from(cpuid),
    Buffer.alloc(21),
    report.chipId,
    tcb(report.committedTcb),
    firmwareBytes(report.current),
    firmwareBytes(report.committed),
    tcb(report.launchTcb),
    u64(hasMitigations ? report.launchMitVector : 0n),
    u64(hasMitigations ? report.currentMitVector : 0n),
    Buffer.alloc(152),
  ])
  if (bytes.length !== 0x2a0) throw new Error(`report draft of ${bytes.length} bytes`)
  return bytes
}

/** R and S, 72 bytes each, little endian. */
export interface ReportSignature {
  r: Uint8Array
  s: Uint8Array
}

/** ECDSA P-384 with SHA-384 over the signed bytes. */
export function signReport(signed: Uint8Array, key: KeyObject): ReportSignature {
  const signature = sign('sha384', signed, { key, dsaEncoding: 'ieee-p1363' })
  return { r: littleEndian(signature.subarray(0, 48)), s: littleEndian(signature.subarray(48)) }
}

function littleEndian(bigEndian: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(bigEndian).reverse(), Buffer.alloc(72 - bigEndian.length)])
}

/** All 1184 bytes. */
export function rawReport(signed: Uint8Array, { r, s }: ReportSignature): Buffer {
  return Buffer.concat([signed, r, s, Buffer.alloc(368)])
}
