/** A virtual SEV-SNP machine: firmware that writes and really signs reports, under virtual AMD roots. */
import { type KeyObject, randomBytes } from 'node:crypto'
import { type JsonObject, type JsonValue, jsonObject } from '@passport-kbs/protocol'
import {
  rootBundle,
  type Validity,
  type VirtualAmdRoots,
  type VirtualGeneration,
  virtualAmdRoots,
} from '../amd/authorities.ts'
import {
  type EndorsementKind,
  endorsementDraft,
  newEndorsementKey,
  writeEndorsementCertificate,
} from '../amd/endorsement-key.ts'
import {
  type ReportDraft,
  type ReportSignature,
  rawReport,
  signedReportBytes,
  signReport,
  type VirtualTcb,
} from '../amd/report-writer.ts'
import { certificateEntry } from './certificate-table.ts'
import { type SnpDefect, type SnpDefectName, snpDefects } from './snp-defects.ts'

export interface VirtualSnpMachineOptions {
  readonly generation?: VirtualGeneration
  /** Which key signs. Default `vcek`. */
  readonly endorsement?: EndorsementKind
  /** The time around which its certificates are valid. Default: now. */
  readonly now?: Date
  readonly tcb?: VirtualTcb
  /** Report version. Default 3, on Turin 5. */
  readonly version?: number
  /** Other validity periods for the authorities of its generation. */
  readonly authorityValidity?: Readonly<Partial<Record<'ark' | 'ask' | 'asvk', Validity>>>
}

export interface SnpEvidenceOptions {
  /** At most 64 bytes; padded with zeros as the guest does. */
  readonly reportData: Uint8Array
  /** 32, 48 or 64 bytes; cut to 32 as the guest does. Default: HOST_DATA is zero. */
  readonly initDataDigest?: Uint8Array
  /** Makes the evidence wrong in exactly this one way. */
  readonly defect?: SnpDefectName
  /** Default: only the VCEK or VLEK (and, for a VLEK, nothing else). `none` is a host without certificate table. */
  readonly certificates?: 'leaf' | 'all' | 'none'
}

export interface VirtualSnpMachine {
  readonly generation: VirtualGeneration
  readonly kind: EndorsementKind
  /** 64 bytes. */
  readonly chipId: Uint8Array
  readonly tcb: VirtualTcb
  readonly measurement: Uint8Array
  /** Trust roots of all generations, in the shape that verifiers take. */
  readonly roots: VirtualAmdRoots
  /** The correct leaf certificate, DER. */
  readonly endorsementCertificate: Uint8Array
  /** Evidence of tee `snp`. */
  evidence(options: SnpEvidenceOptions): JsonObject
  /** A raw report, 1184 bytes, as the Azure paravisor gets it. */
  report(change: (report: ReportDraft) => void): Buffer
  /** A leaf certificate for this machine's key that `defect` has made wrong, DER. */
  endorsementCertificateWith(defect: SnpDefect): Uint8Array
}

const cpuModels: Readonly<Record<VirtualGeneration, readonly [number, number]>> = {
  Milan: [0x19, 0x01],
  Genoa: [0x19, 0x11],
  Turin: [0x1a, 0x02],
}

const tcbs: Readonly<Record<VirtualGeneration, VirtualTcb>> = {
  Milan: { fmc: null, bootloader: 4, tee: 0, snp: 24, microcode: 219 },
  Genoa: { fmc: null, bootloader: 10, tee: 0, snp: 23, microcode: 84 },
  Turin: { fmc: 1, bootloader: 1, tee: 1, snp: 4, microcode: 81 },
}

/** Makes a machine with a chip, a measurement and an endorsement key of its own. */
export function createVirtualSnpMachine(options: VirtualSnpMachineOptions = {}): VirtualSnpMachine {
  return new Machine(options)
}

class Machine implements VirtualSnpMachine {
  readonly generation: VirtualGeneration
  readonly kind: EndorsementKind
  readonly chipId: Uint8Array
  readonly tcb: VirtualTcb
  readonly measurement: Uint8Array = randomBytes(48)
  readonly roots: VirtualAmdRoots
  readonly endorsementCertificate: Uint8Array
  readonly #version: number
  readonly #now: Date
  readonly #keys: { publicKey: KeyObject; privateKey: KeyObject }

  constructor(options: VirtualSnpMachineOptions) {
    this.generation = options.generation ?? 'Milan'
    this.kind = options.endorsement ?? 'vcek'
    this.tcb = options.tcb ?? tcbs[this.generation]
    this.chipId =
      this.generation === 'Turin' ? Buffer.concat([randomBytes(8), Buffer.alloc(56)]) : randomBytes(64)
    this.#version = options.version ?? (this.generation === 'Turin' ? 5 : 3)
    this.#now = options.now ?? new Date()
    this.#keys = newEndorsementKey()
    const bundle =
      options.authorityValidity === undefined
        ? {}
        : { [this.generation]: rootBundle(this.generation, options.authorityValidity) }
    this.roots = { ...virtualAmdRoots(), ...bundle }
    this.endorsementCertificate = this.endorsementCertificateWith({})
  }

