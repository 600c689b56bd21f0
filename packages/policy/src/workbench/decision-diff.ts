/** Which recorded decisions would be others under another policy. */
import { type CompiledPolicy, compilePolicy, type PolicySource, type RuleResult } from '../policy.ts'
import { toJsonText } from '../values/json.ts'
import { compareValues, RegoObject, type Value } from '../values/value.ts'
import { compileOptionsFor } from './check.ts'
import { type PolicyPurpose, purposes } from './claim-paths.ts'
import {
  evaluateRecorded,
  RecordedAnswers,
  type RecordedQuestion,
  type Surroundings,
} from './traced-evaluation.ts'

/** One recorded request. */
export interface RecordedDecision extends RecordedQuestion {
  /** Tells it from others: a file, a line, a request id. */
  readonly name: string
  /** What was decided then, where it was recorded. Needed where there is no old policy. */
  readonly decided?: string | undefined
}

/** `allowed`, `denied (…)`, `failed (…)`; of appraisals the trust vector. */
export interface DecisionChange {
  readonly name: string
  readonly before: string
  readonly after: string
}

export interface DecisionDiff {
  readonly compared: number
  readonly changes: readonly DecisionChange[]
  /** Names of decisions that cannot be compared: nothing says what was decided. */
  readonly incomparable: readonly string[]
}

/**
 * Decides each record under the new policy and under the old one, or compares with what was recorded.
 * @throws PolicyCompileError
 */
export function diffDecisions(
  purpose: PolicyPurpose,
  policies: { readonly old?: PolicySource | undefined; readonly new: PolicySource },
  decisions: readonly RecordedDecision[],
  surroundings: Surroundings,
): DecisionDiff {
  const options = compileOptionsFor(purpose)
  const old = policies.old && compilePolicy([policies.old], options)
  const next = compilePolicy([policies.new], options)
  const changes: DecisionChange[] = []
  const incomparable: string[] = []
  for (const decision of decisions) {
    const after = decide(purpose, next, decision, surroundings)
    const before = old ? decide(purpose, old, decision, surroundings) : decision.decided
    if (before === undefined) incomparable.push(decision.name)
    else if (outcomeOf(purpose, before, !old) !== outcomeOf(purpose, after, !old)) {
      changes.push({ name: decision.name, before, after })
    }
  }
  return { compared: decisions.length - incomparable.length, changes, incomparable }
}

/** Records say `allowed` or `denied`, without the reason that we give. */
function outcomeOf(purpose: PolicyPurpose, decision: string, isRecorded: boolean): string {
  return isRecorded && purpose === 'resource' ? (decision.split(' ')[0] ?? '') : decision
}

/** What the services make of a policy's answer: the decision in words that hold no claim. */
export function decide(
  purpose: PolicyPurpose,
  policy: CompiledPolicy,
  { input, data, referenceValues }: RecordedQuestion,
  surroundings: Surroundings,
): string {
  const [rule] = purposes[purpose].rules as [string, ...string[]]
  const answers = new RecordedAnswers(referenceValues)
  const { results, error } = evaluateRecorded(policy, {
    rules: [rule],
    input,
    data,
    answers,
    ...surroundings,
  })
  if (error) return `failed (${error.code})`
  const result = results.get(rule)
  return purpose === 'resource' ? release(rule, result) : trustVector(rule, result)
}

function release(rule: string, result: RuleResult | undefined): string {
  if (!result || result.kind === 'missing') return `denied (there is no ${rule})`
  if (result.kind === 'undefined') return `denied (${rule} is undefined)`
  if (result.value === true) return 'allowed'
  return result.value === false ? `denied (${rule} is false)` : `denied (${rule} is not a boolean)`
}

function trustVector(rule: string, result: RuleResult | undefined): string {
  if (!result || result.kind === 'missing') return 'no claims'
  if (result.kind === 'undefined') return `failed (${rule} is undefined)`
  const { value } = result
  if (!(value instanceof RegoObject)) return `failed (${rule} is not an object)`
  const claims = value.keys().toSorted(compareValues)
  return claims.map((name) => `${String(name)} ${numberText(value.get(name))}`).join(', ')
}

function numberText(value: Value | undefined): string {
  return typeof value === 'number' ? toJsonText(value) : 'not a number'
}
