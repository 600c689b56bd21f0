/**
 * What must not be asked again yet. KDS throttles by client, and evidence that nobody has authenticated chooses what
 * is asked for: without this, one guest could use up the allowance of all (spec 03 §5.2, §12.9).
 */
import { DownloadRefused } from './download.ts'

const second = 1000
const minute = 60 * second

const absentFor = 10 * minute
const refusedFor = 5 * minute
const firstBackOff = 2 * second
const longestBackOff = 5 * minute
const longestRetryAfter = 60 * minute
const keysKept = 4096

export class FailureMemory {
  readonly #now: () => Date
  /** Key to the time until which it is not asked for. Oldest first. */
  readonly #keys = new Map<string, number>()
  #serverClosedUntil = 0
  #serverFailures = 0

  constructor(now: () => Date) {
    this.#now = now
  }

  /** Why `key` must not be asked for now; undefined when it may. */
  reasonToWait(key: string): string | undefined {
    const now = this.#now().getTime()
    if (now < this.#serverClosedUntil)
      return `server failed, next attempt in ${left(this.#serverClosedUntil, now)} s`
    const until = this.#keys.get(key)
    if (until !== undefined && now < until) return `failed before, next attempt in ${left(until, now)} s`
    return undefined
  }

  /** The server gave an answer that is one. */
  succeeded(): void {
    this.#serverFailures = 0
  }

  /**
   * Remembers a failed request. Any 4xx but 429 concerns the key alone; 429, 5xx and network failures open the
   * breaker for all keys, for as long as Retry-After says or twice as long each time.
   */
  failed(key: string, error: unknown): void {
    if (error instanceof DownloadRefused && error.status < 500 && error.status !== 429) {
      this.#serverFailures = 0
      this.#remember(key, error.status === 404 ? absentFor : refusedFor)
      return
    }
    this.#serverFailures += 1
    const backOff = Math.min(firstBackOff * 2 ** (this.#serverFailures - 1), longestBackOff)
    const asked = error instanceof DownloadRefused ? this.#retryAfter(error.retryAfter) : undefined
    this.#serverClosedUntil = this.#now().getTime() + Math.max(backOff, asked ?? 0)
  }

  /** The answer for `key` turned out not to be the right certificate. */
  refused(key: string): void {
    this.#remember(key, refusedFor)
  }

  #remember(key: string, duration: number): void {
    this.#keys.delete(key)
    this.#keys.set(key, this.#now().getTime() + duration)
    const oldest = this.#keys.keys().next()
    if (this.#keys.size > keysKept && oldest.done === false) this.#keys.delete(oldest.value)
  }

  /** Seconds or an HTTP date, in milliseconds from now. */
  #retryAfter(text: string | undefined): number | undefined {
    if (text === undefined) return undefined
    const wait = /^\d+$/.test(text) ? Number(text) * second : Date.parse(text) - this.#now().getTime()
    return Number.isFinite(wait) ? Math.min(Math.max(wait, 0), longestRetryAfter) : undefined
  }
}

function left(until: number, now: number): number {
  return Math.ceil((until - now) / second)
}
