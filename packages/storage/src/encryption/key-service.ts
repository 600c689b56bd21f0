import { StorageUnavailable } from '../key-value-store.ts'

/** A storage key as a key service has wrapped it; what of it depends on the service is opaque here. */
export interface Wrapping {
  /** Of the service's key. */
  readonly keyVersion: string
  readonly algorithm: string
  /** As the service writes it: base64url of Key Vault, `vault:v1:…` of Vault. */
  readonly wrapped: string
  /** Where anyone with the public key could wrap: the service's word, in base64url, that it did. */
  readonly signature?: string
}

export type KeyServiceKind = 'azure_key_vault' | 'vault_transit'

/**
 * A service with a key that never leaves it, and wraps the keys that our storage is encrypted with. `binding` is what
 * the wrapped key is for; with another one it does not unwrap.
 *
 * Methods throw `KeyRefused` where asking again helps nothing, and `StorageUnavailable` for everything else.
 */
export interface KeyService {
  readonly kind: KeyServiceKind
  /** Its key, without version, and without the address: a service may move. */
  readonly key: string
  /** With the newest version of the key. */
  wrap(bytes: Uint8Array, binding: Uint8Array): Promise<Wrapping>
  unwrap(wrapping: Wrapping, binding: Uint8Array): Promise<Uint8Array>
  close(): Promise<void>
}

/** The service is there, and its key cannot be used or has not wrapped what it shall unwrap. */
export class KeyRefused extends StorageUnavailable {}
