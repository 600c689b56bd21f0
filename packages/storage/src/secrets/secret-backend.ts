import { StorageUnavailable } from '../key-value-store.ts'

/**
 * Where secrets are, by `<repository>/<type>/<tag>` (spec 01 §5.1, §5.2). A back end that cannot answer throws
 * `StorageUnavailable`; it never takes "I do not know" for "there is none".
 */
export interface SecretBackend {
  /**
   * The secret, or undefined where there is none. `version` chooses among the versions that a back end keeps; one that
   * keeps none does not look at it, as Trustee does not look at the query.
   *
   * @throws InvalidSecretVersion
   */
  read(path: string, options?: { readonly version?: string }): Promise<Uint8Array | undefined>
  /** Writes the secret; what was there is replaced. @throws SecretBackendReadOnly, ValueTooLarge */
  write(path: string, value: Uint8Array): Promise<void>
  /** Answers whether there was a secret. @throws SecretBackendReadOnly */
  delete(path: string): Promise<boolean>
  /** Resolves when secrets can probably be read; asks at little cost. For readiness. @throws StorageUnavailable */
  ping(): Promise<void>
}

/** A back end with connections or timers that end with the service. */
export interface OpenSecretBackend extends SecretBackend {
  close(): Promise<void>
}

/** Secrets are only read there; nothing was changed. */
export class SecretBackendReadOnly extends Error {
  override readonly name = 'SecretBackendReadOnly'
  constructor() {
    super('secrets are only read at this place')
  }
}

/** What was asked for is no version as this back end names them. */
export class InvalidSecretVersion extends Error {
  override readonly name = 'InvalidSecretVersion'
  constructor() {
    super('the version is not one that this back end could have')
  }
}

/** The back end is there and refuses us: no outage, so nothing that was read before may stand in for it. */
export class SecretAccessRefused extends StorageUnavailable {}
