/** A digest algorithm of the TCG registry that an event log may carry. */
export interface MeasurementAlgorithm {
  /** Identifier in the log (TCG algorithm registry, table 3). */
  readonly id: number
  /** Name in claims and policies. */
  readonly claimName: 'SHA-1' | 'SHA-256' | 'SHA-384' | 'SHA-512' | 'SM3'
  /** Name that node:crypto knows. */
  readonly hash: 'sha1' | 'sha256' | 'sha384' | 'sha512' | 'sm3'
  /** Bytes of a digest. */
  readonly size: number
}

const algorithms: readonly MeasurementAlgorithm[] = [
  { id: 0x04, claimName: 'SHA-1', hash: 'sha1', size: 20 },
  { id: 0x0b, claimName: 'SHA-256', hash: 'sha256', size: 32 },
  { id: 0x0c, claimName: 'SHA-384', hash: 'sha384', size: 48 },
  { id: 0x0d, claimName: 'SHA-512', hash: 'sha512', size: 64 },
  { id: 0x12, claimName: 'SM3', hash: 'sm3', size: 32 },
]

/** The algorithms of spec 04 §8.1 by their identifier. */
export const measurementAlgorithms: ReadonlyMap<number, MeasurementAlgorithm> = new Map(
  algorithms.map((algorithm) => [algorithm.id, algorithm]),
)

/** The bank that a TEE extends: SHA-384 for TDX, SM3 for CSV. SHA-1 never decides anything. */
export type MeasurementBank = Exclude<MeasurementAlgorithm['hash'], 'sha1'>
