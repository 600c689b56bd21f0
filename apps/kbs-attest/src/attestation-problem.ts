import { AttestationUnavailable } from '@passport-kbs/attestation-service'
import { problems } from '@passport-kbs/protocol'

/** What to throw for a failure of the attestation service that a route has no word for: 503 while it cannot answer. */
export function attestationProblem(error: unknown): unknown {
  return error instanceof AttestationUnavailable ? problems.serviceUnavailable(error, 5) : error
}
