import { Metadata, status } from '@grpc/grpc-js'
import { AttestationUnavailable } from '@passport-kbs/attestation-service'
import { trailerNames } from '@passport-kbs/attestation-service/remote'
import type { KbsProblem } from '@passport-kbs/protocol'
import { EvidenceRejected } from '@passport-kbs/tee-evidence'

/** What a failed call ends with. */
export interface CallStatus {
  readonly code: status
  readonly details: string
  readonly metadata: Metadata
}

const codes: Readonly<Record<number, status>> = {
  400: status.INVALID_ARGUMENT,
  401: status.UNAUTHENTICATED,
  403: status.PERMISSION_DENIED,
  404: status.NOT_FOUND,
  409: status.FAILED_PRECONDITION,
  413: status.RESOURCE_EXHAUSTED,
  422: status.INVALID_ARGUMENT,
  429: status.RESOURCE_EXHAUSTED,
  503: status.UNAVAILABLE,
}

/**
 * A problem in gRPC's words (spec 02 W-22). Rejected evidence has its reason in the trailers too, so that a caller need
 * not read texts; so has evidence that cannot be verified now, which is not to be sent again at once: another attempt
 * would wait for the same service of a vendor.
 */
export function callStatus(problem: KbsProblem, requestId: string): CallStatus {
  const metadata = new Metadata()
  metadata.set(trailerNames.requestId, requestId)
  const { cause, detail, reason } = problem
  const unmade = cause instanceof AttestationUnavailable ? cause.unmade : undefined
  const rejection = cause instanceof EvidenceRejected ? cause : unmade
  if (rejection !== undefined) {
    metadata.set(trailerNames.rejection, rejection.code)
    metadata.set(trailerNames.check, rejection.check)
  }
  if (unmade !== undefined) metadata.set(trailerNames.retryPushback, '-1')
  return {
    code: codes[problem.status] ?? status.INTERNAL,
    details: reason === undefined ? detail : `${detail}: ${reason}`,
    metadata,
  }
}
