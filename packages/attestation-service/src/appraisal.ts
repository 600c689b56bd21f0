import { randomBytes } from 'node:crypto'
import {
  type CompiledPolicy,
  type ExternalCall,
  evaluateWith,
  PolicyError,
  parseJson as parsePolicyJson,
  type RuleResult,
  toJsonText,
  type Value,
} from '@passport-kbs/policy'
import { type JsonObject, type JsonValue, jsonObject, parseJson, stringifyJson } from '@passport-kbs/protocol'
import { AttestationPolicyError, ReferenceValueError } from './attestation-service.ts'
import type { Appraisal } from './ear.ts'
import { readExtensions } from './extensions.ts'
import { extensionsRule, trustClaimsRule } from './policy-store.ts'
import type { ReferenceValues } from './reference-values.ts'
import { emptyTrustVector, readTrustVector, trustStatus } from './trust-vector.ts'

/** What an appraisal needs besides evidence and policy. */
export interface AppraisalContext {
  readonly referenceValues: ReferenceValues
  readonly now: Date
  /** A monotonic clock in milliseconds. */
  readonly clock: () => number
  /** How long the policy may compute, in milliseconds. Waiting for the store does not count. */
  readonly timeLimitMs: number
}

/** Depth of a JSON result that goes into a token. */
const maxResultDepth = 64

/**
 * Appraises annotated evidence with a policy: trust vector, status and extensions (spec 02 §2.7 to §2.9).
 * @throws AttestationPolicyError when the policy fails, exceeds its limits, or says what no policy may say.
 */
export async function appraise(
  annotatedEvidence: JsonObject,
  policy: { readonly id: string; readonly storedId: string; readonly compiled: CompiledPolicy },
  context: AppraisalContext,
): Promise<Appraisal> {
  const { compiled, storedId } = policy
  const input = parsePolicyJson(stringifyJson(annotatedEvidence))
  const results = await inPolicy(storedId, () => evaluate(compiled, input, context))
  return await inPolicy(storedId, async () => {
    const trustClaims = ruleValue(trustClaimsRule, results)
    const extensions = ruleValue(extensionsRule, results)
    const vector = trustClaims === undefined ? emptyTrustVector : readTrustVector(trustClaims)
    return {
      status: trustStatus(vector),
      vector,
      policyId: policy.id,
      policy: { id: storedId, sha384: compiled.sha384 },
      annotatedEvidence,
      extensions: extensions === undefined ? jsonObject({}) : readExtensions(extensions),
    }
  })
}

async function evaluate(
  policy: CompiledPolicy,
  input: Value,
  context: AppraisalContext,
): Promise<ReadonlyMap<string, RuleResult>> {
  const { clock, referenceValues, now, timeLimitMs } = context
  let endsAt = clock() + timeLimitMs
  const lookUp = async (calls: readonly ExternalCall[]) => {
    const startedAt = clock()
    const names = calls.map(referenceValueName)
    const values = await referenceValues.queryMany(names, now)
    endsAt += clock() - startedAt
    return values.map((value) => (value === undefined ? null : parsePolicyJson(stringifyJson(value))))
  }
  const { results } = await evaluateWith(
    policy,
    {
      rules: [trustClaimsRule, extensionsRule],
      input,
      now: BigInt(now.getTime()) * 1_000_000n,
      randomBytes: (size) => new Uint8Array(randomBytes(size)),
      deadline: () => clock() > endsAt,
    },
    lookUp,
  )
  return results
}

function referenceValueName({ args: [name] }: ExternalCall): string {
  if (typeof name !== 'string') throw new TypeError('the engine passes on names that are strings only')
  return name
}

/** Undefined where the policy has no such rule. A rule without a value for this input is an error. */
function ruleValue(rule: string, results: ReadonlyMap<string, RuleResult>): JsonValue | undefined {
  const result = results.get(rule)
  if (result === undefined || result.kind === 'missing') return undefined
  if (result.kind === 'undefined') {
    throw new AttestationPolicyError(
      `${rule} is undefined for this evidence: one of the rules that it uses has no value`,
    )
  }
  return parseJson(toJsonText(result.value), { maxDepth: maxResultDepth })
}

/** Errors of the engine and of the rules here name the policy that they happened in. */
async function inPolicy<T>(id: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (cause) {
    const known = [PolicyError, AttestationPolicyError, ReferenceValueError]
    if (!(cause instanceof Error) || !known.some((error) => cause instanceof error)) throw cause
    throw new AttestationPolicyError(`attestation policy ${JSON.stringify(id)}: ${cause.message}`, { cause })
  }
}
