import type { JsonObject } from '@passport-kbs/protocol'

declare const verified: unique symbol

/** An attestation token whose signature, issuer, audience and times have been checked. Only the verifier makes one. */
export interface VerifiedPassport {
  readonly [verified]: true
  /** `iss`, where there is one. */
  readonly issuer: string | undefined
  /** All claims, parsed strictly. */
  readonly claims: JsonObject
  readonly kid: string | undefined
  readonly jti: string | undefined
  readonly expiresAt: Date
  /** The entry of the configuration that vouched. */
  readonly trustedBy: string
}

/** For the verifier only: states that all checks have passed. */
export function verifiedPassport(fields: Omit<VerifiedPassport, typeof verified>): VerifiedPassport {
  return Object.freeze(fields) as VerifiedPassport
}

export type PassportRejectionCode =
  | 'too-large'
  | 'malformed'
  | 'untrusted-issuer'
  | 'unknown-key'
  | 'keys-unavailable'
  | 'untrusted-certificate'
  | 'unsupported-algorithm'
  | 'bad-signature'
  | 'wrong-audience'
  | 'development-only'
  | 'missing-expiry'
  | 'expired'
  | 'not-yet-valid'

/**
 * A passport is not accepted. `code` is for audit records; the message is for the operator and quotes nothing of the
 * token. `keys-unavailable` is not the guest’s fault: answer 503 rather than 401.
 */
export class PassportRejected extends Error {
  override readonly name = 'PassportRejected'
  readonly code: PassportRejectionCode
  constructor(code: PassportRejectionCode, message: string, options?: { cause?: unknown }) {
    super(`${code}: ${message}`, options)
    this.code = code
  }
}
