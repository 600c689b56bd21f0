import type { StorageConfig } from '@passport-kbs/storage'
import type { RawConfig } from './schema.ts'

type CamelName<S extends string> = S extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<CamelName<Tail>>}`
  : S

/** A parsed document with camelCase names; absent members are absent, never `undefined`. */
export type CamelCased<T> = T extends readonly (infer Item)[]
  ? readonly CamelCased<Item>[]
  : T extends object
    ? { readonly [K in keyof T as K extends string ? CamelName<K> : K]: CamelCased<Exclude<T[K], undefined>> }
    : T

/** The stores, each as `openStorage` / `openSessionStore` take it. */
export interface StorageChoices {
  readonly data: StorageConfig
  readonly sessions: StorageConfig
  readonly attestationPolicies: StorageConfig
  readonly referenceValues: StorageConfig
}

/** The whole configuration after parsing: camelCase names, aliases resolved, defaults filled in. */
export type Config = Omit<CamelCased<RawConfig>, 'storageBackend' | 'sessionStorageType'> & {
  /** From `[storage_backend]`, `session_storage_type`, the `storage_type`s of the attestation service, `REDIS_URL` and `POSTGRES_URL`. */
  readonly storage: StorageChoices
  /** What was accepted although it means nothing here, or is risky; to be logged at start. */
  readonly warnings: readonly string[]
  /** The file that was read; absent when everything is default. */
  readonly sourceFile?: string
}

export type Program = 'kbs-attest' | 'kbs-resource' | 'kbs' | 'attestation-service'
export type HttpServerConfig = Config['httpServer']
export type AdminConfig = Config['admin']
export type AttestationTokenConfig = Config['attestationToken']
export type AttestationServiceConfig = Config['attestationService']
export type BuiltInAttestationConfig = Extract<AttestationServiceConfig, { type: 'coco_as_builtin' }>
export type RemoteAttestationConfig = Extract<AttestationServiceConfig, { type: 'coco_as_grpc' }>
export type IntelTrustAuthorityConfig = Extract<AttestationServiceConfig, { type: 'intel_ta' }>
export type AttestationApiConfig = Config['attestationApi']
export type PluginConfig = Config['plugins'][number]

/** `dir_path` → `dirPath`, everywhere in a parsed document. Values are not touched. */
export function camelCased<T>(value: T): CamelCased<T> {
  return rename(value) as CamelCased<T>
}

function rename(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(rename)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .map(([name, member]) => [
        name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase()),
        rename(member),
      ]),
  )
}
