/** TPM 2.0 quotes: TPMS_ATTEST, the selected PCRs and the signature over both (spec 03 §8; TPM 2.0 part 2, §10.12). */
import { createHash, type KeyObject, verify } from 'node:crypto'
import { encodeHex, type JsonObject, jsonObject } from '@passport-kbs/protocol'
import { fail } from '../rejection.ts'

export const tpmMessageLimit = 1024
export const tpmSignatureLimit = 512
export const pcrCount = 24
export const pcrSize = 32

const attestMagic = 0xff544347
const attestQuote = 0x8018
const algorithmSha256 = 0x000b
const algorithmRsassa = 0x0014

export interface PcrSelection {
  /** TPM_ALG_ID of the bank: 0x000B is SHA-256. */
  readonly hash: number
  /** PCR i is bit (i mod 8) of byte (i div 8). */
  readonly bitmap: Uint8Array
}

/** TPMS_ATTEST of type TPM_ST_ATTEST_QUOTE. */
export interface TpmQuote {
  readonly qualifiedSigner: Uint8Array
  /** The nonce: what the guest gave as qualifying data. */
  readonly extraData: Uint8Array
  /** Milliseconds. */
  readonly clock: bigint
  readonly resetCount: number
  readonly restartCount: number
  readonly safe: boolean
  readonly firmwareVersion: bigint
  readonly pcrSelections: readonly PcrSelection[]
  readonly pcrDigest: Uint8Array
}

/** Reads a big-endian TPM structure; every overrun is TPM_QUOTE_MALFORMED. */
class TpmReader {
  readonly #view: DataView
  #offset = 0

  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  #advance(size: number): number {
    const at = this.#offset
    if (at + size > this.#view.byteLength) fail('TPM_QUOTE_MALFORMED', 'TPM structure is truncated')
    this.#offset = at + size
    return at
  }

  u8(): number {
    return this.#view.getUint8(this.#advance(1))
  }

  u16(): number {
    return this.#view.getUint16(this.#advance(2))
  }

  u32(): number {
    return this.#view.getUint32(this.#advance(4))
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#advance(8))
  }

