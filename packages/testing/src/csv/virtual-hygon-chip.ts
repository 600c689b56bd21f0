import { createHash, randomBytes } from 'node:crypto'
import { encodeBase64, type JsonObject, jsonObject } from '@passport-kbs/protocol'
import type { VirtualEventLog } from '../eventlog/virtual-event-log.ts'
import { caCertificateJson, csvCertificateJson } from './certificate-json.ts'
import {
  type CertificateFields,
  caCertificate,
  caSize,
  csvCertificate,
  signatureField,
  usage,
} from './hygon-layout.ts'
import { generateSm2Signer, type Sm2Signer } from './sm2-signer.ts'

/** Ways in which the certificates of a chip can be wrong, each in this one way only: what is changed is signed again. */
export const hygonCertificateDefects = [
  // the form of HSK or CEK
  'hsk-usage',
  'hsk-curve',
  'hsk-user-id-empty',
  'hsk-user-id-too-long',
  'cek-usage',
  'cek-algorithm',
  'cek-curve',
  'cek-user-id-too-long',
  // the form of the PEK
  'pek-usage',
  'pek-algorithm',
  'pek-curve',
  'pek-user-id-empty',
  // the chain
  'hsk-signer-id',
  'hsk-signature',
  'cek-signer-id',
  'cek-signature',
  'cek-slot-usage',
  'pek-signature',
  'pek-slot-usage',
] as const

export type HygonCertificateDefect = (typeof hygonCertificateDefects)[number]

/** Ways in which a report or the evidence around it can be wrong, each in this one way only. */
export const csvEvidenceDefects = [
  'pek-missing',
  'report-cut-short',
  'unknown-magic',
  'unknown-flags',
  'serial-number-with-path',
  'other-serial-number',
  'other-pek',
  'signer-usage',
  'signer-algorithm',
  'report-changed',
  'signed-by-cek',
  'signed-with-default-user-id',
  'signature-high-byte',
  'signature-zero',
  'rtmr0',
] as const

export type CsvEvidenceDefect = (typeof csvEvidenceDefects)[number]

export interface VirtualHygonChipOptions {
  /** 1 to 64 letters and digits. Default: VIRTUAL and random hexadecimal. */
  readonly chipId?: string
  /** Signs the HSK. Default: a new root. */
  readonly root?: VirtualHygonRoot
  /** Those of another chip, to certify the same keys differently. Default: new keys. */
  readonly keys?: HygonChipKeys
  readonly defect?: HygonCertificateDefect
}

export interface CsvEvidenceOptions {
  /** Default 2. */
  readonly version?: 1 | 2
  /** At most 64 bytes; zero-padded. */
  readonly reportData: Uint8Array
  /** 32 bytes; default: that of the virtual guest. */
  readonly measure?: Uint8Array
  /** Guest policy bits; default: nodbg, es, csv3. */
  readonly policy?: number
  /** Its SM3 registers become rtmr1 to rtmr4 of a V2 report. */
  readonly eventLog?: VirtualEventLog
  /** Whether HSK and CEK come with the evidence. Default true. */
  readonly withChain?: boolean
  readonly defect?: CsvEvidenceDefect
}

/** A root key certificate (HRK) of a test world. */
export interface VirtualHygonRoot {
  /** 832 bytes. */
  readonly certificate: Uint8Array
  readonly keyId: Uint8Array
  readonly signer: Sm2Signer
}

/** What the certificates of a chip certify. */
export interface HygonChipKeys {
  readonly hsk: Sm2Signer
  readonly cek: Sm2Signer
  readonly pek: Sm2Signer
  readonly hskKeyId: Uint8Array
}

/** A Hygon processor whose firmware signs reports under a test root. */
export interface VirtualHygonChip {
  readonly chipId: string
  readonly root: VirtualHygonRoot
  readonly keys: HygonChipKeys
  /** HSK and CEK as the key service returns them, 832 and 2084 bytes. */
  readonly hskCek: Uint8Array
  readonly pek: Uint8Array
  /** Evidence as the attestation agent of a guest on this chip sends it. */
  evidence(options: CsvEvidenceOptions): JsonObject
}

/** What the virtual guest was launched with; its `measure` and, in V2, its rtmr0. */
export const virtualCsvMeasure: Uint8Array = createHash('sm3').update('virtual CSV guest').digest()

