/** ATTESTATION_REPORT of the SEV-SNP firmware ABI (AMD 56860), 1184 bytes, little endian (spec 03 §3.2). */
import { fail } from '../rejection.ts'
import type { CpuId } from './generation.ts'

export const reportSize = 0x4a0
/** The signature covers the bytes before it. */
export const signedSize = 0x2a0

export interface FirmwareVersion {
  readonly major: number
  readonly minor: number
  readonly build: number
}

/** The fields of a report. TCB versions stay 8 raw bytes: their layout depends on the generation. */
export interface SnpReport {
  /** All 1184 bytes. */
  readonly raw: Uint8Array
  readonly version: number
  readonly guestSvn: number
  readonly policy: bigint
  readonly familyId: Uint8Array
  readonly imageId: Uint8Array
  readonly vmpl: number
  readonly signatureAlgorithm: number
  readonly currentTcb: Uint8Array
  readonly platformInfo: bigint
  readonly keyInfo: number
  readonly reportData: Uint8Array
  readonly measurement: Uint8Array
  readonly hostData: Uint8Array
  readonly idKeyDigest: Uint8Array
  readonly authorKeyDigest: Uint8Array
  readonly reportId: Uint8Array
  readonly reportIdMa: Uint8Array
  readonly reportedTcb: Uint8Array
  /** Both null before version 3. */
  readonly cpuId: CpuId
  readonly chipId: Uint8Array
  readonly committedTcb: Uint8Array
  readonly current: FirmwareVersion
  readonly committed: FirmwareVersion
  readonly launchTcb: Uint8Array
  /** Null before version 5. */
  readonly launchMitVector: bigint | null
  readonly currentMitVector: bigint | null
}

/**
 * Reads a raw report. Rejects with REPORT_MALFORMED (length) or REPORT_RESERVED_NONZERO (a reserved range that is
 * not zero, the padding behind the signature included). Any version is read; the caller decides which it takes.
 */
export function parseReport(raw: Uint8Array): SnpReport {
  if (raw.length !== reportSize) fail('REPORT_MALFORMED', `attestation report of ${raw.length} bytes`)
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength)
  const version = view.getUint32(0, true)
  for (const [from, to] of reservedRanges(version)) checkZero(raw, from, to)
  const bytes = (at: number, size: number) => raw.subarray(at, at + size)
  return {
    raw,
    version,
    guestSvn: view.getUint32(0x004, true),
    policy: view.getBigUint64(0x008, true),
    familyId: bytes(0x010, 16),
    imageId: bytes(0x020, 16),
    vmpl: view.getUint32(0x030, true),
    signatureAlgorithm: view.getUint32(0x034, true),
    currentTcb: bytes(0x038, 8),
    platformInfo: view.getBigUint64(0x040, true),
    keyInfo: view.getUint32(0x048, true),
    reportData: bytes(0x050, 64),
    measurement: bytes(0x090, 48),
    hostData: bytes(0x0c0, 32),
    idKeyDigest: bytes(0x0e0, 48),
    authorKeyDigest: bytes(0x110, 48),
    reportId: bytes(0x140, 32),
    reportIdMa: bytes(0x160, 32),
    reportedTcb: bytes(0x180, 8),
    cpuId: cpuIdOf(view, version),
    chipId: bytes(0x1a0, 64),
    committedTcb: bytes(0x1e0, 8),
    current: firmwareVersionAt(view, 0x1e8),
    committed: firmwareVersionAt(view, 0x1ec),
    launchTcb: bytes(0x1f0, 8),
    launchMitVector: version >= 5 ? view.getBigUint64(0x1f8, true) : null,
    currentMitVector: version >= 5 ? view.getBigUint64(0x200, true) : null,
  }
}

function reservedRanges(version: number): readonly (readonly [number, number])[] {
  return [
    [0x04c, 0x050],
    version >= 3 ? [0x18b, 0x1a0] : [0x188, 0x1a0],
    [0x1eb, 0x1ec],
    [0x1ef, 0x1f0],
    version >= 5 ? [0x208, signedSize] : [0x1f8, signedSize],
    // R and S are 72 bytes each; what follows is neither signed nor used.
    [0x330, reportSize],
  ]
}

function checkZero(raw: Uint8Array, from: number, to: number): void {
  for (let at = from; at < to; at += 1) {
    if (raw[at] !== 0) fail('REPORT_RESERVED_NONZERO', `reserved byte 0x${at.toString(16)} is not zero`)
  }
}

function cpuIdOf(view: DataView, version: number): CpuId {
  if (version < 3) return { family: null, model: null }
  return { family: view.getUint8(0x188), model: view.getUint8(0x189) }
}

/** On the wire: build, minor, major. */
function firmwareVersionAt(view: DataView, at: number): FirmwareVersion {
  return { build: view.getUint8(at), minor: view.getUint8(at + 1), major: view.getUint8(at + 2) }
}

export type SigningKey = 'vcek' | 'vlek'

/** Versions 3 to 5. In version 2 the product cannot be told. Rejects with REPORT_VERSION_UNSUPPORTED. */
export function checkReportVersion(version: number): void {
  if (version < 3 || version > 5) fail('REPORT_VERSION_UNSUPPORTED', `attestation report version ${version}`)
}

/** 1 = ECDSA P-384 with SHA-384. Rejects with SIGNATURE_ALGO_UNSUPPORTED. */
export function checkSignatureAlgorithm(algorithm: number): void {
  if (algorithm !== 1) fail('SIGNATURE_ALGO_UNSUPPORTED', `signature algorithm ${algorithm}`)
}

/**
 * The key class named in KEY_INFO (spec 03 §3.4): bit 1 MASK_CHIP_KEY, bits 4:2 SIGNING_KEY.
 * Rejects with SIGNING_KEY_UNSUPPORTED when the firmware did not sign, or with an unknown key.
 */
export function signingKeyOf(keyInfo: number): SigningKey {
  if ((keyInfo & 0b10) !== 0)
    fail('SIGNING_KEY_UNSUPPORTED', 'MASK_CHIP_KEY is set: the report is not signed')
  const key = (keyInfo >>> 2) & 0b111
  if (key > 1) fail('SIGNING_KEY_UNSUPPORTED', `signing key ${key}`)
  return key === 0 ? 'vcek' : 'vlek'
}

/** Bits of POLICY that claims and gates use (spec 03 §3.4). */
export const policyBit = { smt: 16n, migrateMa: 18n, debug: 19n, singleSocket: 20n } as const

/** Bits of PLATFORM_INFO that claims use. Unknown bits are no reason to reject. */
export const platformBit = { smt: 0n, tsme: 1n } as const

export function hasBit(field: bigint, bit: bigint): boolean {
  return ((field >> bit) & 1n) === 1n
}

/** Rejects with DEBUG_NOT_ALLOWED. */
export function checkDebugGate(report: SnpReport): void {
  if (hasBit(report.policy, policyBit.debug)) {
    fail('DEBUG_NOT_ALLOWED', 'the guest policy allows debugging')
  }
}