  bytes(size: number): Uint8Array {
    const at = this.#advance(size)
    return new Uint8Array(this.#view.buffer, this.#view.byteOffset + at, size)
  }

  /** TPM2B: u16 size, then as many bytes. */
  sized(limit: number): Uint8Array {
    const size = this.u16()
    if (size > limit) fail('TPM_QUOTE_MALFORMED', `sized buffer of ${size} bytes`)
    return this.bytes(size)
  }

  end(): void {
    if (this.#offset !== this.#view.byteLength) fail('TPM_QUOTE_MALFORMED', 'bytes after the TPM structure')
  }
}

/**
 * Reads TPMS_ATTEST. Rejects with TPM_QUOTE_MALFORMED (magic, truncation, bytes left over, more than 16 selections)
 * or TPM_NOT_A_QUOTE (another type of attestation).
 */
export function parseTpmQuote(message: Uint8Array): TpmQuote {
  const reader = new TpmReader(message)
  if (reader.u32() !== attestMagic) fail('TPM_QUOTE_MALFORMED', 'wrong TPMS_ATTEST magic')
  const type = reader.u16()
  if (type !== attestQuote) fail('TPM_NOT_A_QUOTE', `TPMS_ATTEST type 0x${type.toString(16)}`)
  const qualifiedSigner = reader.sized(tpmMessageLimit)
  const extraData = reader.sized(64)
  const clock = reader.u64()
  const resetCount = reader.u32()
  const restartCount = reader.u32()
  const safe = reader.u8()
  if (safe > 1) fail('TPM_QUOTE_MALFORMED', `clock safe flag ${safe}`)
  const firmwareVersion = reader.u64()
  const pcrSelections = parseSelections(reader)
  const pcrDigest = reader.sized(64)
  reader.end()
  return {
    qualifiedSigner,
    extraData,
    clock,
    resetCount,
    restartCount,
    safe: safe === 1,
    firmwareVersion,
    pcrSelections,
    pcrDigest,
  }
}

function parseSelections(reader: TpmReader): PcrSelection[] {
  const count = reader.u32()
  if (count > 16) fail('TPM_QUOTE_MALFORMED', `${count} PCR selections`)
  const selections: PcrSelection[] = []
  for (let index = 0; index < count; index += 1) {
    selections.push({ hash: reader.u16(), bitmap: reader.bytes(reader.u8()) })
  }
  return selections
}

/** RSASSA-PKCS1-v1_5 with SHA-256 over the whole message, raw signature. Rejects with TPM_SIGNATURE_INVALID. */
export function checkQuoteSignature(key: KeyObject, message: Uint8Array, signature: Uint8Array): void {
  let valid = false
  try {
    valid = verify('sha256', message, key, signature)
  } catch (cause) {
    fail('TPM_SIGNATURE_INVALID', 'the quote signature cannot be checked', cause)
  }
  if (!valid) fail('TPM_SIGNATURE_INVALID', 'the quote is not signed by the attestation key')
}

/**
 * The raw RSA signature inside a TPMT_SIGNATURE: RSASSA with SHA-256, nothing behind it (spec 03 §8.2).
 * Rejects with TPM_SIGNATURE_INVALID.
 */
export function parseTpmtSignature(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (bytes.length < 6) fail('TPM_SIGNATURE_INVALID', 'TPMT_SIGNATURE is truncated')
  if (view.getUint16(0) !== algorithmRsassa) fail('TPM_SIGNATURE_INVALID', 'not an RSASSA signature')
  if (view.getUint16(2) !== algorithmSha256) fail('TPM_SIGNATURE_INVALID', 'not a signature over SHA-256')
  if (view.getUint16(4) !== bytes.length - 6) fail('TPM_SIGNATURE_INVALID', 'TPMT_SIGNATURE has a wrong size')
  return bytes.subarray(6)
}

/** extraData equals the expected value byte for byte, no padding. Rejects with TPM_NONCE_MISMATCH. */
export function checkNonce(quote: TpmQuote, expected: Uint8Array): void {
  if (Buffer.compare(quote.extraData, expected) !== 0) {
    fail('TPM_NONCE_MISMATCH', 'the quote was not made for the expected report data')
  }
}

/**
 * The quote covers exactly PCR 0..23 of the SHA-256 bank and 24 values came with it. Without this the index of
 * a value would be a mere list position, and a guest could pass off a resettable PCR as PCR 8 (spec 03 §12.1).
 * Rejects with PCR_SELECTION_UNSUPPORTED.
 */
export function checkPcrSelection(quote: TpmQuote, pcrs: readonly Uint8Array[]): void {
  const [selection, second] = quote.pcrSelections
  if (selection === undefined || second !== undefined) {
    fail('PCR_SELECTION_UNSUPPORTED', `${quote.pcrSelections.length} PCR selections, not one`)
  }
  const { hash, bitmap } = selection
  if (hash !== algorithmSha256 || encodeHex(bitmap) !== 'ffffff') {
    fail('PCR_SELECTION_UNSUPPORTED', `PCR bank 0x${hash.toString(16)}, bitmap ${encodeHex(bitmap)}`)
  }
  if (pcrs.length !== pcrCount || pcrs.some((pcr) => pcr.length !== pcrSize)) {
    fail('PCR_SELECTION_UNSUPPORTED', `${pcrs.length} PCR values, not ${pcrCount} of ${pcrSize} bytes`)
  }
}

/** SHA-256 over all PCR values in order is the digest in the quote. Rejects with PCR_DIGEST_MISMATCH. */
export function checkPcrDigest(quote: TpmQuote, pcrs: readonly Uint8Array[]): void {
  const digest = createHash('sha256').update(Buffer.concat(pcrs)).digest()
  if (!digest.equals(quote.pcrDigest)) {
    fail('PCR_DIGEST_MISMATCH', 'the PCR values do not have the digest in the quote')
  }
}

/**
 * PCR 8 was extended exactly once, with the 32-byte init-data digest: SHA-256(32 zero bytes || digest).
 * Rejects with INPUT_INVALID (another length) or INIT_DATA_MISMATCH.
 */
export function checkInitDataPcr(pcrs: readonly Uint8Array[], digest: Uint8Array): void {
  checkInitDataLength(digest)
  const expected = createHash('sha256').update(Buffer.alloc(pcrSize)).update(digest).digest()
  const pcr8 = pcrs[8]
  if (pcr8 === undefined || !expected.equals(pcr8)) {
    fail('INIT_DATA_MISMATCH', 'PCR 8 was not extended with the expected init-data digest')
  }
}

/** PCR 8 takes a SHA-256 digest only. Rejects with INPUT_INVALID. */
export function checkInitDataLength(digest: Uint8Array): void {
  if (digest.length !== pcrSize) {
    fail('INPUT_INVALID', `init-data digest of ${digest.length} bytes; a vTPM binds exactly ${pcrSize}`)
  }
}

/** `pcr00`..`pcr23` as lowercase hex, the form in which policies see them. */
export function pcrClaims(pcrs: readonly Uint8Array[]): JsonObject {
  const claims = jsonObject({})
  for (const [index, pcr] of pcrs.entries()) claims[`pcr${String(index).padStart(2, '0')}`] = encodeHex(pcr)
  return claims
}
