import { KbsProblem } from '@passport-kbs/protocol'
import { type Audit, type AuditRecord, type KbsRequest, problemOf } from '@passport-kbs/service'

/** What is found out on the way to a decision; whoever finds it notes it here. */
export type AuditFacts = {
  -readonly [name in 'subject' | 'role' | 'issuer' | 'jti' | 'policySha384' | 'teeKeyThumbprint']?:
    | AuditRecord[name]
    | undefined
}

const longestText = 512

/**
 * Does the work of a request for a resource and writes one audit record of what came of it: `allowed`, `denied` for what
 * the client was refused, `failed` for what we could not do. A decision without a record cannot happen.
 */
export async function audited(
  { audit }: { readonly audit: Audit },
  event: string,
  { requestId, segments }: KbsRequest,
  work: (facts: AuditFacts) => Promise<Response>,
): Promise<Response> {
  const facts: AuditFacts = {}
  const resourcePath = segments.slice(1).join('/').slice(0, longestText)
  const record = (decision: AuditRecord['decision'], reason?: string) =>
    audit({ event, decision, requestId, resourcePath, ...facts, reason })
  let answer: Response
  try {
    answer = await work(facts)
  } catch (error) {
    record(problemOf(error).status < 500 ? 'denied' : 'failed', reasonOf(error))
    throw error
  }
  record('allowed')
  return answer
}

/** The cause, which the client is not told, where there is one. */
function reasonOf(error: unknown): string {
  if (error instanceof KbsProblem && !(error.cause instanceof Error)) return error.reason ?? error.detail
  const known = error instanceof KbsProblem ? error.cause : error
  return known instanceof Error ? known.message.slice(0, longestText) : 'unknown'
}
