import { randomBytes } from 'node:crypto'
import { closeSync, constants, fsyncSync, openSync, renameSync, writeFileSync } from 'node:fs'
import { access, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { decodeBase64Url } from '@passport-kbs/protocol'
import type { KeyValueStore, Storage } from '../key-value-store.ts'
import { StorageUnavailable } from '../key-value-store.ts'
import {
  ensureRoot,
  readRegularFile,
  readRegularFileSync,
  removeLeftovers,
  syncFolder,
} from '../local-fs/durable-file.ts'
import { answering } from '../local-fs/file-errors.ts'
import { temporaryFileName } from '../local-fs/file-name.ts'
import { NamespaceLock } from '../local-fs/namespace-lock.ts'
import { sameBytes } from '../memory-storage.ts'
import {
  assertNamespace,
  assertStorageKey,
  assertValueSize,
  isStorageKey,
  ValueTooLarge,
} from '../storage-key.ts'

/** Every read parses the whole file, and every write makes it anew: no place for more. */
export const MAX_JSON_FILE_BYTES = 64 * 1024 * 1024

/** Values by key, as in the file: base64url. */
type Entries = Map<string, string>

/**
 * Trustee's LocalJson: one file `<folder>/<namespace>`, no extension, a JSON object of key and value in base64url with
 * padding (spec 01 §5.3). For folders that Trustee has written, on one machine; LocalFs is better in everything else.
 * The whole file is replaced at each write, by `rename` and under the namespace's lock (§11.5 no. 36).
 *
 * @throws StorageUnavailable when the folder can be neither found nor made
 */
export async function openLocalJsonStorage(folder: string): Promise<Storage> {
  const root = await answering('open the storage folder', async () => {
    const real = await ensureRoot(folder)
    await removeLeftovers(real)
    return real
  })
  const namespaces = new Map<string, LocalJsonNamespace>()
  return {
    namespace(name) {
      assertNamespace(name)
      let store = namespaces.get(name)
      if (store === undefined) {
        store = new LocalJsonNamespace(root, name)
        namespaces.set(name, store)
      }
      return store
    },
    ping: () => answering('read the storage folder', () => access(root, constants.R_OK | constants.X_OK)),
    async close() {
      for (const store of namespaces.values()) store.close()
    },
  }
}

class LocalJsonNamespace implements KeyValueStore {
  readonly #root: string
  readonly #path: string
  readonly #lock: NamespaceLock

  constructor(root: string, name: string) {
    this.#root = root
    this.#path = join(root, name)
    this.#lock = new NamespaceLock(root, name)
  }

  async get(key: string): Promise<Uint8Array | undefined> {
    const [value] = await this.getMany([key])
    return value
  }

  async getMany(keys: readonly string[]): Promise<readonly (Uint8Array | undefined)[]> {
    for (const key of keys) assertStorageKey(key)
    const entries = await this.#read()
    return keys.map((key) => valueIn(entries, key))
  }

  async list(): Promise<readonly string[]> {
    return [...(await this.#read()).keys()].filter(isStorageKey).sort()
  }

  set(key: string, value: Uint8Array, options: { ifAbsent?: boolean } = {}): Promise<boolean> {
    return this.#change(key, value, (entries) => !(options.ifAbsent === true && entries.has(key)))
  }

  compareAndSet(key: string, expected: Uint8Array | undefined, value: Uint8Array): Promise<boolean> {
    return this.#change(key, value, (entries) => sameBytes(valueIn(entries, key), expected))
  }

  delete(key: string): Promise<boolean> {
    return this.#change(key, undefined, (entries) => entries.has(key))
  }

  close(): void {
    this.#lock.close()
  }

  async #read(): Promise<Entries> {
    return answering('read a namespace', async () => {
      const bytes = await readRegularFile(this.#path, MAX_JSON_FILE_BYTES)
      // where not even the folder is there, nothing is known
      if (bytes === undefined) await access(this.#root)
      return parseEntries(bytes)
    })
  }

  /** Puts `value` under `key`, or takes the key out, if `allowed` of what the file holds while we hold the lock. */
  async #change(
    key: string,
    value: Uint8Array | undefined,
    allowed: (entries: Entries) => boolean,
  ): Promise<boolean> {
    assertStorageKey(key)
    if (value !== undefined) assertValueSize(value)
    return answering('write a namespace', async () => {
      const temporary = join(this.#root, temporaryFileName(randomBytes(12).toString('hex')))
      try {
        const written = await this.#lock.exclusively(() => {
          const entries = parseEntries(readRegularFileSync(this.#path, MAX_JSON_FILE_BYTES))
          if (!allowed(entries)) return false
          if (value === undefined) entries.delete(key)
          else entries.set(key, encodeValue(value))
          writeDurably(temporary, encodeEntries(entries))
          renameSync(temporary, this.#path)
          return true
        })
        if (written) await syncFolder(this.#root)
        return written
      } catch (error) {
        await unlink(temporary).catch(() => {})
        throw error
      }
    })
  }
}

/** @throws StorageUnavailable when the file is not what it should be; nothing is written over it then */
function parseEntries(bytes: Uint8Array | undefined): Entries {
  if (bytes === undefined) return new Map()
  let parsed: unknown
  try {
    parsed = JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch {
    // Not as a cause: a JSON error quotes the text.
    throw damaged()
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw damaged()
  const entries = Object.entries(parsed).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  )
  if (entries.length !== Object.keys(parsed).length) throw damaged()
  return new Map(entries)
}

/** @throws ValueTooLarge */
function encodeEntries(entries: Entries): Buffer {
  const text = Buffer.from(JSON.stringify(Object.fromEntries(entries)))
  if (text.byteLength > MAX_JSON_FILE_BYTES) {
    throw new ValueTooLarge(`the namespace's file would be over ${MAX_JSON_FILE_BYTES} bytes`)
  }
  return text
}

function valueIn(entries: Entries, key: string): Uint8Array | undefined {
  const text = entries.get(key)
  if (text === undefined) return undefined
  try {
    return decodeBase64Url(text)
  } catch {
    throw damaged()
  }
}

function encodeValue(value: Uint8Array): string {
  return Buffer.from(value).toString('base64').replaceAll('+', '-').replaceAll('/', '_')
}

function damaged(): StorageUnavailable {
  return new StorageUnavailable('stored namespace is damaged')
}

/** Within the lock, so without yielding. */
function writeDurably(path: string, bytes: Uint8Array): void {
  const file = openSync(path, 'wx', 0o600)
  try {
    writeFileSync(file, bytes)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}
