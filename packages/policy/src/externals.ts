/** Rounds of external look-ups: suspend, answer in one batch, evaluate again (spec 05 §9). */
import { PolicyLimitError } from './errors.ts'
import type { ExternalAnswers, ExternalCall } from './evaluate/context.ts'
import type { BoundPolicy, CompiledPolicy, Evaluation, EvaluationRequest } from './policy.ts'
import { canonicalText, type Value } from './values/value.ts'

const MAX_ROUNDS = 8

/** Answers by name and arguments. Reading one that is not there gives undefined: not known yet. */
export class AnswerBook implements ExternalAnswers {
  readonly #answers = new Map<string, Value | Error>()

  get(name: string, args: readonly Value[]): Value | Error | undefined {
    return this.#answers.get(keyOf(name, args))
  }

  /** An `Error` makes the evaluation fail when it comes to that call. */
  set(name: string, args: readonly Value[], answer: Value | Error): void {
    this.#answers.set(keyOf(name, args), answer)
  }

  get size(): number {
    return this.#answers.size
  }
}

function keyOf(name: string, args: readonly Value[]): string {
  return `${name}${canonicalText(args)}`
}

/** Looks up one batch; the answers stand in the order of the calls. */
export type ExternalLookup = (calls: readonly ExternalCall[]) => Promise<readonly (Value | Error)[]>

/**
 * Evaluates and answers external calls in rounds until there is a result. Answers in `request.answers` are
 * used first. Throws `PolicyLimitError` (`rounds`) after 8 rounds; a rejected look-up rejects the evaluation.
 */
export async function evaluateWith(
  policy: CompiledPolicy | BoundPolicy,
  request: EvaluationRequest,
  lookup: ExternalLookup,
): Promise<Extract<Evaluation, { kind: 'done' }>> {
  const book = new AnswerBook()
  const answers: ExternalAnswers = {
    get: (name, args) => {
      const given = request.answers?.get(name, args)
      // null is an answer
      return given === undefined ? book.get(name, args) : given
    },
  }
  for (let round = 0; round <= MAX_ROUNDS; round++) {
    const evaluation = policy.evaluate({ ...request, answers })
    if (evaluation.kind === 'done') return evaluation
    if (round === MAX_ROUNDS) break
    const found = await lookup(evaluation.calls)
    evaluation.calls.forEach(({ name, args }, i) => {
      const answer = found[i]
      book.set(name, args, answer === undefined ? new Error('the look-up gave no answer') : answer)
    })
  }
  throw new PolicyLimitError(
    'rounds',
    `external look-ups depend on each other over more than ${MAX_ROUNDS} rounds`,
  )
}
