import { constants } from 'node:fs'
import { access, lstat, realpath } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { StorageUnavailable } from '../key-value-store.ts'
import { absent, readRegularFile } from '../local-fs/durable-file.ts'
import { type SecretBackend, SecretBackendReadOnly } from './secret-backend.ts'

/** Names in first place of a dot are the driver's own. */
const fileName = /^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}$/
/** How often the driver may swap its links while one secret is read. */
const attempts = 3

/**
 * A directory of files, each a secret: what the Secrets Store CSI driver mounts into a pod. The file's name is the last
 * segment of the path. Nothing is kept in memory: the driver writes new content into a new folder and swaps the link
 * `..data` to it, so the next read finds it.
 *
 * Links are followed as long as they stay in the directory, as those of the driver do; one that leads out is refused.
 *
 * @param directory may be missing at first: reads throw `StorageUnavailable` until it is mounted
 */
export function directorySecrets(directory: string): SecretBackend {
  const refuse = async (): Promise<never> => {
    throw new SecretBackendReadOnly()
  }
  return {
    async read(path) {
      const name = path.slice(path.lastIndexOf('/') + 1)
      if (!fileName.test(name)) return undefined
      try {
        return await readWithin(directory, name)
      } catch (cause) {
        throw unreadable(cause)
      }
    },
    write: refuse,
    delete: refuse,
    async ping() {
      await access(`${directory}/.`, constants.R_OK | constants.X_OK).catch((cause) => {
        throw unreadable(cause)
      })
    },
  }
}

function unreadable(cause: unknown): StorageUnavailable {
  if (cause instanceof StorageUnavailable) return cause
  const code = (cause as NodeJS.ErrnoException).code ?? 'unknown error'
  return new StorageUnavailable(`cannot read the directory of secrets: ${code}`, { cause })
}

/** Resolves the links first and opens the file they name: between the two the driver may have swapped them. */
async function readWithin(directory: string, name: string): Promise<Uint8Array | undefined> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    const root = await realpath(directory)
    const file = await realpath(join(root, name)).catch(absent)
    if (file === undefined) {
      // a name that is there and leads nowhere is one that is being swapped
      if ((await lstat(join(root, name)).catch(absent)) === undefined) return undefined
      continue
    }
    if (!file.startsWith(root + sep))
      throw new StorageUnavailable('a link leads out of the directory of secrets')
    const secret = await readRegularFile(file)
    if (secret !== undefined) return secret
  }
  throw new StorageUnavailable('the directory of secrets changes while it is read')
}
