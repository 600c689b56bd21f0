import { constants } from 'node:fs'
import { link, lstat, mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { CommandFailed } from '../terminal.ts'

/** A file of a deployment. */
export interface DeploymentFile {
  /** Name in the directory; what starts with `offline/` is not for any server. */
  readonly name: string
  readonly text: string
  /** Only its owner may read it (0600); else everybody may (0644). */
  readonly secret: boolean
}

const offlinePrefix = 'offline/'

/**
 * The secrets and certificates of one deployment. Files appear whole or not at all, and are on the disk when a method
 * returns.
 */
export class DeploymentDirectory {
  readonly #directory: string
  readonly #offline: string

  /** @param offline where what no server needs is kept, `<directory>/offline` if absent. */
  constructor(directory: string, offline: string | undefined) {
    this.#directory = directory
    this.#offline = offline ?? join(directory, 'offline')
  }

  path(name: string): string {
    return name.startsWith(offlinePrefix)
      ? join(this.#offline, name.slice(offlinePrefix.length))
      : join(this.#directory, name)
  }

  /** @throws CommandFailed when the file is there and cannot be read, or is a link */
  async find(name: string): Promise<string | undefined> {
    try {
      return await readUnlinked(this.path(name))
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined
      if (codeOf(error) === 'ELOOP') throw new CommandFailed(`${this.path(name)} is a link: put a file there`)
      throw new CommandFailed(`cannot read ${this.path(name)}: ${codeOf(error)}`, { cause: error })
    }
  }

  /** @throws CommandFailed */
  async read(name: string): Promise<string> {
    const text = await this.find(name)
    if (text !== undefined) return text
    const remedy = name.startsWith(offlinePrefix) ? '; --offline DIR says where it is kept' : ''
    throw new CommandFailed(`${this.path(name)} is needed and not there${remedy}`)
  }

  /** Which of these files are there. */
  async existing(names: readonly string[]): Promise<readonly string[]> {
    const found = await Promise.all(names.map(async (name) => (await exists(this.path(name))) && name))
    return found.filter((name) => name !== false)
  }

  /** Writes new files: all of them, or none. @throws CommandFailed when one of the names is taken */
  async add(files: readonly DeploymentFile[]): Promise<void> {
    const made: string[] = []
    try {
      await this.#stage(files, async (staged, path) => {
        await link(staged, path)
        made.push(path)
      })
    } catch (error) {
      await Promise.all(made.map((path) => rm(path, { force: true })))
      throw failed(error)
    }
  }

  /** Writes files in place of those of the same names, one after the other in this order. @throws CommandFailed */
  async replace(files: readonly DeploymentFile[]): Promise<void> {
    try {
      await this.#stage(files, rename)
    } catch (error) {
      throw failed(error)
    }
  }

  /** Writes each file beside its place, and when all are on the disk puts each in its place. */
  async #stage(
    files: readonly DeploymentFile[],
    place: (staged: string, path: string) => Promise<void>,
  ): Promise<void> {
    const targets = files.map((file) => ({ file, path: this.path(file.name) }))
    // the directory itself before what is in it
    const folders = [...new Set(targets.map(({ path }) => dirname(path)))].sort()
    for (const folder of folders) await makePrivateDirectory(folder)
    const staged: string[] = []
    try {
      for (const { file, path } of targets) {
        const name = stagedName(path)
        await writeDurably(name, file.text, file.secret ? 0o600 : 0o644, () => staged.push(name))
      }
      for (const { path } of targets) await place(stagedName(path), path)
    } finally {
      await Promise.all(staged.map((name) => rm(name, { force: true })))
    }
    for (const folder of folders) await syncDirectory(folder)
  }
}

/** Makes a directory for its owner alone; one that is there may not be writable for others. @throws CommandFailed */
export async function makePrivateDirectory(path: string): Promise<void> {
  try {
    const first = await mkdir(path, { recursive: true, mode: 0o700 })
    if (first !== undefined) await syncDirectory(dirname(first))
    const { mode } = await stat(path)
    if ((mode & 0o022) !== 0) throw new CommandFailed(`others may write to ${path}: chmod go-w ${path}`)
  } catch (error) {
    throw failed(error)
  }
}

/**
 * Not through a link: the directory may belong to a program's user, and what its links lead to, with the rights of
 * whoever runs us, would go into files that are then given to that user.
 */
async function readUnlinked(path: string): Promise<string> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    return await file.readFile('utf8')
  } finally {
    await file.close()
  }
}

/** The same for all runs, so that two that run at once meet here and not in the files. */
function stagedName(path: string): string {
  return join(dirname(path), `.${basename(path)}.new`)
}

async function writeDurably(path: string, text: string, mode: number, opened: () => void): Promise<void> {
  const file = await open(path, 'wx', 0o600).catch((cause) => {
    if (codeOf(cause) !== 'EEXIST') throw cause
    throw new CommandFailed(`${path} is there: another init runs, or one was interrupted (then delete it)`, {
      cause,
    })
  })
  opened()
  try {
    await file.writeFile(text)
    // whatever the umask is
    await file.chmod(mode)
    await file.sync()
  } finally {
    await file.close()
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  )
}

function failed(error: unknown): CommandFailed {
  if (error instanceof CommandFailed) return error
  const { message } = error instanceof Error ? error : new Error('unknown error')
  return new CommandFailed(`cannot write: ${message}`, { cause: error })
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
}
