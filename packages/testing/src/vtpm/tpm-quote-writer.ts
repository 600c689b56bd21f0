/** TPMS_ATTEST as a TPM 2.0 writes it, big endian (TPM 2.0 part 2 §10.12; spec 03 §8.1). */

export interface QuoteDraft {
  magic: number
  type: number
  qualifiedSigner: Uint8Array
  extraData: Uint8Array
  clock: bigint
  resetCount: number
  restartCount: number
  safe: number
  firmwareVersion: bigint
  selections: { hash: number; bitmap: Uint8Array }[]
  pcrDigest: Uint8Array
  /** Bytes behind the structure; a TPM writes none. */
  trailing: Uint8Array
}

function big(size: 1 | 2 | 4 | 8, value: number | bigint): Uint8Array {
  return Buffer.from(
    BigInt(value)
      .toString(16)
      .padStart(size * 2, '0'),
    'hex',
  )
}

function sized(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([big(2, bytes.length), bytes])
}

export function writeQuote(draft: QuoteDraft): Buffer {
  return Buffer.concat([
    big(4, draft.magic),
    big(2, draft.type),
    sized(draft.qualifiedSigner),
    sized(draft.extraData),
    big(8, draft.clock),
    big(4, draft.resetCount),
    big(4, draft.restartCount),
    big(1, draft.safe),
    big(8, draft.firmwareVersion),
    big(4, draft.selections.length),
    ...draft.selections.flatMap(({ hash, bitmap }) => [big(2, hash), big(1, bitmap.length), bitmap]),
    sized(draft.pcrDigest),
    draft.trailing,
  ])
}

/** TPMT_SIGNATURE around a raw RSASSA signature (spec 03 §8.2). */
export function marshalSignature(signature: Uint8Array, scheme = 0x0014, hash = 0x000b): Buffer {
  return Buffer.concat([big(2, scheme), big(2, hash), sized(signature)])
}

/** A bitmap of three bytes selecting the given PCRs. */
export function pcrBitmap(indexes: readonly number[]): Uint8Array {
  const bitmap = new Uint8Array(3)
  for (const index of indexes) bitmap[index >> 3] = (bitmap[index >> 3] ?? 0) | (1 << (index & 7))
  return bitmap
}
