import { StorageUnavailable } from '../key-value-store.ts'
import { SecretAccessRefused } from './secret-backend.ts'

export interface CachedReadsOptions {
  /** How long what was read serves, in milliseconds. */
  readonly ttlMs: number
  /** How much longer it serves while the place it is from cannot answer; 0: not at all. */
  readonly staleMs: number
  /** A monotonic clock in milliseconds. */
  readonly clock: () => number
}

/** How long a failure is the answer to all, so that an outage is not made worse by asking. */
const failureMs = 1_000
const mostEntries = 10_000

interface Entry {
  value: Uint8Array | undefined
  /** When it was read; undefined before the first answer. */
  readAt: number | undefined
  failure: { readonly error: unknown; readonly at: number } | undefined
  reading: Promise<void> | undefined
}

/** Keeps what was read, and that nothing was there; many who ask for one key at a time cost one read. */
export class CachedReads {
  readonly #options: CachedReadsOptions
  readonly #entries = new Map<string, Entry>()

  constructor(options: CachedReadsOptions) {
    this.#options = options
  }

  /** @throws whatever `read` throws */
  async get(key: string, read: () => Promise<Uint8Array | undefined>): Promise<Uint8Array | undefined> {
    const { clock, ttlMs, staleMs } = this.#options
    const entry = this.#entry(key)
    const age = () => (entry.readAt === undefined ? Number.POSITIVE_INFINITY : clock() - entry.readAt)
    if (age() < ttlMs) return entry.value
    if (entry.failure === undefined || clock() - entry.failure.at >= failureMs) {
      entry.reading ??= this.#read(entry, read).finally(() => {
        entry.reading = undefined
      })
      await entry.reading
    }
    if (entry.failure === undefined) return entry.value
    const { error } = entry.failure
    if (isOutage(error) && age() < ttlMs + staleMs) return entry.value
    throw error
  }

  /** After a write; a read that is under way does not count any more. */
  clear(): void {
    this.#entries.clear()
  }

  async #read(entry: Entry, read: () => Promise<Uint8Array | undefined>): Promise<void> {
    const startedAt = this.#options.clock()
    try {
      entry.value = await read()
      entry.readAt = startedAt
      entry.failure = undefined
    } catch (error) {
      entry.failure = { error, at: this.#options.clock() }
    }
  }

  /** The oldest gives way. */
  #entry(key: string): Entry {
    const known = this.#entries.get(key)
    if (known !== undefined) return known
    const [oldest] = this.#entries.keys()
    if (this.#entries.size >= mostEntries && oldest !== undefined) this.#entries.delete(oldest)
    const entry: Entry = { value: undefined, readAt: undefined, failure: undefined, reading: undefined }
    this.#entries.set(key, entry)
    return entry
  }
}

function isOutage(error: unknown): boolean {
  return error instanceof StorageUnavailable && !(error instanceof SecretAccessRefused)
}
