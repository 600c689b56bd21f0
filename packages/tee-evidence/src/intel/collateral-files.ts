import { randomUUID } from 'node:crypto'
import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import {
  decodeBase64,
  encodeBase64,
  encodeUtf8,
  isJsonObject,
  parseJson,
  stringifyJson,
} from '@passport-kbs/protocol'
import type { CollateralDocument } from './collateral.ts'

/** A place for small files, by plain names. */
export interface CollateralFiles {
  /** Undefined when there is no such file. */
  read(name: string): Promise<Uint8Array | undefined>
  /** Replaces the file as a whole: a reader sees the old or the new content. */
  write(name: string, bytes: Uint8Array): Promise<void>
}

/** A document as it is kept between runs, with where and when it was got. */
export interface StoredCollateral {
  readonly document: CollateralDocument
  readonly upstream: string
  /** Milliseconds since 1970. */
  readonly retrievedAt: number
}

const format = 'passport-kbs-collateral/1'
/** A document of 256 KiB in base64, its chain, and some room. */
const maxStoredBytes = 512 * 1024

/** The file of a document; `name` as `collateralName` gives it. */
export function storedName(name: string): string {
  return `${name}.json`
}

/** @returns undefined when the document is not there; throws when the file is damaged or too large */
export async function readStored(
  files: Pick<CollateralFiles, 'read'>,
  name: string,
): Promise<StoredCollateral | undefined> {
  const bytes = await files.read(storedName(name))
  if (bytes === undefined) return undefined
  const fields = parseJson(bytes, { maxBytes: maxStoredBytes })
  if (!isJsonObject(fields) || fields.format !== format || typeof fields.body !== 'string') {
    throw new TypeError(`${storedName(name)} is not a stored document`)
  }
  const body = decodeBase64(fields.body)
  const issuerChain = fields.issuer_chain
  return {
    document: typeof issuerChain === 'string' ? { body, issuerChain } : { body },
    upstream: typeof fields.upstream === 'string' ? fields.upstream : 'unknown',
    retrievedAt: Date.parse(String(fields.retrieved_at)) || 0,
  }
}

export async function writeStored(
  files: CollateralFiles,
  name: string,
  stored: StoredCollateral,
): Promise<void> {
  const { document, upstream, retrievedAt } = stored
  const fields = {
    format,
    upstream,
    retrieved_at: new Date(retrievedAt).toISOString(),
    body: encodeBase64(document.body),
    ...(document.issuerChain === undefined ? {} : { issuer_chain: document.issuerChain }),
  }
  await files.write(storedName(name), encodeUtf8(stringifyJson(fields)))
}

/** Files of a directory, which is made when it is first written to. The only code of the cache that touches a disk. */
export function directoryFiles(directory: string): CollateralFiles {
  return {
    read: (name) => readLimited(join(directory, name), maxStoredBytes),
    async write(name, bytes) {
      await mkdir(directory, { recursive: true, mode: 0o700 })
      const temporary = join(directory, `.${name}.${randomUUID()}`)
      try {
        const file = await open(temporary, 'wx', 0o600)
        try {
          await file.writeFile(bytes)
          await file.sync()
        } finally {
          await file.close()
        }
        await rename(temporary, join(directory, name))
      } catch (error) {
        await rm(temporary, { force: true })
        throw error
      }
    },
  }
}

/** The content of a regular file of at most `limit` bytes; undefined when there is none. */
export async function readLimited(path: string, limit: number): Promise<Uint8Array | undefined> {
  try {
    const facts = await stat(path)
    if (!facts.isFile() || facts.size > limit)
      throw new TypeError(`${path} is not a file of at most ${limit} bytes`)
    return new Uint8Array(await readFile(path))
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}
