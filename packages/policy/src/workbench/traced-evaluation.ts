/** Evaluates a policy on recorded input, with reference values at hand, and tells what every expression did. */
import { PolicyError } from '../errors.ts'
import type { ExternalAnswers } from '../evaluate/context.ts'
import {
  type CompiledPolicy,
  compileTraceable,
  type EvaluationRequest,
  type PolicySource,
  type RuleResult,
} from '../policy.ts'
import type { Value } from '../values/value.ts'
import { compileOptionsFor } from './check.ts'
import { type PolicyPurpose, purposes } from './claim-paths.ts'
import { type BodyTrace, TraceRecorder } from './trace.ts'

/** What a recorded decision was made on. */
export interface RecordedQuestion {
  readonly input: Value
  /** For resource policies: plugin, path and query of the request. */
  readonly data?: Value | undefined
  /** For attestation policies; what is not here is unknown, and null. */
  readonly referenceValues?: ReadonlyMap<string, Value> | undefined
}

/** What an evaluation takes from outside. */
export type Surroundings = Pick<EvaluationRequest, 'now' | 'randomBytes' | 'deadline'>

export interface TracedEvaluation {
  readonly results: ReadonlyMap<string, RuleResult>
  /** The evaluation broke off; there are no results. */
  readonly error: PolicyError | undefined
  readonly bodies: readonly BodyTrace[]
  /** Reference values that were asked for and are unknown. */
  readonly unknownReferenceValues: readonly string[]
  readonly printed: readonly string[]
}

/** Evaluates rules with a trace. @param rules those that the services ask for, unless told. @throws PolicyCompileError */
export function evaluateTraced(
  sources: readonly PolicySource[],
  purpose: PolicyPurpose,
  question: RecordedQuestion,
  surroundings: Surroundings,
  rules: readonly string[] = purposes[purpose].rules,
): TracedEvaluation {
  const { policy, sites } = compileTraceable(sources, compileOptionsFor(purpose))
  const trace = new TraceRecorder(sites)
  const answers = new RecordedAnswers(question.referenceValues)
  const printed: string[] = []
  const request = {
    rules,
    ...question,
    ...surroundings,
    answers,
    trace,
    onPrint: (line: string) => void printed.push(line),
  }
  const outcome = evaluateRecorded(policy, request)
  return { ...outcome, bodies: trace.bodies(), unknownReferenceValues: [...answers.unknown], printed }
}

/** Results, or the error that ended the evaluation. Answers are at hand, so there is one round. */
export function evaluateRecorded(
  policy: CompiledPolicy,
  request: EvaluationRequest,
): Pick<TracedEvaluation, 'results' | 'error'> {
  try {
    const evaluation = policy.evaluate(request)
    if (evaluation.kind !== 'done') throw new Error('recorded answers are never missing')
    return { results: evaluation.results, error: undefined }
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error
    return { results: new Map(), error }
  }
}

/** Reference values from a record: what is not in it is unknown, as to the service that does not have it. */
export class RecordedAnswers implements ExternalAnswers {
  readonly unknown = new Set<string>()
  readonly #values: ReadonlyMap<string, Value>

  constructor(values: ReadonlyMap<string, Value> = new Map()) {
    this.#values = values
  }

  get(_name: string, [id]: readonly Value[]): Value {
    const known = typeof id === 'string' ? this.#values.get(id) : undefined
    if (known === undefined && typeof id === 'string') this.unknown.add(id)
    return known ?? null
  }
}
