import { randomInt } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'
import { setTimeout as delay } from 'node:timers/promises'
import { StorageUnavailable } from '../key-value-store.ts'

const SQLITE_BUSY = 5
const SQLITE_LOCKED = 6

/**
 * Mutual exclusion between processes (and worker threads) that share a folder. The lock is the kernel's lock on
 * `path`, taken through SQLite, which Node carries: it goes when its holder dies, however it dies, and it holds between
 * containers that share a volume. A lock file made with O_EXCL does neither: after `kill -9` someone must guess from
 * process ids, which differ between containers, or from a clock, whether it is stale
 * (docs/decisions/0005-localfs-lock.md). The database stays empty; nothing is ever written to it.
 */
export class ExclusiveLock {
  readonly #path: string
  readonly #timeoutMs: number
  #database: DatabaseSync | undefined

  constructor(path: string, timeoutMs: number) {
    this.#path = path
    this.#timeoutMs = timeoutMs
  }

  /**
   * Runs `section` while no other holder of this lock runs one. The section is synchronous, so within this thread
   * nothing comes between its steps either. Keep it to a few system calls.
   *
   * @throws StorageUnavailable when others hold the lock for longer than the time-out, or it cannot be taken
   */
  async exclusively<T>(section: () => T): Promise<T> {
    // Loaded when the first lock is taken: Node 24 prints a warning on loading it, and most services never need it.
    const sqlite = await import('node:sqlite')
    const deadline = performance.now() + this.#timeoutMs
    while (!this.#acquire(sqlite.DatabaseSync)) {
      if (performance.now() > deadline) throw new StorageUnavailable('another process holds the storage lock')
      await delay(randomInt(1, 10))
    }
    try {
      return section()
    } finally {
      this.#database?.exec('ROLLBACK')
    }
  }

  close(): void {
    this.#database?.close()
    this.#database = undefined
  }

  /** One attempt, without waiting: waiting here would stop the event loop. */
  #acquire(Database: typeof DatabaseSync): boolean {
    try {
      this.#database ??= new Database(this.#path, { timeout: 0 })
      this.#database.exec('BEGIN EXCLUSIVE')
      return true
    } catch (cause) {
      const code = (cause as { errcode?: number }).errcode ?? 0
      if (code === SQLITE_BUSY || code === SQLITE_LOCKED) return false
      throw new StorageUnavailable('cannot take the storage lock', { cause })
    }
  }
}
