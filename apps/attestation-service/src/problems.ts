import {
  AttestationPolicyError,
  AttestationUnavailable,
  InvalidPolicyId,
  ReferenceValueError,
  unavailableReason,
} from '@passport-kbs/attestation-service'
import { PolicyCompileError } from '@passport-kbs/policy'
import { KbsProblem, problems } from '@passport-kbs/protocol'
import { StorageUnavailable } from '@passport-kbs/storage'
import { EvidenceRejected } from '@passport-kbs/tee-evidence'

/** 400: the request is not one. `detail` names the member, never its value. */
export const malformed = (detail: string, cause?: unknown) => problems.malformedRequest(detail, cause)

/** 401: the caller has no credentials, or wrong ones. */
export const unauthenticated = (detail: string) =>
  new KbsProblem({ kind: 'AdminAuthAccess', status: 401, title: 'Not authenticated', detail })

/** 403: the caller is known and may not do this. */
export const forbidden = (detail: string) =>
  new KbsProblem({ kind: 'AdminAuthAccess', status: 403, title: 'Not allowed', detail })

/** 404: there is none of that name. */
export const notFound = (detail: string) =>
  new KbsProblem({ kind: 'NotFound', status: 404, title: 'Not found', detail })

/**
 * What to tell a caller of a failure (spec 02 W-22): whose fault it is and which rule was broken. Causes, which may
 * quote evidence, are for the log.
 */
export function problemOfFailure(error: unknown): KbsProblem {
  if (error instanceof KbsProblem) return error
  if (error instanceof EvidenceRejected)
    return attestationProblem(422, 'Evidence rejected', `evidence rejected: ${error.code}`, error)
  if (error instanceof AttestationPolicyError)
    return attestationProblem(409, 'Policy failed', 'the attestation policy failed', error)
  if (error instanceof PolicyCompileError || error instanceof InvalidPolicyId)
    return problems.attestationPolicyRefused(error.message, error)
  if (error instanceof ReferenceValueError) return problems.referenceValueRefused(error.message, error)
  if (error instanceof AttestationUnavailable)
    return problems.serviceUnavailable(error, 5, unavailableReason(error))
  if (error instanceof StorageUnavailable) return problems.serviceUnavailable(error, 5)
  return problems.internalError(error)
}

function attestationProblem(status: number, title: string, detail: string, cause: unknown): KbsProblem {
  return new KbsProblem({ kind: 'AttestationError', status, title, detail, cause })
}
