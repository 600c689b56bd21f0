/** Bounded file access for the offline store and the disk cache. */
import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { mkdir, open, rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { EndorsementUnavailable } from '../endorsement-source.ts'

export interface StoreFiles {
  /** The content, or undefined when there is no such file. Throws `EndorsementUnavailable` for anything else. */
  read(path: string, limit: number): Promise<Uint8Array | undefined>
  /** Writes so that a reader sees the old or the new content, nothing between. */
  write(path: string, content: Uint8Array): Promise<void>
}

/** The file system. Only regular files are read: a pipe or device in the store must not block a verification. */
export const nodeStoreFiles: StoreFiles = { read: readRegularFile, write: writeAtomically }

async function readRegularFile(path: string, limit: number): Promise<Uint8Array | undefined> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      const status = await file.stat()
      if (!status.isFile()) throw new EndorsementUnavailable('not a regular file')
      if (status.size > limit) throw new EndorsementUnavailable(`file of ${status.size} bytes`)
      const content = Buffer.alloc(status.size)
      const { bytesRead } = await file.read(content, 0, status.size, 0)
      return content.subarray(0, bytesRead)
    } finally {
      await file.close()
    }
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    if (error instanceof EndorsementUnavailable) throw error
    throw new EndorsementUnavailable(`unreadable file (${codeOf(error)})`, { cause: error })
  }
}

async function writeAtomically(path: string, content: Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  const temporary = `${path}.${randomUUID()}`
  try {
    await writeFile(temporary, content, { mode: 0o644 })
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
}
