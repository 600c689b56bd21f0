import { encodeHex } from '@passport-kbs/protocol'
import { fail } from '../rejection.ts'
import {
  cutReport,
  type EnclaveReport,
  enclaveReport,
  reportSize,
  type TdReport,
  tdReport10,
  tdReport15,
} from './report-layout.ts'

/** Largest quote that is looked at, in bytes; real ones have 4.6 to 8 KB. */
export const maxQuoteBytes = 64 * 1024

const headerSize = 48
const intelQeVendor = '939a7233f79c4ca9940a0db3957f0607'
const ecdsaP256 = 2
const quoteVersions: Record<'tdx' | 'sgx', readonly number[]> = { sgx: [3], tdx: [4, 5] }
const teeTypes = { sgx: 0x00, tdx: 0x81 } as const

/** Certification data types (Intel SGX ECDSA quote library API, table 9). */
const qeReportCertificationData = 6
const pckCertificateChain = 5

/** What stands in the 48 header bytes, as views in wire order. */
export interface QuoteHeader {
  readonly version: Uint8Array
  readonly attKeyType: Uint8Array
  /** v4, v5: TEE type; v3: the zero "attestation key data". */
  readonly teeType: Uint8Array
  /** v4, v5: four reserved bytes; v3: QE SVN and PCE SVN, two bytes each. */
  readonly reserved: Uint8Array
  readonly vendorId: Uint8Array
  readonly userData: Uint8Array
}

/** The signature section of a quote; nothing in it is checked yet but the lengths. */
export interface QuoteSignatureData {
  /** r || s, 32 bytes each, big endian, over `Quote.signedBytes`. */
  readonly quoteSignature: Uint8Array
  /** x || y, 32 bytes each, big endian, P-256. */
  readonly attestationKey: Uint8Array
  readonly qeReportBytes: Uint8Array
  readonly qeReport: EnclaveReport
  /** r || s over `qeReportBytes`, by the PCK. */
  readonly qeReportSignature: Uint8Array
  readonly qeAuthenticationData: Uint8Array
  /** PEM certificates, leaf first, as they stand in the quote. */
  readonly pckChain: Uint8Array
}

interface QuoteParts {
  readonly header: QuoteHeader
  /** Header and body: what the attestation key signs. */
  readonly signedBytes: Uint8Array
  readonly signatureData: QuoteSignatureData
}

export interface TdQuote extends QuoteParts {
  readonly tee: 'tdx'
  readonly version: 4 | 5
  readonly body: TdReport
  /** Body type and size of version 5, wire order. */
  readonly bodyDescriptor?: { readonly type: Uint8Array; readonly size: Uint8Array }
}

export interface EnclaveQuote extends QuoteParts {
  readonly tee: 'sgx'
  readonly version: 3
  readonly body: EnclaveReport
}

/**
 * Cuts the 48 header bytes, the same for all versions (spec 04 §3.1).
 * @throws CheckFailure `QUOTE_MALFORMED` when the quote is too short or too long
 */
export function parseQuoteHeader(quote: Uint8Array): QuoteHeader {
  const fields = new QuoteReader(quote).take(headerSize, 'header')
  return {
    version: fields.subarray(0, 2),
    attKeyType: fields.subarray(2, 4),
    teeType: fields.subarray(4, 8),
    reserved: fields.subarray(8, 12),
    vendorId: fields.subarray(12, 28),
    userData: fields.subarray(28, 48),
  }
}

/**
 * Accepts the version and TEE type pairs of spec 04 §3.1: SGX 3 with 0, TDX 4 or 5 with 0x81.
 * @throws CheckFailure `QUOTE_VERSION_UNSUPPORTED` or `TEE_TYPE_MISMATCH`
 */
export function requireQuoteOf(tee: 'tdx' | 'sgx', header: QuoteHeader): void {
  const version = u16(header.version)
  if (!quoteVersions[tee].includes(version)) fail('QUOTE_VERSION_UNSUPPORTED', `quote version ${version}`)
  const teeType = u32(header.teeType)
  if (teeType !== teeTypes[tee]) fail('TEE_TYPE_MISMATCH', `TEE type 0x${teeType.toString(16)} is not ${tee}`)
}

/** @throws CheckFailure `ATT_KEY_TYPE_UNSUPPORTED` for all but ECDSA with P-256 */
export function requireP256AttestationKey(header: QuoteHeader): void {
  const type = u16(header.attKeyType)
  if (type !== ecdsaP256) fail('ATT_KEY_TYPE_UNSUPPORTED', `attestation key type ${type}`)
}

/** @throws CheckFailure `QE_VENDOR_UNSUPPORTED` for a quoting enclave that is not Intel's */
export function requireIntelQuotingEnclave(header: QuoteHeader): void {
  const vendor = encodeHex(header.vendorId)
  if (vendor !== intelQeVendor) fail('QE_VENDOR_UNSUPPORTED', `QE vendor ${vendor}`)
}

/**
 * Cuts a TDX quote, version 4 or 5, into its parts (spec 04 §3.2, §3.3). Every length is checked before it is used; bytes
 * behind the signature data must be zero. Verifies nothing.
 * @throws CheckFailure `QUOTE_MALFORMED`, `QUOTE_TRAILING_DATA`, `QUOTE_BODY_UNSUPPORTED`, `CERT_DATA_UNSUPPORTED`
 */
