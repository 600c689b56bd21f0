import { type KeyObject, verify } from 'node:crypto'
import { fail } from '../rejection.ts'
import { type SnpReport, signedSize } from './report.ts'

const componentSize = 72
const scalarSize = 48

/** Order of the P-384 group, big endian (SEC 2, §2.5.1). */
const groupOrder = Buffer.from(
  'ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973',
  'hex',
)

/**
 * ECDSA P-384 with SHA-384 over the first 672 bytes of the report (spec 03 §3.5). R and S are 72-byte little-endian
 * integers. Rejects with REPORT_SIGNATURE_INVALID.
 *
 * Synchronous on purpose: the thread pool costs a third of the multiplication itself in waking up, and a warm
 * verification consists of little else.
 */
export function checkReportSignature(report: SnpReport, key: KeyObject): void {
  const r = scalarAt(report.raw, signedSize)
  const s = scalarAt(report.raw, signedSize + componentSize)
  const signed = report.raw.subarray(0, signedSize)
  if (!verify('sha384', signed, { key, dsaEncoding: 'ieee-p1363' }, Buffer.concat([r, s]))) {
    fail('REPORT_SIGNATURE_INVALID', 'the report is not signed by the endorsement key')
  }
}

/** The component as 48 bytes big endian, when it is in 1..n-1. */
function scalarAt(raw: Uint8Array, at: number): Buffer {
  const component = raw.subarray(at, at + componentSize)
  const scalar = Buffer.from(component.subarray(0, scalarSize)).reverse()
  const tooLong = component.subarray(scalarSize).some((byte) => byte !== 0)
  if (tooLong || scalar.compare(groupOrder) >= 0 || scalar.every((byte) => byte === 0)) {
    fail('REPORT_SIGNATURE_INVALID', 'signature component outside the group')
  }
  return scalar
}
