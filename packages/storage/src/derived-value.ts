import type { KeyValueStore } from './key-value-store.ts'

/** Something made from stored bytes: a compiled policy, an imported key. */
export interface DerivedValue<T> {
  /** The value made from what the store held at most `maxAgeMs` ago. Throws `StorageUnavailable` when that cannot be known. */
  current(): Promise<T>
  /** The same, read now: after a write of one's own. */
  refresh(): Promise<T>
}

export interface DerivedValueOptions {
  /** How long another replica's write may go unseen, in milliseconds. */
  readonly maxAgeMs: number
  /** A monotonic clock in milliseconds. */
  readonly clock: () => number
}

/**
 * Makes a value when the stored bytes change and not when a request comes. Between reads the last value serves, for at
 * most `maxAgeMs`; a failed read is an error at once, never a reason to go on with an old policy.
 *
 * @param derive gets `undefined` where the store has no value; what it throws is thrown to every caller until the
 * stored bytes change.
 */
export function deriveFromStore<T>(
  store: KeyValueStore,
  key: string,
  derive: (bytes: Uint8Array | undefined) => T,
  { maxAgeMs, clock }: DerivedValueOptions,
): DerivedValue<T> {
  let made: { bytes: Uint8Array | undefined; result: () => T } | undefined
  let readAt = Number.NEGATIVE_INFINITY
  let reading: Promise<void> | undefined

  const read = async () => {
    const startedAt = clock()
    const bytes = await store.get(key)
    if (!made || !equalBytes(made.bytes, bytes)) made = { bytes, result: settle(() => derive(bytes)) }
    readAt = startedAt
  }
  const refresh = async () => {
    await read()
    return result()
  }
  const result = () => {
    if (!made) throw new Error('read() has completed, so a value has been made')
    return made.result()
  }
  const current = async () => {
    if (clock() - readAt >= maxAgeMs) {
      reading ??= read().finally(() => {
        reading = undefined
      })
      await reading
    }
    return result()
  }
  return { current, refresh }
}

function settle<T>(make: () => T): () => T {
  try {
    const value = make()
    return () => value
  } catch (error) {
    return () => {
      throw error
    }
  }
}

function equalBytes(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b
  return a.length === b.length && Buffer.compare(a, b) === 0
}