/** A root of its own. */
export function createVirtualHygonRoot(): VirtualHygonRoot {
  const signer = generateSm2Signer('TEST-SSD-HRK')
  const keyId = randomBytes(16)
  const fields = { usage: usage.root, signerKeyId: keyId }
  return { certificate: caCertificate(signer, keyId, fields, { signer }), keyId, signer }
}

/** A chip with its own HSK, CEK and PEK. */
export function createVirtualHygonChip(options: VirtualHygonChipOptions = {}): VirtualHygonChip {
  const {
    chipId = `VIRTUAL${randomBytes(6).toString('hex')}`,
    root = createVirtualHygonRoot(),
    keys = newChipKeys(),
    defect,
  } = options
  const { hsk, cek, pek, hskKeyId } = keys
  const stranger = generateSm2Signer('TEST-STRANGER')
  const otherKeyId = randomBytes(16)
  const hskCertificate = caCertificate(
    hsk,
    hskKeyId,
    {
      usage: defect === 'hsk-usage' ? usage.chipEndorsement : usage.signing,
      signerKeyId: defect === 'hsk-signer-id' ? otherKeyId : root.keyId,
      ...fieldDefects('hsk', defect),
    },
    { signer: defect === 'hsk-signature' ? stranger : root.signer },
  )
  const cekCertificate = csvCertificate(
    cek,
    {
      usage: defect === 'cek-usage' ? usage.platformEndorsement : usage.chipEndorsement,
      signerKeyId: defect === 'cek-signer-id' ? otherKeyId : hskKeyId,
      ...fieldDefects('cek', defect),
    },
    {
      signer: defect === 'cek-signature' ? stranger : hsk,
      slotUsage: defect === 'cek-slot-usage' ? usage.ownerCa : usage.signing,
    },
  )
  const pekCertificate = csvCertificate(
    pek,
    {
      usage: defect === 'pek-usage' ? usage.keyExchange : usage.platformEndorsement,
      signerKeyId: Buffer.alloc(16),
      ...fieldDefects('pek', defect),
    },
    {
      signer: defect === 'pek-signature' ? stranger : cek,
      slotUsage: defect === 'pek-slot-usage' ? usage.ownerCa : usage.chipEndorsement,
    },
  )
  const hskCek = Buffer.concat([hskCertificate, cekCertificate])
  const chip = { chipId, root, keys, hskCek, pek: pekCertificate }
  return { ...chip, evidence: (evidence) => csvEvidence(chip, keys, evidence) }
}

function newChipKeys(): HygonChipKeys {
  return {
    hsk: generateSm2Signer('TEST-SSD-HSK'),
    cek: generateSm2Signer('TEST-SSD-CEK'),
    pek: generateSm2Signer('TEST-SSD-PEK'),
    hskKeyId: randomBytes(16),
  }
}

function fieldDefects(
  certificate: 'hsk' | 'cek' | 'pek',
  defect: HygonCertificateDefect | undefined,
): Partial<CertificateFields> {
  switch (defect?.startsWith(`${certificate}-`) ? defect.slice(4) : undefined) {
    case 'curve':
      return { curve: 1 }
    case 'algorithm':
      return { algorithm: 5 }
    case 'user-id-empty':
      return { userIdLength: 0 }
    case 'user-id-too-long':
      return { userIdLength: 255 }
    default:
      return {}
  }
}

type Certificates = Omit<VirtualHygonChip, 'evidence'>
type ReportKeys = Pick<HygonChipKeys, 'pek' | 'cek'>

function csvEvidence(chip: Certificates, keys: ReportKeys, options: CsvEvidenceOptions): JsonObject {
  const { version = 2, eventLog, withChain = true, defect } = options
  const data = version === 1 ? reportV1(chip, keys, options) : reportV2(chip, keys, options)
  const hskCek = jsonObject({
    hsk: caCertificateJson(chip.hskCek.subarray(0, caSize)),
    cek: csvCertificateJson(chip.hskCek.subarray(caSize)),
  })
  return jsonObject({
    attestation_report: jsonObject({
      magic: magicOf(version, defect),
      flags: defect === 'unknown-flags' ? 2 : version - 1,
      data: [...(defect === 'report-cut-short' ? data.subarray(0, 4095) : data)],
    }),
    cert_chain: jsonObject({
      ...(withChain ? { hsk_cek: hskCek } : {}),
      ...(defect === 'pek-missing' ? {} : { pek: csvCertificateJson(pekBeside(chip, defect)) }),
    }),
    serial_number: [...serialNumber(serialBeside(chip.chipId, defect))],
    cc_eventlog: eventLog === undefined ? null : encodeBase64(eventLog.bytes),
  })
}

