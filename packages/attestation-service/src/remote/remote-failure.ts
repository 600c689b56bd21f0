import { type ServiceError, status } from '@grpc/grpc-js'
import { EvidenceRejected, type RejectionCode, rejectionCodes } from '@passport-kbs/tee-evidence'
import {
  AttestationPolicyError,
  AttestationRefused,
  AttestationUnavailable,
  unmadeCheck,
} from '../attestation-service.ts'
import { trailerNames } from './proto.ts'
import { TokenFileError } from './token-file.ts'

/** Longest text of a server that is passed on. */
const maxDetails = 2_000

/**
 * What a failed call means here. The server's own faults, and those of the way to it, are `AttestationUnavailable`; what
 * it says of the request is `EvidenceRejected` where it names the rule (`AttestationUnavailable` with it where the rule
 * could not be applied), `AttestationPolicyError` or `AttestationRefused`. A Trustee AS answers `ABORTED` for everything (spec 02 §1.4), its own faults included: that it
 * refuses is all that is known.
 */
export function remoteFailure(error: unknown, who = 'the remote attestation service'): Error {
  if (error instanceof TokenFileError)
    return new AttestationUnavailable(`the token for ${who} cannot be read`, { cause: error })
  if (!isServiceError(error)) return new AttestationUnavailable(`${who} cannot be asked`, { cause: error })
  const unavailable = (what: string, cause: ServiceError) => unavailableBecause(`${who} ${what}`, cause)
  const rejection = rejectionOf(error)
  if (rejection !== undefined) return rejection.outage ? unmadeCheck(rejection) : rejection
  const details = error.details.slice(0, maxDetails)
  switch (error.code) {
    case status.FAILED_PRECONDITION:
      return new AttestationPolicyError(`${who}: ${details}`, { cause: error })
    case status.ABORTED:
    case status.INVALID_ARGUMENT:
    case status.NOT_FOUND:
      return new AttestationRefused(details, { cause: error })
    case status.OUT_OF_RANGE:
      return tooLarge(error)
    case status.RESOURCE_EXHAUSTED:
      return /larger than|too large|max(?:imum)? (?:message )?size/i.test(details)
        ? tooLarge(error)
        : unavailable('has too much to do', error)
    case status.DEADLINE_EXCEEDED:
      return unavailable('did not answer in time', error)
    case status.UNAUTHENTICATED:
    case status.PERMISSION_DENIED:
      return unavailable('does not let this KBS do that', error)
    case status.UNIMPLEMENTED:
      return unavailable('does not know the call', error)
    case status.UNAVAILABLE:
      return unavailable('cannot be reached', error)
    default:
      return unavailable('failed', error)
  }
}

function unavailableBecause(what: string, cause: ServiceError): AttestationUnavailable {
  const [requestId] = cause.metadata?.get(trailerNames.requestId) ?? []
  const trail = requestId === undefined ? '' : ` (its request ${String(requestId).slice(0, 64)})`
  return new AttestationUnavailable(
    `${what}: ${status[cause.code]}: ${cause.details.slice(0, maxDetails)}${trail}`,
    { cause },
  )
}

function tooLarge(cause: ServiceError): AttestationRefused {
  const text =
    'the evidence, or the token for it, is larger than a message of the remote attestation service may be'
  return new AttestationRefused(text, { cause })
}

function rejectionOf(error: ServiceError): EvidenceRejected | undefined {
  const [name] = error.metadata?.get(trailerNames.rejection) ?? []
  const [check] = error.metadata?.get(trailerNames.check) ?? []
  const code = rejectionCodes.find((known): known is RejectionCode => known === name)
  if (code === undefined) return undefined
  const where = typeof check === 'string' ? check.slice(0, 128) : 'unknown'
  if (error.code === status.UNAVAILABLE) {
    const detail = 'the remote attestation service cannot make the check now'
    return new EvidenceRejected(code, where, detail, { cause: error, outage: true })
  }
  return new EvidenceRejected(code, where, 'rejected by the remote attestation service', { cause: error })
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && 'code' in error && 'details' in error && typeof error.details === 'string'
}
