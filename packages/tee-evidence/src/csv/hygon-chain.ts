import { fail } from '../rejection.ts'
import {
  caCertificateSize,
  csvCertificateSize,
  type HygonCertificate,
  type HygonKey,
  hygonKeyUsage,
  readCaCertificate,
  readCsvCertificate,
  verifyHygonCertificate,
} from './hygon-certificate.ts'

/** Bytes of HSK and CEK one behind the other, as the key service and the offline directory have them. */
export const hskCekSize = caCertificateSize + csvCertificateSize

declare const trusted: unique symbol

/** A root key certificate whose self-signature holds. Made by `hygonRoot`. */
export interface HygonRoot {
  readonly [trusted]: true
  readonly key: HygonKey
  readonly keyId: Uint8Array
}

/** HSK and CEK of one chip, in the right form; nothing is verified yet. */
export interface HskCek {
  readonly hsk: HygonCertificate
  readonly cek: HygonCertificate
}

/**
 * Makes a trust root of an HRK certificate, 832 bytes.
 * @throws CheckFailure CSV_CERT_MALFORMED or, for a wrong self-signature, CSV_CHAIN_INVALID.
 */
export function hygonRoot(certificate: Uint8Array): HygonRoot {
  const hrk = readCaCertificate(certificate.slice(), hygonKeyUsage.rootKey, 'HRK')
  if (!verifyHygonCertificate(hrk, hrk.key)) fail('CSV_CHAIN_INVALID', 'HRK is not self-signed')
  return { key: hrk.key, keyId: hrk.keyId } as HygonRoot
}

/**
 * Reads HSK and CEK, 832 and 2084 bytes.
 * @throws CheckFailure CSV_CERT_MALFORMED.
 */
export function readHskCek(bytes: Uint8Array): HskCek {
  if (bytes.length !== hskCekSize) {
    fail('CSV_CERT_MALFORMED', `HSK and CEK have ${bytes.length} bytes, not ${hskCekSize}`)
  }
  return {
    hsk: readCaCertificate(bytes.subarray(0, caCertificateSize), hygonKeyUsage.signingKey, 'HSK'),
    cek: readCsvCertificate(bytes.subarray(caCertificateSize), hygonKeyUsage.chipEndorsementKey, 'CEK'),
  }
}

/**
 * Requires that the root signed the HSK and the HSK the CEK, with the key ids that say so (spec 04 §9.5, step 6).
 * @throws CheckFailure CSV_CHAIN_INVALID.
 */
export function requireHskCekChain(root: HygonRoot, { hsk, cek }: HskCek): void {
  if (!sameBytes(hsk.signerKeyId, root.keyId))
    fail('CSV_CHAIN_INVALID', 'HSK names another signer than the root')
  if (!sameBytes(cek.signerKeyId, hsk.keyId))
    fail('CSV_CHAIN_INVALID', 'CEK names another signer than the HSK')
  if (!verifyHygonCertificate(hsk, root.key)) fail('CSV_CHAIN_INVALID', 'HSK is not signed by the root')
  if (!verifyHygonCertificate(cek, hsk.key, hygonKeyUsage.signingKey)) {
    fail('CSV_CHAIN_INVALID', 'CEK is not signed by the HSK')
  }
}

/**
 * Requires that the chip's CEK signed the PEK, in a slot that is meant for it.
 * @throws CheckFailure CSV_CHAIN_INVALID.
 */
export function requirePekSignature(pek: HygonCertificate, cek: HygonCertificate): void {
  if (!verifyHygonCertificate(pek, cek.key, hygonKeyUsage.chipEndorsementKey)) {
    fail('CSV_CHAIN_INVALID', 'PEK is not signed by the CEK')
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array | undefined): boolean {
  return b !== undefined && Buffer.compare(a, b) === 0
}
