import { randomBytes } from 'node:crypto'
import { closeSync, fstatSync, lstatSync, openSync, readFileSync, renameSync, unlinkSync } from 'node:fs'
import { access, constants, lstat, readdir, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { KeyValueStore, Storage } from '../key-value-store.ts'
import { InvalidStorageKey, StorageUnavailable } from '../key-value-store.ts'
import { sameBytes } from '../memory-storage.ts'
import {
  assertNamespace,
  assertStorageKey,
  assertValueSize,
  isStorageKey,
  ValueTooLarge,
} from '../storage-key.ts'
import {
  absent,
  assertReadable,
  ensureFolder,
  ensureRoot,
  folderExists,
  READ_FLAGS,
  readRegularFile,
  syncFolder,
  writeNewFile,
} from './durable-file.ts'
import { ExclusiveLock } from './exclusive-lock.ts'
import { fileNameOfKey, isTemporaryFileName, keyOfFileName, temporaryFileName } from './file-name.ts'

const LOCK_TIMEOUT_MS = 5_000
/** A value is written in far less; what is older was left by a process that died. */
const TEMPORARY_FILE_MAX_AGE_MS = 60_000
const LOCK_FOLDER = '~locks'

/**
 * Files in Trustee's flat layout: `<dirPath>/<namespace>/<key with each "/" as "\x2F">`, raw bytes (spec 01 §5.3), so a
 * folder that Trustee wrote, or an operator filled, is read as it is. For one machine.
 *
 * A write goes to a temporary file in the same folder, to the disk, and then by `rename` to its name: a reader, or a
 * process that starts after a crash, sees the old value or the new one. Who replaces or removes a name holds the
 * namespace's lock for these few system calls, in every process.
 *
 * @throws StorageUnavailable when the folder can be neither found nor made
 */
export async function openLocalFsStorage(dirPath: string): Promise<Storage> {
  const folder = await answering('open the storage folder', async () => {
    const real = await ensureRoot(dirPath)
    await removeLeftovers(real)
    return real
  })
  const namespaces = new Map<string, LocalFsNamespace>()
  return {
    namespace(name) {
      assertNamespace(name)
      let store = namespaces.get(name)
      if (store === undefined) {
        store = new LocalFsNamespace(folder, name)
        namespaces.set(name, store)
      }
      return store
    },
    ping: () =>
      answering('read the storage folder', async () => {
        await access(folder, constants.R_OK | constants.X_OK)
      }),
    async close() {
      for (const store of namespaces.values()) store.close()
    },
  }
}

class LocalFsNamespace implements KeyValueStore {
  readonly #root: string
  readonly #folder: string
  readonly #lock: ExclusiveLock

  constructor(root: string, name: string) {
    this.#root = root
    this.#folder = join(root, name)
    this.#lock = new ExclusiveLock(join(root, LOCK_FOLDER, name), LOCK_TIMEOUT_MS)
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    const path = this.#path(key)
    return answering('read a value', async () =>
      (await folderExists(this.#folder)) ? readRegularFile(path) : undefined,
    )
  }

  async set(key: string, value: Uint8Array, options: { ifAbsent?: boolean } = {}): Promise<boolean> {
    if (options.ifAbsent !== true) return this.#replace(key, value, () => true)
    if (await this.#isThere(key)) return false
    return this.#replace(key, value, (path) => lstatSync(path, { throwIfNoEntry: false }) === undefined)
  }

  async compareAndSet(key: string, expected: Uint8Array | undefined, value: Uint8Array): Promise<boolean> {
    assertValueSize(value)
    // The loser of a race usually shows here, before it has written a file.
    if (!sameBytes(await this.get(key), expected)) return false
    return this.#replace(key, value, (path) => sameBytes(readSync(path), expected))
  }

  async getMany(keys: readonly string[]): Promise<readonly (Uint8Array | undefined)[]> {
    const values: (Uint8Array | undefined)[] = []
    for (const key of keys) values.push(await this.get(key))
    return values
  }

  async delete(key: string): Promise<boolean> {
    const path = this.#path(key)
    return answering('delete a value', async () => {
      if (!(await folderExists(this.#folder))) return false
      if (!(await this.#isThere(key))) return false
      await ensureFolder(join(this.#root, LOCK_FOLDER))
      const deleted = await this.#lock.exclusively(() => unlinkIfPresent(path))
      await syncFolder(this.#folder)
      return deleted
    })
  }

  async list(): Promise<readonly string[]> {
    return answering('list the keys', async () => {
      if (!(await folderExists(this.#folder))) return []
      const entries = await readdir(this.#folder, { withFileTypes: true })
      return entries
        .filter((entry) => entry.isFile() && isKeyFileName(entry.name))
        .map((entry) => keyOfFileName(entry.name))
        .sort()
    })
  }

  close(): void {
    this.#lock.close()
  }

  async #isThere(key: string): Promise<boolean> {
    const path = this.#path(key)
    return answering('look up a value', async () => (await lstat(path).catch(absent)) !== undefined)
  }

  #path(key: string): string {
    assertStorageKey(key)
    return join(this.#folder, fileNameOfKey(key))
  }

  /** Puts `value` under `key` if, while nobody else can change it, `allowed` holds. */
  async #replace(key: string, value: Uint8Array, allowed: (path: string) => boolean): Promise<boolean> {
    const path = this.#path(key)
    assertValueSize(value)
    return answering('write a value', async () => {
      await ensureFolder(this.#folder)
      await ensureFolder(join(this.#root, LOCK_FOLDER))
      const temporary = join(this.#folder, temporaryFileName(randomBytes(12).toString('hex')))
      try {
        await writeNewFile(temporary, value)
        const written = await this.#lock.exclusively(() => {
          if (!allowed(path)) return false
          renameSync(temporary, path)
          return true
        })
        if (written) await syncFolder(this.#folder)
        else await unlink(temporary)
        return written
      } catch (error) {
        await unlink(temporary).catch(() => {})
        throw error
      }
    })
  }
}

/** For the inside of a lock, where nothing may yield. */
function readSync(path: string): Uint8Array | undefined {
  let file: number
  try {
    file = openSync(path, READ_FLAGS)
  } catch (error) {
    return absent(error as NodeJS.ErrnoException)
  }
  try {
    assertReadable(fstatSync(file))
    return readFileSync(file)
  } finally {
    closeSync(file)
  }
}

function unlinkIfPresent(path: string): boolean {
  try {
    unlinkSync(path)
    return true
  } catch (error) {
    absent(error as NodeJS.ErrnoException)
    return false
  }
}

function isKeyFileName(name: string): boolean {
  const key = keyOfFileName(name)
  return isStorageKey(key) && fileNameOfKey(key) === name
}

/** Removes what writers that died left behind; the files of living ones are younger. */
async function removeLeftovers(root: string): Promise<void> {
  for (const namespace of await readdir(root, { withFileTypes: true })) {
    if (!namespace.isDirectory()) continue
    for (const name of await readdir(join(root, namespace.name))) {
      if (!isTemporaryFileName(name)) continue
      const path = join(root, namespace.name, name)
      const stats = await stat(path).catch(absent)
      // A read-only folder is a fair place to read secrets from: leave the file, it is never listed.
      if (stats && Date.now() - stats.mtimeMs > TEMPORARY_FILE_MAX_AGE_MS) await unlink(path).catch(() => {})
    }
  }
}

/** Runs a file operation; what the operating system refuses (full disk, no permission, …) is `StorageUnavailable`. */
async function answering<T>(what: string, operation: () => Promise<T>): Promise<T> {
  try {
    return await operation()
  } catch (cause) {
    if (
      cause instanceof StorageUnavailable ||
      cause instanceof InvalidStorageKey ||
      cause instanceof ValueTooLarge
    ) {
      throw cause
    }
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown error'
    throw new StorageUnavailable(`cannot ${what}: ${code}`, { cause })
  }
}
