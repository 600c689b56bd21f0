import { decodeHex, encodeUtf8 } from '@passport-kbs/protocol'
import { caCertificateSize } from './hygon-certificate.ts'

/**
 * Hygon's root key certificate HRK, 832 bytes, as csv-rs and Trustee carry it (`deps/verifier/src/csv/hrk.cert`).
 * SHA-256: 296efa97580464aca0ab5eefe42199ee05862182508d1629f29cf4dc175b10cd. All other bytes of the file are zero.
 */
const hrkFields: readonly (readonly [offset: number, bytes: Uint8Array])[] = [
  [0, decodeHex('01000000')],
  [4, decodeHex('3ae86a9701355cce333a589de21583d7')],
  [20, decodeHex('3ae86a9701355cce333a589de21583d7')],
  [64, decodeHex('03000000')],
  [68, decodeHex('2df6c2921df2f52a501fcd85e73509c8753a5609db02d7f34cf1a4624de162be')],
  [140, decodeHex('46b91eb4684d74384788beb9100c644a38954e16978b4f581570bb573a12ab3b')],
  [212, decodeHex('0d00')],
  [214, encodeUtf8('HYGON-SSD-HRK')],
  [576, decodeHex('2965ffee8ce048a0cb8e0b3be6ceb758099433628df7e60847c8be40a4dab6b1')],
  [648, decodeHex('50d76be34fbb2b857c56a351f323d581ab542549c6a1c9b546d3798ede21438e')],
]

/** The pinned root of all Hygon chips, 832 bytes (spec 04 §9.5). */
export function hygonRootCertificate(): Uint8Array {
  const certificate = new Uint8Array(caCertificateSize)
  for (const [offset, bytes] of hrkFields) certificate.set(bytes, offset)
  return certificate
}
