import {
  type AttestationService,
  AttestationUnavailable,
  type Evaluation,
  type EvaluationItem,
} from '@passport-kbs/attestation-service'
import { type JsonValue, parseTee, stringifyJson } from '@passport-kbs/protocol'
import type { Audit, Metrics } from '@passport-kbs/service'
import { EvidenceRejected } from '@passport-kbs/tee-evidence'
import type { Caller } from './callers.ts'
import { decodeText, type EvaluationRequest, evaluationItem, parseJsonMember } from './evaluation-request.ts'
import { malformed, notFound } from './problems.ts'

export interface OperationDeps {
  readonly attestation: AttestationService
  readonly audit: Audit
  readonly metrics: Metrics
  readonly now: () => Date
}

/** One call of an authorised caller. */
export interface Call {
  readonly caller: Caller
  /** A UUID that the answer has too. */
  readonly requestId: string
}

/**
 * What the attestation service does for others (spec 02 §1), whichever the transport. Failures are thrown as they come;
 * `problemOfFailure` words them.
 */
export interface Operations {
  /** Answers a compact JWS. */
  evaluate(call: Call, request: EvaluationRequest): Promise<string>
  /** The nonce of TEEs whose verifier makes it: none of those that are verified here, so the text is empty. */
  challenge(request: Readonly<Record<string, string>>): string
  /** @param policy base64url of the Rego text */
  setPolicy(call: Call, policyId: string, policy: string): Promise<void>
  getPolicy(policyId: string): Promise<string>
  listPolicies(): Promise<readonly string[]>
  /** @param message JSON text of an RVPS envelope */
  registerReferenceValues(call: Call, message: string): Promise<void>
  /** JSON text, or undefined where there is none. */
  queryReferenceValue(call: Call, id: string): Promise<string | undefined>
}

export function createOperations(deps: OperationDeps): Operations {
  const { attestation, audit, now } = deps
  const record = ({ caller, requestId }: Call) => ({
    requestId,
    ...(caller.name === undefined ? {} : { subject: caller.name }),
  })
  return {
    evaluate: async (call, request) => (await evaluate(deps, record(call), request)).token,
    challenge(request) {
      const tee = parseTee(stringMember(request, 'tee'))
      stringMember(request, 'tee_params')
      if (tee === undefined) throw malformed('tee: unknown TEE')
      attestation.negotiate(tee, undefined)
      return ''
    },
    async setPolicy(call, policyId, policy) {
      await attestation.setPolicy(policyId, decodeText(policy, 'policy'), call.caller.name)
      audit({ event: 'attestation-policy', decision: 'allowed', policyId, ...record(call) })
    },
    async getPolicy(policyId) {
      const text = await attestation.getPolicy(policyId)
      if (text === undefined) throw notFound('there is no policy of that id')
      return text
    },
    listPolicies: () => attestation.listPolicies(),
    async registerReferenceValues(call, message) {
      const names = await attestation.registerReferenceValues(parseJsonMember(message, 'message'), now())
      audit({ event: 'reference-value', decision: 'allowed', referenceValues: names, ...record(call) })
    },
    async queryReferenceValue(call, id) {
      const value: JsonValue | undefined = await attestation.queryReferenceValue(id, now())
      audit({ event: 'reference-value-read', decision: 'allowed', referenceValues: [id], ...record(call) })
      return value === undefined ? undefined : stringifyJson(value)
    },
  }
}

async function evaluate(
  { attestation, audit, metrics, now }: OperationDeps,
  caller: { readonly requestId: string; readonly subject?: string },
  { requests, policyIds }: EvaluationRequest,
): Promise<Evaluation> {
  metrics.attestationRequests.inc()
  const record = { event: 'attestation', ...caller }
  let primary: EvaluationItem | undefined
  try {
    const items = requests.map((request, i) => evaluationItem(request, `verification_requests[${i}]`))
    primary = items[0]
    if (primary === undefined) throw malformed('verification_requests: empty')
    // Trustee, too, looks at the first only
    const context = { now: now(), requestId: caller.requestId, policyId: policyIds[0] }
    const evaluation = await attestation.evaluate(items, context)
    metrics.attestationSucceeded(primary.tee)
    const { jti, submods } = evaluation
    audit({ ...record, decision: 'allowed', tee: primary.tee, jti, submods })
    return evaluation
  } catch (error) {
    metrics.attestationErrors.inc()
    if (primary !== undefined) {
      if (error instanceof AttestationUnavailable) metrics.attestationUnavailable(primary.tee)
      else metrics.attestationFailed(primary.tee)
    }
    const decision = error instanceof EvidenceRejected ? 'denied' : 'failed'
    audit({ ...record, decision, tee: primary?.tee, reason: auditReason(error) })
    throw error
  }
}

function auditReason(error: unknown): string {
  if (error instanceof EvidenceRejected) return `${error.check}: ${error.code}: ${error.detail}`
  return error instanceof Error ? `${error.name}: ${error.message}` : 'unknown'
}

function stringMember(map: Readonly<Record<string, string>>, name: string): string {
  const value = Object.hasOwn(map, name) ? map[name] : undefined
  if (value === undefined) throw malformed(`${name}: missing`)
  return value
}
