/** What a client may do now. */
export type Allowance =
  | { readonly allowed: true }
  | { readonly allowed: false; readonly retryAfterSeconds: number }

interface Bucket {
  tokens: number
  /** Milliseconds of the clock when `tokens` was right. */
  at: number
}

/**
 * A token bucket for each client, for the clients seen last: memory is bounded by `maxClients`. A client that is
 * forgotten begins anew with a full bucket.
 */
export class TokenBuckets {
  readonly #perSecond: number
  readonly #burst: number
  readonly #maxClients: number
  /** In order of last use: the first is forgotten first. */
  readonly #buckets = new Map<string, Bucket>()

  constructor(options: { readonly perSecond: number; readonly burst: number; readonly maxClients: number }) {
    this.#perSecond = options.perSecond
    this.#burst = options.burst
    this.#maxClients = options.maxClients
  }

  /** Takes one token of `client`. @param now milliseconds of a clock that does not run backwards */
  take(client: string, now: number): Allowance {
    const known = this.#buckets.get(client)
    if (known !== undefined) this.#buckets.delete(client)
    const bucket = known ?? { tokens: this.#burst, at: now }
    this.#buckets.set(client, bucket)
    if (this.#buckets.size > this.#maxClients) this.#forgetOldest()

    bucket.tokens = Math.min(
      this.#burst,
      bucket.tokens + (Math.max(0, now - bucket.at) / 1000) * this.#perSecond,
    )
    bucket.at = now
    if (bucket.tokens < 1) return { allowed: false, retryAfterSeconds: (1 - bucket.tokens) / this.#perSecond }
    bucket.tokens -= 1
    return { allowed: true }
  }

  get size(): number {
    return this.#buckets.size
  }

  #forgetOldest(): void {
    for (const oldest of this.#buckets.keys()) {
      this.#buckets.delete(oldest)
      return
    }
  }
}
