import { createHash, type KeyObject, sign } from 'node:crypto'
import { pem } from './certificate.ts'
import {
  type EnclaveReportFields,
  encodeEnclaveReport,
  encodeTdReport,
  type TdReportFields,
} from './report.ts'

/** Everything that goes into a quote, before anything is signed. */
export interface QuoteParts {
  version: number
  attestationKeyType: number
  /** v4, v5: TEE type; v3: zero. */
  teeType: number
  reserved: Uint8Array
  vendorId: Uint8Array
  userData: Uint8Array
  /** Version 5 only. */
  bodyType?: number
  /** Replaces the true size of the body in the version 5 header. */
  bodySize?: number
  td?: { readonly layout: '1.0' | '1.5'; fields: TdReportFields }
  enclave?: { fields: EnclaveReportFields }
  attestationKey: KeyObject
  /** Replaces the public point of `attestationKey`. */
  attestationPoint?: Uint8Array
  /** Its report data is the hash of the attestation key unless given here. */
  qe: EnclaveReportFields
  authenticationData: Uint8Array
  pckKey: KeyObject
  chain: readonly Uint8Array[]
  /** Behind the PEM text; one NUL, as the quoting service leaves it. */
  chainSuffix: string
  outerType: number
  innerType: number
}

/** Where things are in an encoded quote, for changing it after it was signed. */
export interface QuoteOffsets {
  readonly body: number
  readonly signatureLength: number
  readonly signature: number
  readonly qeReport: number
  readonly qeSignature: number
  readonly authenticationData: number
  readonly end: number
}

/** Signs and encodes a quote of version 3, 4 or 5 (spec 04 §3). */
export function encodeQuote(parts: QuoteParts): { quote: Uint8Array; offsets: QuoteOffsets } {
  const signedBytes = Buffer.concat([header(parts), bodyDescriptor(parts), body(parts)])
  const point = parts.attestationPoint ?? publicPoint(parts.attestationKey)
  const qeReport = encodeEnclaveReport({ report_data: keyHash(point, parts.authenticationData), ...parts.qe })
  const inner = certificationData(
    parts.innerType,
    Buffer.from(pem(...parts.chain) + parts.chainSuffix, 'latin1'),
  )
  const certified = Buffer.concat([
    qeReport,
    rawSignature(qeReport, parts.pckKey),
    u16(parts.authenticationData.length),
    parts.authenticationData,
    inner,
  ])
  const outer = parts.version === 3 ? certified : certificationData(parts.outerType, certified)
  const signatureData = Buffer.concat([rawSignature(signedBytes, parts.attestationKey), point, outer])
  const quote = Buffer.concat([signedBytes, u32(signatureData.length), signatureData])
  const signature = signedBytes.length + 4
  const qeReportAt = signature + 128 + outer.length - certified.length
  const offsets = {
    body: signedBytes.length - body(parts).length,
    signatureLength: signedBytes.length,
    signature,
    qeReport: qeReportAt,
    qeSignature: qeReportAt + 384,
    authenticationData: qeReportAt + 384 + 64 + 2,
    end: quote.length,
  }
  return { quote, offsets }
}

function header(parts: QuoteParts): Uint8Array {
  return Buffer.concat([
    u16(parts.version),
    u16(parts.attestationKeyType),
    u32(parts.teeType),
    parts.reserved,
    parts.vendorId,
    parts.userData,
  ])
}

function bodyDescriptor(parts: QuoteParts): Uint8Array {
  if (parts.version !== 5) return new Uint8Array()
  return Buffer.concat([u16(parts.bodyType ?? 0), u32(parts.bodySize ?? body(parts).length)])
}

function body({ td, enclave }: QuoteParts): Uint8Array {
  return td === undefined ? encodeEnclaveReport(enclave?.fields ?? {}) : encodeTdReport(td.fields, td.layout)
}

function certificationData(type: number, content: Uint8Array): Uint8Array {
  return Buffer.concat([u16(type), u32(content.length), content])
}

/** What the report data of the quoting enclave begins with. */
export function keyHash(point: Uint8Array, authenticationData: Uint8Array): Uint8Array {
  return createHash('sha256').update(point).update(authenticationData).digest()
}

/** x || y, 32 bytes each, big endian. */
export function publicPoint(key: KeyObject): Uint8Array {
  const { x = '', y = '' } = key.export({ format: 'jwk' })
  return Buffer.concat([Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')])
}

function rawSignature(bytes: Uint8Array, key: KeyObject): Uint8Array {
  return sign('sha256', bytes, { key, dsaEncoding: 'ieee-p1363' })
}

export function u16(value: number): Uint8Array {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16LE(value)
  return bytes
}

export function u32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}
