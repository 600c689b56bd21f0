import type { VerifiedEvidence } from '@passport-kbs/tee-evidence'
import type { Outcome } from './vector-case.ts'

/** The outcome for a verifier that gives exactly one entry. */
export function claimsOf(verified: readonly VerifiedEvidence[]): Outcome {
  const [entry, second] = verified
  if (entry === undefined || second !== undefined) throw new Error(`${verified.length} entries, not one`)
  return { result: 'accept', claims: entry.claims }
}
