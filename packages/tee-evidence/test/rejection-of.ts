import type { JsonValue } from '@passport-kbs/protocol'
import { EvidenceRejected, type VerificationRequest, type Verifier } from '../src/index.ts'

/**
 * How a verifier rejects: `code at check`, with `, an outage` where it is no verdict; `accepted` when it does not. Anything else it throws fails
 * the test, and so does a code that the check does not state.
 */
export async function rejectionOf(
  verifier: Verifier,
  evidence: JsonValue,
  request: VerificationRequest,
): Promise<string> {
  try {
    await verifier.verify(evidence, request)
    return 'accepted'
  } catch (error) {
    if (!(error instanceof EvidenceRejected)) throw error
    const check = verifier.checks.find(({ name }) => name === error.check)
    if (check?.codes.includes(error.code) !== true)
      throw new Error(`${error.check} does not state ${error.code}`)
    return `${error.code} at ${error.check}${error.outage ? ', an outage' : ''}`
  }
}
