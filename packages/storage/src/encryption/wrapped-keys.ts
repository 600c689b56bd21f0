import { randomBytes } from 'node:crypto'
import { encodeHex } from '@passport-kbs/protocol'
import type { KeyValueStore, Storage } from '../key-value-store.ts'
import { StorageBusy, StorageUnavailable } from '../key-value-store.ts'
import { sameBytes } from '../memory-storage.ts'
import { StorageConfigError } from '../storage-config-error.ts'
import { encryptableNamespaces } from './encryption-config.ts'
import { isSealed, keyIdOf } from './envelope.ts'
import {
  assertAuthentic,
  bindingOf,
  KEY_NAMESPACE,
  KEY_RECORD,
  type KeyRecord,
  MAX_RECORDED_KEYS,
  parseKeyRecord,
  type RecordedKey,
  recordedWrapping,
  wrappingOf,
  writeKeyRecord,
} from './key-record.ts'
import { KeyRefused, type KeyService } from './key-service.ts'
import {
  createStorageKeyring,
  STORAGE_KEY_BYTES,
  type StorageKey,
  type StorageKeyring,
  storageKey,
} from './storage-keyring.ts'
import type { StorageKeys } from './storage-keys.ts'

export interface WrappedKeysOptions {
  /** The storage beneath, where the record is. */
  readonly storage: Storage
  /** Wraps. Its keys in the record unwrap, and no others but those of `previousService`. */
  readonly service: KeyService
  readonly previousService?: KeyService | undefined
  /** Keys from files that values may still be encrypted with. */
  readonly previousKeys?: readonly StorageKey[]
  /** Whether a record is made where there is none. Default true. */
  readonly mayBegin?: boolean
  /** Told why there are no keys yet, once for each reason. */
  readonly onNotice?: ((notice: string, cause?: unknown) => void) | undefined
  readonly now?: () => Date
  /** Milliseconds before the first further attempt; then twice as many, and so on. */
  readonly firstRetryMs?: number
}

const longestRetryMs = 30_000
/** How long a record that was refused is not taken to the service again, which would cost its quota. */
const refusalMs = 1_000
const maxAttempts = 20
/** Writers look up the current key before each write, and finish it within this time. */
export const SUPERSEDED_MS = 60_000

interface Known {
  readonly record: KeyRecord
  readonly bytes: Uint8Array
  readonly keyring: StorageKeyring
}

/**
 * Storage keys that a key service has wrapped, recorded in the storage itself. They are unwrapped once and kept in memory:
 * the service is needed at the start, and when keys were added. Where there is no record one is made; of replicas that
 * start together one wins, and the others take its keys.
 */
export class WrappedKeys implements StorageKeys {
  readonly #options: WrappedKeysOptions
  readonly #store: KeyValueStore
  /** By id; keys that have left the record stay readable. */
  readonly #keys = new Map<string, StorageKey>()
  #known: Known | undefined
  #failure: Error = new StorageUnavailable('the storage keys are being unwrapped')
  #loading: Promise<Known> | undefined
  #refused: { readonly bytes: Uint8Array; readonly at: number; readonly error: unknown } | undefined
  #timer: NodeJS.Timeout | undefined
  #closed = false

  private constructor(options: WrappedKeysOptions) {
    this.#options = options
    this.#store = options.storage.namespace(KEY_NAMESPACE)
  }

  /**
   * Tries once, and goes on trying in the background while storage or service are down.
   *
   * @throws StorageConfigError where trying again helps nothing: the service has no such key, or the record is another's
   */
  static async open(options: WrappedKeysOptions): Promise<WrappedKeys> {
    const keys = new WrappedKeys(options)
    try {
      await keys.#load()
    } catch (error) {
      if (error instanceof KeyRefused) {
        await keys.close()
        throw new StorageConfigError(`storage_backend.encryption: ${error.message}`, { cause: error })
      }
      if (!(error instanceof StorageUnavailable)) throw error
      keys.#retry(error, options.firstRetryMs ?? 1_000)
    }
    return keys
  }

