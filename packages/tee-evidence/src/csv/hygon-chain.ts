import { createHash } from 'node:crypto'
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
import { RecentMap } from './recent-map.ts'

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
  /** 832 and 2084 bytes. */
  readonly bytes: Uint8Array
  readonly hsk: HygonCertificate
  readonly cek: HygonCertificate
}

/** The PEK of a platform, in the right form; its signature is not verified yet. */
export interface PlatformKey {
  /** 2084 bytes. */
  readonly bytes: Uint8Array
  readonly certificate: HygonCertificate
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
    bytes,
    hsk: readCaCertificate(bytes.subarray(0, caCertificateSize), hygonKeyUsage.signingKey, 'HSK'),
    cek: readCsvCertificate(bytes.subarray(caCertificateSize), hygonKeyUsage.chipEndorsementKey, 'CEK'),
  }
}

/**
 * Reads a PEK, 2084 bytes.
 * @throws CheckFailure CSV_CERT_MALFORMED.
 */
export function readPek(bytes: Uint8Array): PlatformKey {
  return { bytes, certificate: readCsvCertificate(bytes, hygonKeyUsage.platformEndorsementKey, 'PEK') }
}

/** Chips, and platforms, whose good signatures are remembered: a signature costs 2 ms, a hash some microseconds. */
const remembered = 512

/** Verifies the chain from a root to a platform key (spec 04 §9.5, step 6). */
export class HygonChainVerifier {
  readonly #root: HygonRoot
  /** Fingerprints of certificates that were verified together. */
  readonly #verified = new RecentMap<string, true>(remembered)

  constructor(root: HygonRoot) {
    this.#root = root
  }

  /**
   * Requires that the root signed the HSK and the HSK the CEK, and that the key ids say so.
   * @throws CheckFailure CSV_CHAIN_INVALID.
   */
  requireChip(hskCek: HskCek): void {
    this.#once([hskCek.bytes], () => requireChip(this.#root, hskCek))
  }

  /**
   * Requires that the chip's CEK signed the PEK, in a slot that is meant for it. The chip must have passed `requireChip`.
   * @throws CheckFailure CSV_CHAIN_INVALID.
   */
  requirePek({ bytes, cek }: HskCek, pek: PlatformKey): void {
    this.#once([bytes, pek.bytes], () => {
      if (!verifyHygonCertificate(pek.certificate, cek.key, hygonKeyUsage.chipEndorsementKey)) {
        fail('CSV_CHAIN_INVALID', 'PEK is not signed by the CEK')
      }
    })
  }

  /** Certificates have fixed sizes, so the hash of several, one behind the other, names them all. */
  #once(certificates: readonly Uint8Array[], require: () => void): void {
    const hash = createHash('sha256')
    for (const bytes of certificates) hash.update(bytes)
    const fingerprint = hash.digest('base64')
    if (this.#verified.get(fingerprint)) return
    require()
    this.#verified.set(fingerprint, true)
  }
}

function requireChip(root: HygonRoot, { hsk, cek }: HskCek): void {
  if (!sameBytes(hsk.signerKeyId, root.keyId))
    fail('CSV_CHAIN_INVALID', 'HSK names another signer than the root')
  if (!sameBytes(cek.signerKeyId, hsk.keyId))
    fail('CSV_CHAIN_INVALID', 'CEK names another signer than the HSK')
  if (!verifyHygonCertificate(hsk, root.key)) fail('CSV_CHAIN_INVALID', 'HSK is not signed by the root')
  if (!verifyHygonCertificate(cek, hsk.key, hygonKeyUsage.signingKey)) {
    fail('CSV_CHAIN_INVALID', 'CEK is not signed by the HSK')
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array | undefined): boolean {
  return b !== undefined && Buffer.compare(a, b) === 0
}
