import type { JsonValue } from '@passport-kbs/protocol'
import { EvidenceRejected, type VerificationRequest, type Verifier } from '../src/index.ts'

/** How a verifier rejects: `code at check`; `accepted` when it does not. Anything else it throws fails the test. */
export async function rejectionOf(
  verifier: Verifier,
  evidence: JsonValue,
  request: VerificationRequest,
): Promise<string> {
  try {
    await verifier.verify(evidence, request)
    return 'accepted'
  } catch (error) {
    if (error instanceof EvidenceRejected) return `${error.code} at ${error.check}`
    throw error
  }
}
