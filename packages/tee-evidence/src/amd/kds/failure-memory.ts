/**
 * What must not be asked again yet. KDS throttles by client, and evidence that nobody has authenticated chooses what
 * is asked for: without this, one guest could use up the allowance of all (spec 03 §5.2, §12.9).
 */
import { DownloadRefused, saysAbsent } from './download.ts'

const second = 1000
const minute = 60 * second

const absentFor = 10 * minute
const refusedFor = 5 * minute
const firstBackOff = 2 * second
const longestBackOff = 5 * minute
const longestRetryAfter = 60 * minute
const keysKept = 4096

/** Why a key must not be asked for now. */
export interface ReasonToWait {
  readonly text: string
  /** The server has said that it has nothing. */
  readonly absent: boolean
}

interface KeyFailure {
  readonly until: number
  readonly absent: boolean
}

export class FailureMemory {
  readonly #now: () => Date
  /** Key to the failure for which it is not asked for. Oldest first. */
  readonly #keys = new Map<string, KeyFailure>()
  #serverClosedUntil = 0
  #serverFailures = 0

  constructor(now: () => Date) {
    this.#now = now
  }

  /** Why `key` must not be asked for now; undefined when it may. */
  reasonToWait(key: string): ReasonToWait | undefined {
    const now = this.#now().getTime()
    const known = this.#keys.get(key)
    const failure = known !== undefined && now < known.until ? known : undefined
    // what the server has said of a key stays said while it is down
    if (now < this.#serverClosedUntil && failure?.absent !== true)
      return { text: `server failed, next attempt in ${left(this.#serverClosedUntil, now)} s`, absent: false }
    if (failure === undefined) return undefined
    return { text: `failed before, next attempt in ${left(failure.until, now)} s`, absent: failure.absent }
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
      this.#remember(key, error.status === 404 ? absentFor : refusedFor, saysAbsent(error))
      return
    }
    this.#serverFailures += 1
    const backOff = Math.min(firstBackOff * 2 ** (this.#serverFailures - 1), longestBackOff)
    const asked = error instanceof DownloadRefused ? this.#retryAfter(error.retryAfter) : undefined
    this.#serverClosedUntil = this.#now().getTime() + Math.max(backOff, asked ?? 0)
  }

  /**
   * The answer for `key` turned out not to be the right certificate.
   * @param damaged it was no certificate of AMD's at all
   */
  refused(key: string, damaged: boolean): void {
    this.#remember(key, refusedFor, !damaged)
  }

  #remember(key: string, duration: number, absent: boolean): void {
    this.#keys.delete(key)
    this.#keys.set(key, { until: this.#now().getTime() + duration, absent })
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
