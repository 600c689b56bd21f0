/** Reason codes of spec 03 §2.3 and spec 04; part of the public interface, never renamed. */
export const rejectionCodes = ['EVIDENCE_MALFORMED', 'EVIDENCE_VERSION_TOO_OLD', 'INPUT_INVALID'] as const

export type RejectionCode = (typeof rejectionCodes)[number]

/** The one exception a verifier throws. `detail` is for the operator: it names fields and numbers, never secrets. */
export class EvidenceRejected extends Error {
  override readonly name = 'EvidenceRejected'
  readonly code: RejectionCode
  /** The check that failed. */
  readonly check: string
  readonly detail: string
  constructor(code: RejectionCode, check: string, detail: string, options?: { cause?: unknown }) {
    super(`${code}: ${detail}`, options)
    this.code = code
    this.check = check
    this.detail = detail
  }
}
