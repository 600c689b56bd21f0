import type { AttestationService } from '@passport-kbs/attestation-service'
import type { Logger, Metrics } from '@passport-kbs/service'
import type { Callers } from './callers.ts'
import type { Operations } from './operations.ts'

/** What both transports work with. */
export interface ApiDeps {
  readonly attestation: AttestationService
  readonly operations: Operations
  readonly callers: Callers
  readonly logger: Logger
  readonly metrics: Metrics
}