  known(): StorageKeyring {
    if (this.#known !== undefined) return this.#known.keyring
    throw new StorageUnavailable(`there are no storage keys yet: ${this.#failure.message}`)
  }

  async lookAgain(): Promise<StorageKeyring> {
    this.known()
    // one that is under way may have been answered before the key was added
    await this.#loading?.catch(() => {})
    return (await this.#load()).keyring
  }

  /** The record is read again before each write, so no value is written with a key that was superseded long before. */
  async forWriting(): Promise<StorageKeyring> {
    this.known()
    return (await this.#load()).keyring
  }

  async ping(): Promise<void> {
    this.known()
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await Promise.all([this.#options.service.close(), this.#options.previousService?.close()])
  }

  /** Adds a new key and makes it current. Others learn of it before they next write. */
  async addKey(): Promise<void> {
    await this.#change(async (record) => {
      if (record.keys.length >= MAX_RECORDED_KEYS) {
        throw new StorageUnavailable(
          `there are ${MAX_RECORDED_KEYS} keys already: take those out that nothing needs`,
        )
      }
      const added = await this.#newKey()
      const superseded = this.#now()
      const keys = record.keys.map((key) => (key.id === record.current ? { ...key, superseded } : key))
      return { ...record, current: added.id, keys: [...keys, added] }
    })
  }

  /** Wraps every key with the newest version of the service's key. Answers how many that changed. */
  async wrapAnew(): Promise<number> {
    let changed = 0
    await this.#change(async (record) => {
      changed = 0
      const keys: RecordedKey[] = []
      for (const recorded of record.keys) {
        const anew = await this.#wrappedAnew(recorded)
        if (anew !== recorded) changed++
        keys.push(anew)
      }
      return changed === 0 ? record : { ...record, keys }
    })
    return changed
  }

  /**
   * Takes keys out of the record that no value needs. One that was current less than a minute ago stays: a write with it
   * may be under way.
   *
   * @returns how many were taken out, and how many stay though they are not current
   */
  async removeUnneeded(): Promise<{ readonly removed: number; readonly kept: number }> {
    let result = { removed: 0, kept: 0 }
    await this.#change(async (record) => {
      const needed = await keyIdsInUse(this.#options.storage)
      const before = Date.parse(this.#now()) - SUPERSEDED_MS
      const keys = record.keys.filter(
        ({ id, superseded }) =>
          id === record.current ||
          needed.has(id) ||
          superseded === undefined ||
          Date.parse(superseded) > before,
      )
      result = { removed: record.keys.length - keys.length, kept: keys.length - 1 }
      return result.removed === 0 ? record : { ...record, keys }
    })
    return result
  }

  #now(): string {
    return (this.#options.now?.() ?? new Date()).toISOString()
  }

  #load(): Promise<Known> {
    this.#loading ??= this.#read().finally(() => {
      this.#loading = undefined
    })
    return this.#loading
  }

  async #read(): Promise<Known> {
    const stored = await this.#store.get(KEY_RECORD)
    if (stored !== undefined) return this.#accept(stored)
    if (this.#known !== undefined) {
      // what would be written could not be read after a restart
      throw new StorageUnavailable('the record of wrapped keys is gone from the storage: restore it')
    }
    return this.#begin()
  }

  /** The first record of a storage. */
  async #begin(): Promise<Known> {
    if (this.#options.mayBegin === false) throw new KeyRefused('the storage has no record of wrapped keys')
    const files = new Set(this.#options.previousKeys?.map(({ id }) => encodeHex(id)))
    const used = await keyIdsInUse(this.#options.storage)
    if ([...used].some((id) => !files.has(id))) {
      // another replica may have begun meanwhile, and written
      const begun = await this.#store.get(KEY_RECORD)
      if (begun !== undefined) return this.#accept(begun)
      throw new KeyRefused(
        'values are encrypted, and the record of their wrapped keys is missing: restore it',
      )
    }
    const key = await this.#newKey()
    const record = { version: 1 as const, revision: 1, current: key.id, keys: [key] }
    const bytes = writeKeyRecord(record, this.#keyOf(key.id))
    await this.#store.set(KEY_RECORD, bytes, { ifAbsent: true })
    const stored = await this.#store.get(KEY_RECORD)
    if (stored === undefined)
      throw new StorageUnavailable('the record of wrapped keys does not stay in the storage')
    return this.#accept(stored)
  }

  /** A new random key, wrapped; it is known only once what was wrapped has been unwrapped again. */
  async #newKey(): Promise<RecordedKey> {
    const bytes = randomBytes(STORAGE_KEY_BYTES)
    try {
      const key = storageKey(bytes)
      const id = encodeHex(key.id)
      const wrapping = await this.#wrap(id, bytes)
      this.#keys.set(id, key)
      return { id, added: this.#now(), ...wrapping }
    } finally {
      bytes.fill(0)
    }
  }

  async #wrap(id: string, bytes: Uint8Array) {
    const { service } = this.#options
    const wrapping = await service.wrap(bytes, bindingOf(service, id))
    const unwrapped = await service.unwrap(wrapping, bindingOf(service, id))
    const isSame = sameBytes(unwrapped, bytes)
    unwrapped.fill(0)
    if (!isSame) throw new StorageUnavailable('the key service does not unwrap what it has wrapped')
    return recordedWrapping(service, wrapping)
  }

  async #wrappedAnew(recorded: RecordedKey): Promise<RecordedKey> {
    const bytes = this.#keyOf(recorded.id).key.export()
    try {
      const { id, added, superseded } = recorded
      const anew = await this.#wrap(id, bytes)
      const { service, key, key_version } = recorded
      if (anew.service === service && anew.key === key && anew.key_version === key_version) return recorded
      return { id, added, ...(superseded === undefined ? {} : { superseded }), ...anew }
    } finally {
      bytes.fill(0)
    }
  }

  /** Takes a record as the one in force, after unwrapping what is new in it. @throws KeyRefused */
  async #accept(bytes: Uint8Array): Promise<Known> {
    if (this.#known !== undefined && sameBytes(bytes, this.#known.bytes)) return this.#known
    const refused = this.#refused
    const isRecent = refused !== undefined && performance.now() - refused.at < refusalMs
    if (isRecent && sameBytes(bytes, refused.bytes)) throw refused.error
    try {
      this.#known = await this.#opened(bytes)
      return this.#known
    } catch (error) {
      // at the start the attempts are far enough apart
      if (this.#known !== undefined) this.#refused = { bytes, at: performance.now(), error }
      throw error
    }
  }

  async #opened(bytes: Uint8Array): Promise<Known> {
    const record = parseKeyRecord(bytes)
    // each change counts up: what does not is an old record, or one that was begun over what this process has written
    if (record.revision <= (this.#known?.record.revision ?? 0)) {
      throw new KeyRefused('the record of wrapped keys is an older one than before, or not of this storage')
    }
    for (const recorded of record.keys) {
      if (!this.#keys.has(recorded.id)) this.#keys.set(recorded.id, await this.#unwrap(recorded))
    }
    const current = this.#keyOf(record.current)
    assertAuthentic(record, current)
    const others = [...this.#keys.values()].filter((key) => key !== current)
    const keyring = createStorageKeyring(current, [...others, ...(this.#options.previousKeys ?? [])])
    return { record, bytes, keyring }
  }

  async #unwrap(recorded: RecordedKey): Promise<StorageKey> {
    const { service: current, previousService } = this.#options
    const service = [current, previousService].find(
      (candidate) => candidate?.kind === recorded.service && candidate.key === recorded.key,
    )
    if (service === undefined) {
      throw new KeyRefused(`a storage key is wrapped by a key that is not configured (${recorded.service})`)
    }
    const bytes = await service.unwrap(wrappingOf(recorded), bindingOf(service, recorded.id))
    try {
      const key = bytes.byteLength === STORAGE_KEY_BYTES ? storageKey(bytes) : undefined
      if (key !== undefined && encodeHex(key.id) === recorded.id) return key
      throw new KeyRefused('a wrapped key is not the one that its record names')
    } finally {
      bytes.fill(0)
    }
  }

  #keyOf(id: string): StorageKey {
    const key = this.#keys.get(id)
    if (key === undefined) throw new Error('the key is known')
    return key
  }

  /** Swaps the record; where another has been faster, from the record that is there then. */
  async #change(next: (record: KeyRecord) => Promise<KeyRecord>): Promise<void> {
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const { record, bytes } = await this.#load()
      const changed = await next(record)
      if (changed === record) return
      const { mac: _, ...rest } = changed
      const written = writeKeyRecord({ ...rest, revision: record.revision + 1 }, this.#keyOf(changed.current))
      if (await this.#store.compareAndSet(KEY_RECORD, bytes, written)) {
        await this.#accept(written)
        return
      }
    }
    throw new StorageUnavailable('the record of wrapped keys is being changed by others')
  }

  #retry(error: StorageUnavailable, waitMs: number): void {
    if (error.message !== this.#failure.message) {
      this.#options.onNotice?.(`the storage keys could not be unwrapped yet: ${error.message}`)
    }
    this.#failure = error
    if (this.#closed) return
    // replicas that fail together shall not come back together
    const jittered = waitMs * (0.8 + 0.4 * Math.random())
    const asked = error instanceof StorageBusy ? error.retryAfterMs : 0
    this.#timer = setTimeout(
      () => {
        this.#load().then(
          () => this.#options.onNotice?.('the storage keys are unwrapped'),
          (again: unknown) => {
            const failure =
              again instanceof StorageUnavailable ? again : new StorageUnavailable('internal error')
            this.#retry(failure, Math.min(waitMs * 2, longestRetryMs))
          },
        )
      },
      Math.max(jittered, asked),
    )
    this.#timer.unref()
  }
}

const batchSize = 16

/** The ids of all keys that values in a storage are encrypted with. */
async function keyIdsInUse(storage: Storage): Promise<ReadonlySet<string>> {
  const ids = new Set<string>()
  for (const name of encryptableNamespaces) {
    const store = storage.namespace(name)
    const names = await store.list()
    for (let from = 0; from < names.length; from += batchSize) {
      for (const value of await store.getMany(names.slice(from, from + batchSize))) {
        if (value !== undefined && isSealed(value)) ids.add(encodeHex(keyIdOf(value)))
      }
    }
  }
  return ids
}
