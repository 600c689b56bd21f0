/**
 * One namespace of keys and byte values. Reads and writes are whole values; a write that has been acknowledged is
 * durable and is seen whole or not at all. Every method throws `StorageUnavailable` when the back end cannot answer.
 */
export interface KeyValueStore {
  get(key: string): Promise<Uint8Array | undefined>
  /** Writes and answers true; with `ifAbsent`, writes only where no value is, and answers whether it wrote. */
  set(key: string, value: Uint8Array, options?: { ifAbsent?: boolean }): Promise<boolean>
  /** Atomically replaces `expected` (undefined: no value) by `value`; false, and no change, when another value is there. */
  compareAndSet(key: string, expected: Uint8Array | undefined, value: Uint8Array): Promise<boolean>
  /** Several keys in one round trip, in the order asked. */
  getMany(keys: readonly string[]): Promise<readonly (Uint8Array | undefined)[]>
  /** Answers whether there was a value. */
  delete(key: string): Promise<boolean>
  /** All keys, sorted. */
  list(): Promise<readonly string[]>
}

/** A storage back end: namespaces as Trustee names them (`repository`, `kbs`, …; spec 01 §5.3). */
export interface Storage {
  namespace(name: string): KeyValueStore
  /** Resolves when the back end answers; rejects with `StorageUnavailable` otherwise. For readiness. */
  ping(): Promise<void>
  close(): Promise<void>
}

/** The back end cannot answer now: the request fails with 503, nothing is assumed. */
export class StorageUnavailable extends Error {
  override readonly name = 'StorageUnavailable'
}

/** The back end asks not to be asked again for a while. */
export class StorageBusy extends StorageUnavailable {
  readonly retryAfterMs: number
  constructor(message: string, retryAfterMs: number) {
    super(message)
    this.retryAfterMs = retryAfterMs
  }
}

/** The key or namespace cannot be stored: letters, digits and `-_./:` only, no empty or dot segments. */
export class InvalidStorageKey extends Error {
  override readonly name = 'InvalidStorageKey'
}