export function parseTdQuote(quote: Uint8Array, header: QuoteHeader): TdQuote {
  const reader = new QuoteReader(quote)
  reader.take(headerSize, 'header')
  if (u16(header.version) === 4) {
    const body = cutReport(reader.take(reportSize(tdReport10), 'body'), tdReport10)
    return { tee: 'tdx', version: 4, header, body, ...readSignature(reader, quote, 4) }
  }
  const bodyDescriptor = { type: reader.take(2, 'body type'), size: reader.take(4, 'body size') }
  const body = readVersion5Body(reader, u16(bodyDescriptor.type), u32(bodyDescriptor.size))
  return { tee: 'tdx', version: 5, header, bodyDescriptor, body, ...readSignature(reader, quote, 5) }
}

/**
 * Cuts an SGX quote, version 3, into its parts; as `parseTdQuote`.
 * @throws CheckFailure `QUOTE_MALFORMED`, `QUOTE_TRAILING_DATA`, `CERT_DATA_UNSUPPORTED`
 */
export function parseEnclaveQuote(quote: Uint8Array, header: QuoteHeader): EnclaveQuote {
  const reader = new QuoteReader(quote)
  reader.take(headerSize, 'header')
  const body = cutReport(reader.take(reportSize(enclaveReport), 'body'), enclaveReport)
  return { tee: 'sgx', version: 3, header, body, ...readSignature(reader, quote, 3) }
}

function readVersion5Body(reader: QuoteReader, type: number, size: number): TdReport {
  if (type !== 2 && type !== 3) fail('QUOTE_BODY_UNSUPPORTED', `body type ${type}`)
  const layout = type === 2 ? tdReport10 : tdReport15
  if (size !== reportSize(layout)) fail('QUOTE_MALFORMED', `body type ${type} cannot have ${size} bytes`)
  return cutReport(reader.take(size, 'body'), layout)
}

function readSignature(
  reader: QuoteReader,
  quote: Uint8Array,
  version: 3 | 4 | 5,
): Pick<QuoteParts, 'signedBytes' | 'signatureData'> {
  const signedBytes = quote.subarray(0, reader.offset)
  const length = u32(reader.take(4, 'signature data length'))
  const section = new QuoteReader(reader.take(length, 'signature data'))
  reader.expectZeroRest()
  const quoteSignature = section.take(64, 'quote signature')
  const attestationKey = section.take(64, 'attestation key')
  if (version !== 3) readCertificationHeader(section, qeReportCertificationData, 'certification data')
  const qeReportBytes = section.take(reportSize(enclaveReport), 'QE report')
  const qeReportSignature = section.take(64, 'QE report signature')
  const authenticationSize = u16(section.take(2, 'QE authentication data size'))
  const qeAuthenticationData = section.take(authenticationSize, 'QE authentication data')
  readCertificationHeader(section, pckCertificateChain, 'inner certification data')
  const signatureData: QuoteSignatureData = {
    quoteSignature,
    attestationKey,
    qeReportBytes,
    qeReport: cutReport(qeReportBytes, enclaveReport),
    qeReportSignature,
    qeAuthenticationData,
    pckChain: section.take(section.left, 'PCK chain'),
  }
  return { signedBytes, signatureData }
}

/** Type and size in front of certification data, which must reach exactly the end of what encloses it. */
function readCertificationHeader(section: QuoteReader, expectedType: number, what: string): void {
  const type = u16(section.take(2, `${what} type`))
  if (type !== expectedType) fail('CERT_DATA_UNSUPPORTED', `${what} has type ${type}`)
  const size = u32(section.take(4, `${what} size`))
  if (size !== section.left) fail('QUOTE_MALFORMED', `${what} says ${size} bytes, ${section.left} are there`)
}

/** Reads forward; a read behind the end is `QUOTE_MALFORMED`, never a short slice. */
class QuoteReader {
  readonly #bytes: Uint8Array
  #offset = 0

  constructor(bytes: Uint8Array) {
    if (bytes.length > maxQuoteBytes)
      fail('QUOTE_MALFORMED', `${bytes.length} bytes, at most ${maxQuoteBytes}`)
    this.#bytes = bytes
  }

  get offset(): number {
    return this.#offset
  }

  get left(): number {
    return this.#bytes.length - this.#offset
  }

  take(size: number, what: string): Uint8Array {
    if (size > this.left) fail('QUOTE_MALFORMED', `${what} needs ${size} bytes, ${this.left} are left`)
    this.#offset += size
    return this.#bytes.subarray(this.#offset - size, this.#offset)
  }

  expectZeroRest(): void {
    if (this.#bytes.subarray(this.#offset).some((byte) => byte !== 0))
      fail('QUOTE_TRAILING_DATA', 'non-zero bytes behind the signature data')
  }
}

function u16(bytes: Uint8Array): number {
  return Buffer.from(bytes.buffer, bytes.byteOffset, 2).readUInt16LE()
}

function u32(bytes: Uint8Array): number {
  return Buffer.from(bytes.buffer, bytes.byteOffset, 4).readUInt32LE()
}
