import { createHash } from 'node:crypto'
import { type KeyValueStore, StorageUnavailable } from './key-value-store.ts'

/** How a version came to be: `found` was there before the first change that we recorded. */
export type VersionOrigin = 'found' | 'set' | 'rollback'

/** One entry of a history. */
export interface VersionRecord {
  /** Of the text, lower-case hex. */
  readonly sha384: string
  /** RFC 3339. */
  readonly at: string
  /** The administrator's subject, where there is one. */
  readonly by?: string
  readonly origin: VersionOrigin
  readonly bytes: number
}

/** What is about to become the current text. */
export interface NewVersion {
  readonly text: Uint8Array
  readonly at: Date
  readonly by?: string | undefined
  readonly origin: Exclude<VersionOrigin, 'found'>
}

/**
 * Versions of named texts, such as policies. Texts are kept by their hash and never change; of each name the newest
 * versions are kept. A version is recorded before it takes effect, so that nothing was ever in force without a record.
 */
export interface VersionHistory {
  /**
   * Records a version, and before it the text that it replaces where that has no record yet, so that there is a way back
   * to it. Throws `StorageUnavailable`; the caller then changes nothing.
   */
  record(name: string, version: NewVersion, replaced?: Uint8Array): Promise<void>
  /** Newest first. */
  list(name: string): Promise<readonly VersionRecord[]>
  /** The text of a version that the history of this name has. */
  read(name: string, sha384: string): Promise<Uint8Array | undefined>
}

export interface VersionHistoryOptions {
  /** Keeps apart the names of different owners. A key segment. */
  readonly owner: string
  /** Versions kept of each name. Default 100. */
  readonly limit?: number
}

/** Administrators that change the same policy in the same moment, before one is told to try again. */
const maxAttempts = 16

/** Keeps histories in a namespace of their own, `policy_history`. */
export function createVersionHistory(
  store: KeyValueStore,
  { owner, limit = 100 }: VersionHistoryOptions,
): VersionHistory {
  const indexKey = (name: string) => `${owner}/${name}/versions`
  const textKey = (name: string, sha384: string) => `${owner}/${name}/${sha384}`

  const readIndex = async (name: string) => {
    const bytes = await store.get(indexKey(name))
    return { bytes, records: bytes ? parseIndex(bytes) : [] }
  }

  const keepTexts = async (name: string, texts: readonly Uint8Array[]) => {
    for (const text of texts) await store.set(textKey(name, sha384Of(text)), text, { ifAbsent: true })
  }

  /** Deletes the texts of versions that are in no record any more; one that came back meanwhile is kept. */
  const forget = async (name: string, hashes: ReadonlySet<string>) => {
    for (const sha384 of hashes) {
      const text = await store.get(textKey(name, sha384))
      await store.delete(textKey(name, sha384))
      const { records } = await readIndex(name)
      if (text && records.some((record) => record.sha384 === sha384)) {
        await store.set(textKey(name, sha384), text, { ifAbsent: true })
      }
    }
  }

  return {
    async record(name, version, replaced) {
      const texts = replaced ? [version.text, replaced] : [version.text]
      await keepTexts(name, texts)
      for (let attempt = 0; attempt < maxAttempts; attempt++) {
        const { bytes, records } = await readIndex(name)
        const found = replaced && recordOf({ text: replaced, at: version.at, origin: 'found' })
        const isKnown = records.some(({ sha384 }) => sha384 === found?.sha384)
        const all = [recordOf(version), ...(found && !isKnown ? [found] : []), ...records]
        const kept = all.slice(0, limit)
        if (!(await store.compareAndSet(indexKey(name), bytes, writeIndex(kept)))) continue
        // another replica may have forgotten these texts between the first writing and the record
        await keepTexts(name, texts)
        const known = new Set(kept.map(({ sha384 }) => sha384))
        const gone = all.slice(limit).flatMap(({ sha384 }) => (known.has(sha384) ? [] : [sha384]))
        await forget(name, new Set(gone))
        return
      }
      throw new StorageUnavailable('the history is being changed by others')
    },
    async list(name) {
      return (await readIndex(name)).records
    },
    async read(name, sha384) {
      const { records } = await readIndex(name)
      if (!records.some((record) => record.sha384 === sha384)) return undefined
      const text = await store.get(textKey(name, sha384))
      // a text that is not what was recorded is none
      return text && sha384Of(text) === sha384 ? text : undefined
    },
  }
}

function recordOf({
  text,
  at,
  by,
  origin,
}: Omit<NewVersion, 'origin'> & { origin: VersionOrigin }): VersionRecord {
  return {
    sha384: sha384Of(text),
    at: at.toISOString(),
    ...(by === undefined ? {} : { by }),
    origin,
    bytes: text.byteLength,
  }
}

function sha384Of(text: Uint8Array): string {
  return createHash('sha384').update(text).digest('hex')
}

function writeIndex(records: readonly VersionRecord[]): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(records))
}

function parseIndex(bytes: Uint8Array): readonly VersionRecord[] {
  const parsed: unknown = JSON.parse(new TextDecoder().decode(bytes))
  if (!Array.isArray(parsed)) throw new TypeError('the stored history is not a list')
  return parsed.filter(isRecord)
}

function isRecord(value: unknown): value is VersionRecord {
  if (typeof value !== 'object' || value === null) return false
  const { sha384, at, origin } = value as Partial<Record<keyof VersionRecord, unknown>>
  return (
    typeof sha384 === 'string' &&
    /^[0-9a-f]{96}$/.test(sha384) &&
    typeof at === 'string' &&
    typeof origin === 'string'
  )
}
