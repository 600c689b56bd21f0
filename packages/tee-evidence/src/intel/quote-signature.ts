import { createHash, type KeyObject, verify } from 'node:crypto'
import { fail } from '../rejection.ts'
import { bytesEqual } from '../x509/certificate.ts'
import { p256KeyFromPoint } from './certificate-chain.ts'
import type { QuoteSignatureData } from './quote.ts'

/** The PCK signed the report of the quoting enclave. @throws CheckFailure `QE_REPORT_SIGNATURE_INVALID` */
export function verifyQeReportSignature(data: QuoteSignatureData, pckKey: KeyObject): void {
  if (!signedBy(pckKey, data.qeReportBytes, data.qeReportSignature)) {
    fail('QE_REPORT_SIGNATURE_INVALID', 'the QE report is not signed by the PCK of the chain')
  }
}

/**
 * The quoting enclave vouches for the attestation key: its report data is SHA-256(key || authentication data), then zeros.
 * @throws CheckFailure `QE_REPORT_DATA_MISMATCH`
 */
export function verifyAttestationKey(data: QuoteSignatureData): void {
  const expected = Buffer.alloc(64)
  createHash('sha256').update(data.attestationKey).update(data.qeAuthenticationData).digest().copy(expected)
  if (!bytesEqual(expected, data.qeReport.report_data)) {
    fail('QE_REPORT_DATA_MISMATCH', 'the QE report does not name this attestation key')
  }
}

/** The attestation key signed header and body. @throws CheckFailure `QUOTE_SIGNATURE_INVALID` */
export function verifyQuoteSignature(signedBytes: Uint8Array, data: QuoteSignatureData): void {
  let key: KeyObject
  try {
    key = p256KeyFromPoint(data.attestationKey)
  } catch (cause) {
    fail('QUOTE_SIGNATURE_INVALID', 'the attestation key is not a point of P-256', cause)
  }
  if (!signedBy(key, signedBytes, data.quoteSignature)) {
    fail('QUOTE_SIGNATURE_INVALID', 'the quote is not signed by its attestation key')
  }
}

function signedBy(key: KeyObject, bytes: Uint8Array, signature: Uint8Array): boolean {
  return verify('sha256', bytes, { key, dsaEncoding: 'ieee-p1363' }, signature)
}
