import type { StorageKeyring } from './storage-keyring.ts'

/** The keys of a storage, where they may come late and change while the process runs. */
export interface StorageKeys {
  /** To read with. @throws StorageUnavailable as long as there are none */
  known(): StorageKeyring
  /** After looking whether others have added keys: for an envelope whose key is not known. @throws StorageUnavailable */
  lookAgain(): Promise<StorageKeyring>
  /** To write with: of all that has been recorded the current key. @throws StorageUnavailable */
  forWriting(): Promise<StorageKeyring>
  /** Resolves when there are keys. @throws StorageUnavailable */
  ping(): Promise<void>
  close(): Promise<void>
}

/** Keys from files: they are there, and stay as they are. */
export function fixedKeys(keyring: StorageKeyring): StorageKeys {
  return {
    known: () => keyring,
    lookAgain: async () => keyring,
    forWriting: async () => keyring,
    ping: async () => {},
    close: async () => {},
  }
}
