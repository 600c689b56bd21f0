import { AttestationRefused, AttestationUnavailable } from '@passport-kbs/attestation-service'
import { problems } from '@passport-kbs/protocol'

/**
 * What to throw for a failure of the attestation service that a route has no word for: 503 while it cannot answer, 400
 * for what one that is elsewhere refuses an administrator.
 */
export function attestationProblem(error: unknown): unknown {
  if (error instanceof AttestationRefused) return problems.attestationPolicyRefused(error.message, error)
  return error instanceof AttestationUnavailable ? problems.serviceUnavailable(error, 5) : error
}
