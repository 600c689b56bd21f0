import { InvalidStorageKey, StorageUnavailable } from '../key-value-store.ts'
import { ValueTooLarge } from '../storage-key.ts'

/** Runs a file operation; what the operating system refuses (full disk, no permission, …) is `StorageUnavailable`. */
export async function answering<T>(what: string, operation: () => Promise<T>): Promise<T> {
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
