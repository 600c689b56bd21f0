/** Evidence of `snp`: an attestation report as JSON and, often, the certificates of its key (spec 03 §3.1). */
import { isJsonObject, type JsonObject, type JsonValue } from '@passport-kbs/protocol'
import type { AmdGeneration, CpuId } from '../amd/generation.ts'
import { type FirmwareVersion, reportSize, signedSize } from '../amd/report.ts'
import { encodeTcbVersion, type TcbVersion } from '../amd/tcb-version.ts'
import { arrayOf, byteArrayOf, member, objectOf, u64Of, unsignedOf } from '../evidence-json.ts'
import { fail } from '../rejection.ts'

/** The report's members, type-checked. Names follow the JSON. */
export interface ReportFields {
  readonly version: number
  readonly guestSvn: number
  readonly policy: bigint
  readonly familyId: Uint8Array
  readonly imageId: Uint8Array
  readonly vmpl: number
  readonly sigAlgo: number
  readonly currentTcb: TcbVersion
  readonly platInfo: bigint
  readonly keyInfo: number
  readonly reportData: Uint8Array
  readonly measurement: Uint8Array
  readonly hostData: Uint8Array
  readonly idKeyDigest: Uint8Array
  readonly authorKeyDigest: Uint8Array
  readonly reportId: Uint8Array
  readonly reportIdMa: Uint8Array
  readonly reportedTcb: TcbVersion
  readonly cpuId: CpuId & { readonly stepping: number | null }
  readonly chipId: Uint8Array
  readonly committedTcb: TcbVersion
  readonly current: FirmwareVersion
  readonly committed: FirmwareVersion
  readonly launchTcb: TcbVersion
  readonly launchMitVector: bigint | null
  readonly currentMitVector: bigint | null
  readonly signatureR: Uint8Array
  readonly signatureS: Uint8Array
}

export type CertificateKind = 'ARK' | 'ASK' | 'VCEK' | 'VLEK'

export interface SuppliedCertificate {
  readonly kind: CertificateKind
  /** DER or PEM. */
  readonly data: Uint8Array
}

export interface SnpEvidence {
  readonly report: ReportFields
  /** Undefined when the evidence brings no list at all: only then is anything fetched. */
  readonly certificates: readonly SuppliedCertificate[] | undefined
}

const u32Max = 0xffff_ffff
const certificateCount = 16
/** Bounds what is copied; the limit of 16 KiB for a certificate in use is enforced where it is parsed. */
const tableEntryLimit = 1024 * 1024

/** Type-checks `snp` evidence. Rejects with EVIDENCE_MALFORMED. */
export function parseSnpEvidence(value: JsonValue): SnpEvidence {
  const evidence = objectOf(value, 'evidence')
  const report = objectOf(member(evidence, 'attestation_report'), 'attestation_report')
  return { report: parseReportFields(report), certificates: parseChain(member(evidence, 'cert_chain')) }
}

function parseReportFields(report: JsonObject): ReportFields {
  const u32 = (name: string) => unsignedOf(member(report, name), name, u32Max)
  const bytes = (name: string, length: number) => byteArrayOf(member(report, name), name, { length })
  const tcb = (name: string) => parseTcb(member(report, name), name)
  const signature = objectOf(member(report, 'signature'), 'signature')
  return {
    version: u32('version'),
    guestSvn: u32('guest_svn'),
    policy: u64Of(member(report, 'policy'), 'policy'),
    familyId: bytes('family_id', 16),
    imageId: bytes('image_id', 16),
    vmpl: u32('vmpl'),
    sigAlgo: u32('sig_algo'),
    currentTcb: tcb('current_tcb'),
    platInfo: u64Of(member(report, 'plat_info'), 'plat_info'),
    keyInfo: u32('key_info'),
    reportData: bytes('report_data', 64),
    measurement: bytes('measurement', 48),
    hostData: bytes('host_data', 32),
    idKeyDigest: bytes('id_key_digest', 48),
    authorKeyDigest: bytes('author_key_digest', 48),
    reportId: bytes('report_id', 32),
    reportIdMa: bytes('report_id_ma', 32),
    reportedTcb: tcb('reported_tcb'),
    cpuId: {
      family: optionalByte(report, 'cpuid_fam_id'),
      model: optionalByte(report, 'cpuid_mod_id'),
      stepping: optionalByte(report, 'cpuid_step'),
    },
    chipId: bytes('chip_id', 64),
    committedTcb: tcb('committed_tcb'),
    current: parseFirmwareVersion(member(report, 'current'), 'current'),
    committed: parseFirmwareVersion(member(report, 'committed'), 'committed'),
    launchTcb: tcb('launch_tcb'),
    launchMitVector: optionalU64(report, 'launch_mit_vector'),
    currentMitVector: optionalU64(report, 'current_mit_vector'),
    signatureR: byteArrayOf(member(signature, 'r'), 'signature.r', { length: 72 }),
    signatureS: byteArrayOf(member(signature, 's'), 'signature.s', { length: 72 }),
  }
}

function byteMember(object: JsonObject, path: string, name: string): number {
  return unsignedOf(member(object, name), `${path}.${name}`, 255)
}

function optionalByte(object: JsonObject, name: string): number | null {
  const value = member(object, name)
  return value === undefined || value === null ? null : unsignedOf(value, name, 255)
}

function optionalU64(object: JsonObject, name: string): bigint | null {
  const value = member(object, name)
  return value === undefined || value === null ? null : u64Of(value, name)
}

