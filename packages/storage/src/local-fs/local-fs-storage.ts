import { randomBytes } from 'node:crypto'
import { lstatSync, renameSync, unlinkSync } from 'node:fs'
import { access, constants, lstat, readdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import type { KeyValueStore, Storage } from '../key-value-store.ts'
import { sameBytes } from '../memory-storage.ts'
import {
  assertNamespace,
  assertStorageKey,
  assertValueSize,
  isNamespace,
  isStorageKey,
} from '../storage-key.ts'
import {
  absent,
  ensureFolder,
  ensureRoot,
  folderExists,
  readRegularFile,
  readRegularFileSync,
  removeLeftovers,
  syncFolder,
  writeNewFile,
} from './durable-file.ts'
import { answering } from './file-errors.ts'
import { fileNameOfKey, keyOfFileName, temporaryFileName } from './file-name.ts'
import { NamespaceLock } from './namespace-lock.ts'

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
    await removeAllLeftovers(real)
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
  readonly #lock: NamespaceLock

  constructor(root: string, name: string) {
    this.#root = root
    this.#folder = join(root, name)
    this.#lock = new NamespaceLock(root, name)
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    const path = this.#path(key)
    return answering('read a value', async () => ((await this.#exists()) ? readRegularFile(path) : undefined))
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
    return this.#replace(key, value, (path) => sameBytes(readRegularFileSync(path), expected))
  }

  async getMany(keys: readonly string[]): Promise<readonly (Uint8Array | undefined)[]> {
    const values: (Uint8Array | undefined)[] = []
    for (const key of keys) values.push(await this.get(key))
    return values
  }

  async delete(key: string): Promise<boolean> {
    const path = this.#path(key)
    return answering('delete a value', async () => {
      if (!(await this.#exists())) return false
      if (!(await this.#isThere(key))) return false
      const deleted = await this.#lock.exclusively(() => unlinkIfPresent(path))
      await syncFolder(this.#folder)
      return deleted
    })
  }

  async list(): Promise<readonly string[]> {
    return answering('list the keys', async () => {
      if (!(await this.#exists())) return []
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

  /** Whether the namespace has its folder. Where not even the storage's is there, nothing is known: that is no answer. */
  async #exists(): Promise<boolean> {
    if (await folderExists(this.#folder)) return true
    await access(this.#root)
    return false
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

/** What is no namespace is not ours, and may not be readable: `lost+found` of a volume that is mounted here. */
async function removeAllLeftovers(root: string): Promise<void> {
  for (const namespace of await readdir(root, { withFileTypes: true })) {
    if (namespace.isDirectory() && isNamespace(namespace.name))
      await removeLeftovers(join(root, namespace.name))
  }
}