function magicOf(version: 1 | 2, defect: CsvEvidenceDefect | undefined): number[] {
  if (defect === 'unknown-magic') return [...Buffer.from('ATTESTATION_EXU\0')]
  return version === 1 && defect !== 'unknown-flags'
    ? new Array<number>(16).fill(0)
    : [...Buffer.from('ATTESTATION_EXT\0')]
}

/** The PEK certificate in the evidence: with the defect, one that differs in a reserved byte that no signature covers. */
function pekBeside({ pek }: Certificates, defect: CsvEvidenceDefect | undefined): Uint8Array {
  const beside = Buffer.from(pek)
  if (defect === 'other-pek') beside.writeUInt8(1, 1300)
  return beside
}

function serialBeside(chipId: string, defect: CsvEvidenceDefect | undefined): string {
  if (defect === 'serial-number-with-path') return '../../etc/passwd'
  return defect === 'other-serial-number' ? `${chipId}X` : chipId
}

function serialNumber(chipId: string): Buffer {
  const field = Buffer.alloc(64)
  field.set(Buffer.from(chipId))
  return field
}

/** nodbg, es, csv3. */
const defaultPolicy = 0x45

/** Bytes 0 to 188, which both versions have, unmasked. */
function commonFields(options: CsvEvidenceOptions): Buffer {
  const { reportData, measure = virtualCsvMeasure, policy = defaultPolicy, defect } = options
  const fields = Buffer.alloc(188)
  fields.set(createHash('sm3').update('virtual guest owner').digest(), 0)
  fields.set(createHash('sm3').update('virtual vm').digest().subarray(0, 16), 32)
  fields.set(reportData, 64)
  fields.set(randomBytes(16), 128)
  fields.set(measure, 144)
  fields.writeUInt32LE(policy, 176)
  fields.writeUInt32LE(defect === 'signer-usage' ? usage.keyExchange : usage.platformEndorsement, 180)
  fields.writeUInt32LE(defect === 'signer-algorithm' ? 5 : 4, 184)
  return fields
}

function reportV1(chip: Certificates, keys: ReportKeys, options: CsvEvidenceOptions): Buffer {
  const data = Buffer.alloc(4096)
  const anonce = randomBytes(4)
  data.set(
    commonFields(options).map((byte, at) => byte ^ anonce.readUInt8(at % 4)),
    0,
  )
  data.set(anonce, 188)
  signReport(data, 180, 192, keys, options.defect)
  data.set(chip.pek, 336)
  data.set(serialNumber(serialInReport(chip.chipId, options.defect)), 2420)
  return data
}

function reportV2(chip: Certificates, keys: ReportKeys, options: CsvEvidenceOptions): Buffer {
  const data = Buffer.alloc(4096)
  data.set(commonFields(options), 0)
  data.writeUInt32LE(2400, 188)
  data.writeUInt16LE(1, 192)
  data.set(options.measure ?? virtualCsvMeasure, 208)
  if (options.defect === 'rtmr0') data.writeUInt8(data.readUInt8(208) ^ 1, 208)
  options.eventLog?.registers.forEach((register, position) => {
    data.set(register, 240 + 32 * position)
  })
  signReport(data, 1024, 1024, keys, options.defect)
  data.set(chip.pek, 1168)
  data.set(serialNumber(serialInReport(chip.chipId, options.defect)), 3252)
  return data
}

/** A path as serial number is the same in both copies, so that only its characters are wrong. */
function serialInReport(chipId: string, defect: CsvEvidenceDefect | undefined): string {
  return defect === 'serial-number-with-path' ? serialBeside(chipId, defect) : chipId
}

/** Signs `[0..signedSize)` and puts r and s at `offset`. */
function signReport(
  data: Buffer,
  signedSize: number,
  offset: number,
  { pek, cek }: ReportKeys,
  defect: CsvEvidenceDefect | undefined,
): void {
  const signer = defect === 'signed-by-cek' ? cek : pek
  const userId = defect === 'signed-with-default-user-id' ? '1234567812345678' : signer.userId
  data.set(signatureField(signer.sign(data.subarray(0, signedSize), userId)), offset)
  if (defect === 'signature-high-byte') data.writeUInt8(1, offset + 40)
  if (defect === 'signature-zero') data.fill(0, offset, offset + 144)
  // a byte of the VM id: it takes part in no other check
  if (defect === 'report-changed') data.writeUInt8(data.readUInt8(32) ^ 1, 32)
}
