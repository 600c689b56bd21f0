import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats } from 'node:fs'
import { lstat, mkdir, open, readdir, realpath, stat, unlink } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { StorageUnavailable } from '../key-value-store.ts'
import { MAX_VALUE_BYTES } from '../storage-key.ts'
import { isTemporaryFileName } from './file-name.ts'

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants

/** O_NOFOLLOW: a link must not lead out of the folder. O_NONBLOCK: a pipe put in its place must not hang us. */
const READ_FLAGS = O_RDONLY | O_NOFOLLOW | O_NONBLOCK
/** A value is written in far less; what is older was left by a process that died. */
const TEMPORARY_FILE_MAX_AGE_MS = 60_000

/** Writes a new file with mode 0600 and returns once its bytes are on the disk. The name is not yet: see `syncFolder`. */
export async function writeNewFile(path: string, value: Uint8Array): Promise<void> {
  const file = await open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
  try {
    await file.writeFile(value)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** The bytes of a regular file of at most `maxBytes`, or undefined where there is none. */
export async function readRegularFile(
  path: string,
  maxBytes = MAX_VALUE_BYTES,
): Promise<Uint8Array | undefined> {
  const file = await open(path, READ_FLAGS).catch(absent)
  if (file === undefined) return undefined
  try {
    assertReadable(await file.stat(), maxBytes)
    return new Uint8Array(await file.readFile())
  } finally {
    await file.close()
  }
}

/** As `readRegularFile`, for the inside of a lock, where nothing may yield. */
export function readRegularFileSync(path: string, maxBytes = MAX_VALUE_BYTES): Uint8Array | undefined {
  let file: number
  try {
    file = openSync(path, READ_FLAGS)
  } catch (error) {
    return absent(error as NodeJS.ErrnoException)
  }
  try {
    assertReadable(fstatSync(file), maxBytes)
    return readFileSync(file)
  } finally {
    closeSync(file)
  }
}

/** @throws StorageUnavailable for what is no regular file, or too large */
function assertReadable(stats: Stats, maxBytes: number): void {
  if (!stats.isFile()) throw new StorageUnavailable('stored value is not a regular file')
  if (stats.size > maxBytes) throw new StorageUnavailable(`stored value is over ${maxBytes} bytes`)
}

/** Removes from a folder what writers that died left behind; the files of living ones are younger. */
export async function removeLeftovers(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!isTemporaryFileName(name)) continue
    const path = join(folder, name)
    const stats = await stat(path).catch(absent)
    // A read-only folder is a fair place to read secrets from: leave the file, it is never listed.
    if (stats && Date.now() - stats.mtimeMs > TEMPORARY_FILE_MAX_AGE_MS) await unlink(path).catch(() => {})
  }
}

/** Makes names that were added to or taken from a folder durable. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, O_RDONLY)
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** Makes the folder with mode 0700 unless it is there; a link in its place is refused. */
export async function ensureFolder(path: string): Promise<void> {
  if (await folderExists(path)) return
  await mkdir(path, { mode: 0o700 }).catch((error) => {
    if (error.code !== 'EEXIST') throw error
  })
  await syncFolder(dirname(path))
}

/** Makes the folder a storage lives in, its parents too, all of them durable, and answers its path without links. */
export async function ensureRoot(path: string): Promise<string> {
  const firstMade = await mkdir(path, { recursive: true, mode: 0o700 })
  const real = await realpath(path)
  if (firstMade === undefined) return real
  for (let made = resolve(path); made.length >= firstMade.length; made = dirname(made)) {
    await syncFolder(dirname(made))
  }
  return real
}

/** Whether the folder is there. @throws StorageUnavailable when something else has its name */
export async function folderExists(path: string): Promise<boolean> {
  const stats = await lstat(path).catch(absent)
  if (stats === undefined) return false
  if (!stats.isDirectory()) throw new StorageUnavailable('storage namespace is not a folder')
  return true
}

/** For `.catch`: "no such file" is an answer, everything else stays an error. */
export function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}
