import type { TeeKeyPolicy } from '@passport-kbs/protocol'
import type { AdminGuard, Audit, Logger, Metrics, PassportVerifier } from '@passport-kbs/service'
import type { SecretBackend, Storage } from '@passport-kbs/storage'
import type { ResourcePolicy } from './resource-policy.ts'

/** All that KBS2's routes work with; `main.ts` builds it from the configuration. */
export interface ResourceDeps {
  readonly passports: PassportVerifier
  readonly policy: ResourcePolicy
  /** Secrets by `<repository>/<type>/<tag>`; absent where no `resource` plugin is configured. */
  readonly secrets: SecretBackend | undefined
  /** For readiness. */
  readonly storage: Storage
  readonly admin: AdminGuard
  readonly audit: Audit
  readonly logger: Logger
  readonly metrics: Metrics
  /** JSON pointers to the TEE key, tried before the usual ones. */
  readonly extraTeeKeyPaths: readonly string[]
  readonly teeKeys: TeeKeyPolicy
  /** Status of a policy denial: 401 as Trustee, 403 by choice. */
  readonly denyStatus: 401 | 403
  /** The passport of an attested cookie session; only where both halves are one process. */
  readonly sessionPassport?: (cookie: string | undefined) => Promise<string | undefined>
}
