import {
  AttestationRefused,
  AttestationUnavailable,
  unavailableReason,
} from '@passport-kbs/attestation-service'
import { problems } from '@passport-kbs/protocol'

/**
 * What to throw for a failure of the attestation service that a route has no word for: 503 while it cannot answer, with the
 * code of the check that cannot be made where it is a vendor's service that does not answer; 400 for what one that is elsewhere refuses an administrator.
 */
export function attestationProblem(error: unknown): unknown {
  if (error instanceof AttestationRefused) return problems.attestationPolicyRefused(error.message, error)
  if (!(error instanceof AttestationUnavailable)) return error
  return problems.serviceUnavailable(error, 5, unavailableReason(error))
}