function parseTcb(value: JsonValue | undefined, path: string): TcbVersion {
  const tcb = objectOf(value, path)
  return {
    fmc: optionalByte(tcb, 'fmc'),
    bootloader: byteMember(tcb, path, 'bootloader'),
    tee: byteMember(tcb, path, 'tee'),
    snp: byteMember(tcb, path, 'snp'),
    microcode: byteMember(tcb, path, 'microcode'),
  }
}

function parseFirmwareVersion(value: JsonValue | undefined, path: string): FirmwareVersion {
  const version = objectOf(value, path)
  return {
    major: byteMember(version, path, 'major'),
    minor: byteMember(version, path, 'minor'),
    build: byteMember(version, path, 'build'),
  }
}

function parseChain(value: JsonValue | undefined): SuppliedCertificate[] | undefined {
  if (value === undefined || value === null) return undefined
  const entries = arrayOf(value, 'cert_chain', certificateCount)
  const certificates: SuppliedCertificate[] = []
  for (const [index, entry] of entries.entries()) {
    const path = `cert_chain[${index}]`
    const object = objectOf(entry, path)
    const kind = certificateKindOf(member(object, 'cert_type'), `${path}.cert_type`)
    const data = byteArrayOf(member(object, 'data'), `${path}.data`, { limit: tableEntryLimit })
    if (kind !== undefined) certificates.push({ kind, data })
  }
  for (const kind of ['ARK', 'ASK'] as const) {
    const count = certificates.filter((certificate) => certificate.kind === kind).length
    if (count > 1) fail('EVIDENCE_MALFORMED', `cert_chain has ${count} entries ${kind}`)
  }
  return certificates
}

/** Undefined for the kinds that a verifier has no use for. */
function certificateKindOf(value: JsonValue | undefined, path: string): CertificateKind | undefined {
  switch (value) {
    case 'ARK':
    case 'ASK':
    case 'VCEK':
    case 'VLEK':
      return value
    case 'CRL':
    case 'Empty':
      return undefined
    default:
      if (!isOther(value)) fail('EVIDENCE_MALFORMED', `${path} is unknown`)
      return undefined
  }
}

const uuid = /^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/

/** `{"OTHER": "<uuid>"}`, nothing beside it. */
function isOther(value: JsonValue | undefined): boolean {
  if (!isJsonObject(value) || Object.keys(value).length !== 1) return false
  return typeof value.OTHER === 'string' && uuid.test(value.OTHER)
}

/** `fmc` is a number in all four TCB versions on Turin and absent elsewhere. Rejects with EVIDENCE_MALFORMED. */
export function checkTcbForm(fields: ReportFields, generation: AmdGeneration): void {
  const { currentTcb, reportedTcb, committedTcb, launchTcb } = fields
  const wantsFmc = generation === 'Turin'
  for (const { fmc } of [currentTcb, reportedTcb, committedTcb, launchTcb]) {
    if ((fmc !== null) !== wantsFmc) {
      fail('EVIDENCE_MALFORMED', wantsFmc ? 'TCB version without fmc on Turin' : `fmc on ${generation}`)
    }
  }
}

/**
 * The 1184 bytes that the firmware signed, written from the JSON (spec 03 §3.6): reserved bytes zero, so that a report
 * whose reserved bytes were set cannot be represented and fails its signature.
 */
export function encodeReport(fields: ReportFields, generation: AmdGeneration): Uint8Array {
  const raw = new Uint8Array(reportSize)
  const view = new DataView(raw.buffer)
  const tcb = (at: number, version: TcbVersion) => raw.set(encodeTcbVersion(version, generation), at)
  view.setUint32(0x000, fields.version, true)
  view.setUint32(0x004, fields.guestSvn, true)
  view.setBigUint64(0x008, fields.policy, true)
  raw.set(fields.familyId, 0x010)
  raw.set(fields.imageId, 0x020)
  view.setUint32(0x030, fields.vmpl, true)
  view.setUint32(0x034, fields.sigAlgo, true)
  tcb(0x038, fields.currentTcb)
  view.setBigUint64(0x040, fields.platInfo, true)
  view.setUint32(0x048, fields.keyInfo, true)
  raw.set(fields.reportData, 0x050)
  raw.set(fields.measurement, 0x090)
  raw.set(fields.hostData, 0x0c0)
  raw.set(fields.idKeyDigest, 0x0e0)
  raw.set(fields.authorKeyDigest, 0x110)
  raw.set(fields.reportId, 0x140)
  raw.set(fields.reportIdMa, 0x160)
  tcb(0x180, fields.reportedTcb)
  raw.set([fields.cpuId.family ?? 0, fields.cpuId.model ?? 0, fields.cpuId.stepping ?? 0], 0x188)
  raw.set(fields.chipId, 0x1a0)
  tcb(0x1e0, fields.committedTcb)
  raw.set([fields.current.build, fields.current.minor, fields.current.major], 0x1e8)
  raw.set([fields.committed.build, fields.committed.minor, fields.committed.major], 0x1ec)
  tcb(0x1f0, fields.launchTcb)
  if (fields.version >= 5) {
    view.setBigUint64(0x1f8, fields.launchMitVector ?? 0n, true)
    view.setBigUint64(0x200, fields.currentMitVector ?? 0n, true)
  }
  raw.set(fields.signatureR, signedSize)
  raw.set(fields.signatureS, signedSize + 72)
  return raw
}