  evidence(options: SnpEvidenceOptions): JsonObject {
    const defect: SnpDefect = options.defect === undefined ? {} : snpDefects[options.defect]
    const report = this.#reportDraft()
    report.reportData = paddedTo(64, options.reportData)
    report.hostData = paddedTo(32, options.initDataDigest?.subarray(0, 32) ?? new Uint8Array())
    defect.report?.(report, this)
    const signature = signReport(signedReportBytes(report, this.generation), this.#keys.privateKey)
    defect.signature?.(signature)
    const json = reportJson(report, signature, this.generation)
    const certificates = this.#certificateTable(options.certificates ?? 'leaf', defect)
    defect.certificates?.(certificates, this)
    const chain = options.certificates === 'none' && certificates.length === 0 ? null : certificates
    const evidence = jsonObject({ attestation_report: json, cert_chain: chain })
    defect.evidence?.(evidence, json)
    return evidence
  }

  report(change: (report: ReportDraft) => void): Buffer {
    const report = this.#reportDraft()
    change(report)
    const signed = signedReportBytes(report, this.generation)
    return rawReport(signed, signReport(signed, this.#keys.privateKey))
  }

  endorsementCertificateWith(defect: SnpDefect): Uint8Array {
    const { generation, kind, chipId, tcb } = this
    const subject = { generation, kind, chipId, tcb, publicKey: this.#keys.publicKey, now: this.#now }
    const draft = endorsementDraft(subject)
    defect.leaf?.(draft, this)
    return writeEndorsementCertificate(draft)
  }

  #reportDraft(): ReportDraft {
    const [cpuFamily, cpuModel] = cpuModels[this.generation]
    const tcb = () => ({ ...this.tcb })
    return {
      version: this.#version,
      guestSvn: 2,
      // ABI 0.31, SMT allowed, the reserved bit that is always 1.
      policy: 0x3001fn,
      familyId: paddedTo(16, Uint8Array.of(1)),
      imageId: paddedTo(16, Uint8Array.of(2)),
      vmpl: 0,
      sigAlgo: 1,
      currentTcb: tcb(),
      // Bit 6 has no public meaning and is set on real Turin machines.
      platformInfo: this.generation === 'Turin' ? 0x65n : 0x25n,
      keyInfo: this.kind === 'vcek' ? 0 : 1 << 2,
      reportData: Buffer.alloc(64),
      measurement: this.measurement,
      hostData: Buffer.alloc(32),
      idKeyDigest: Buffer.alloc(48),
      authorKeyDigest: Buffer.alloc(48),
      reportId: randomBytes(32),
      reportIdMa: Buffer.alloc(32, 0xff),
      reportedTcb: tcb(),
      cpuFamily,
      cpuModel,
      cpuStepping: 1,
      // Hosts that hand out VLEKs mask the chip.
      chipId: this.kind === 'vcek' ? this.chipId : Buffer.alloc(64),
      committedTcb: tcb(),
      current: { major: 1, minor: 55, build: 29 },
      committed: { major: 1, minor: 55, build: 29 },
      launchTcb: tcb(),
      launchMitVector: 0x3fn,
      currentMitVector: 0x3fn,
    }
  }

  #certificateTable(certificates: 'leaf' | 'all' | 'none', defect: SnpDefect): JsonObject[] {
    if (certificates === 'none') return []
    const leafDer =
      defect.leaf === undefined ? this.endorsementCertificate : this.endorsementCertificateWith(defect)
    const leaf = certificateEntry(this.kind.toUpperCase(), leafDer)
    if (certificates === 'leaf') return [leaf]
    const { ark, ask, asvk } = this.roots[this.generation]
    return [leaf, certificateEntry('ASK', this.kind === 'vcek' ? ask : asvk), certificateEntry('ARK', ark)]
  }
}

function paddedTo(size: number, bytes: Uint8Array): Uint8Array {
  if (bytes.length > size) throw new RangeError(`more than ${size} bytes`)
  return Buffer.concat([bytes, Buffer.alloc(size - bytes.length)])
}

function reportJson(
  report: ReportDraft,
  { r, s }: ReportSignature,
  generation: VirtualGeneration,
): JsonObject {
  const tcb = (version: VirtualTcb): JsonValue =>
    jsonObject({ ...version, fmc: generation === 'Turin' ? version.fmc : null })
  const hasCpuId = report.version >= 3
  const hasMitigations = report.version >= 5
  return jsonObject({
    version: report.version,
    guest_svn: report.guestSvn,
    policy: integerOf(report.policy),
    family_id: [...report.familyId],
    image_id: [...report.imageId],
    vmpl: report.vmpl,
    sig_algo: report.sigAlgo,
    current_tcb: tcb(report.currentTcb),
    plat_info: integerOf(report.platformInfo),
    key_info: report.keyInfo,
    report_data: [...report.reportData],
    measurement: [...report.measurement],
    host_data: [...report.hostData],
    id_key_digest: [...report.idKeyDigest],
    author_key_digest: [...report.authorKeyDigest],
    report_id: [...report.reportId],
    report_id_ma: [...report.reportIdMa],
    reported_tcb: tcb(report.reportedTcb),
    cpuid_fam_id: hasCpuId ? report.cpuFamily : null,
    cpuid_mod_id: hasCpuId ? report.cpuModel : null,
    cpuid_step: hasCpuId ? report.cpuStepping : null,
    chip_id: [...report.chipId],
    committed_tcb: tcb(report.committedTcb),
    current: jsonObject({ ...report.current }),
    committed: jsonObject({ ...report.committed }),
    launch_tcb: tcb(report.launchTcb),
    launch_mit_vector: hasMitigations ? integerOf(report.launchMitVector) : null,
    current_mit_vector: hasMitigations ? integerOf(report.currentMitVector) : null,
    signature: jsonObject({ r: [...r], s: [...s] }),
  })
}

function integerOf(value: bigint): number | bigint {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value
}
