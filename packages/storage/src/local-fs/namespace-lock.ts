import { join } from 'node:path'
import { ensureFolder } from './durable-file.ts'
import { ExclusiveLock } from './exclusive-lock.ts'

const LOCK_FOLDER = '~locks'
const LOCK_TIMEOUT_MS = 5_000

/** The lock of one namespace, in a folder that no namespace can have. */
export class NamespaceLock {
  readonly #folder: string
  readonly #lock: ExclusiveLock

  constructor(root: string, name: string) {
    this.#folder = join(root, LOCK_FOLDER)
    this.#lock = new ExclusiveLock(join(this.#folder, name), LOCK_TIMEOUT_MS)
  }

  /** As `ExclusiveLock.exclusively`. */
  async exclusively<T>(section: () => T): Promise<T> {
    await ensureFolder(this.#folder)
    return this.#lock.exclusively(section)
  }

  close(): void {
    this.#lock.close()
  }
}
