/** The configuration asks for what cannot be. The message names the key and never holds a secret. */
export class StorageConfigError extends Error {
  override readonly name = 'StorageConfigError'
}
