import type { AttestationService } from '@passport-kbs/attestation-service'
import type { TeeKeyPolicy } from '@passport-kbs/protocol'
import type { AdminGuard, Audit, Logger, Metrics } from '@passport-kbs/service'
import type { SessionStore } from '@passport-kbs/storage'

/** All that KBS1's routes work with; `main.ts` builds it from the configuration. */
export interface AttestDeps {
  readonly attestation: AttestationService
  readonly sessions: SessionStore
  readonly admin: AdminGuard
  readonly audit: Audit
  readonly logger: Logger
  readonly metrics: Metrics
  readonly now: () => Date
  readonly randomBytes: (size: number) => Uint8Array
  /** Lifetime of a handshake session, in milliseconds. */
  readonly sessionLifetimeMs: number
  /** How long `/attest` may take, in milliseconds; guests give up after 60 s. */
  readonly attestTimeoutMs: number
  readonly teeKeys: TeeKeyPolicy
  /** Whether the listener speaks TLS, so that cookies may be `Secure`. */
  readonly secureCookies: boolean
}
