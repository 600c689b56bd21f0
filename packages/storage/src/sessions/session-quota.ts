import { SessionLimit } from '../session-store.ts'

/**
 * Bounds the live sessions that this process has made, for stores that would take any number of them. Other processes
 * that share the store count their own.
 */
export class SessionQuota {
  readonly #max: number
  readonly #now: () => Date
  /** When each session expires. */
  readonly #mine = new Map<string, Date>()

  constructor(max: number, now: () => Date) {
    this.#max = max
    this.#now = now
  }

  /**
   * Makes a session by `write`, unless there are too many. It is counted before `write` first waits, so that parallel
   * calls cannot pass the limit together.
   *
   * @throws SessionLimit
   */
  async admit(key: string, expiresAt: Date, write: () => Promise<unknown>): Promise<void> {
    if (this.#mine.size >= this.#max) this.forgetExpired()
    if (this.#mine.size >= this.#max) throw new SessionLimit('too many handshakes are under way')
    this.#mine.set(key, expiresAt)
    try {
      await write()
    } catch (error) {
      this.#mine.delete(key)
      throw error
    }
  }

  forgetExpired(): void {
    const now = this.#now()
    for (const [key, expiresAt] of this.#mine) if (expiresAt <= now) this.#mine.delete(key)
  }
}
