/** Queries: bodies whose variables and expression values are the result (spec 05 §10). */
import type { PolicyDiagnostic } from '../errors.ts'
import type { Context } from '../evaluate/context.ts'
import type { Value } from '../values/value.ts'
import { Frame } from './plan-types.ts'
import { Bound, Planner, type PlanningContext } from './planner.ts'
import type { Local, ResolvedLiteral } from './resolved.ts'
import type { SlotAllocator } from './scope.ts'
import { chain } from './steps.ts'

/** One solution of a query. */
export interface QueryResult {
  /** Values of the variables of the query, by name. */
  readonly bindings: ReadonlyMap<string, Value>
  /** Values of the expressions, in text order; assignments and negations count as `true`. */
  readonly expressions: readonly Value[]
}

export interface CompiledQuery {
  readonly errors: readonly PolicyDiagnostic[]
  readonly run: (context: Context) => QueryResult[]
}

export function compileQuery(
  shared: PlanningContext,
  resolved: { literals: readonly ResolvedLiteral[]; slots: SlotAllocator; locals: readonly Local[] },
  errors: readonly PolicyDiagnostic[],
): CompiledQuery {
  const { literals, slots, locals } = resolved
  const planner = new Planner(shared, slots)
  const valueSlots: number[] = []
  // the value of a plain expression is a result of the query, also when it is false
  const observed = literals.map((literal): ResolvedLiteral => {
    const slot = slots.next()
    valueSlots.push(slot)
    if (literal.kind !== 'test' || literal.negated) return literal
    const { span } = literal
    const local: Local = {
      name: '',
      slot,
      span,
      scopeDepth: 0,
      isWildcard: false,
      implicit: false,
      bindable: true,
    }
    const left = { kind: 'local', local, span } as const
    return {
      kind: 'unify',
      negated: false,
      left,
      right: literal.term,
      free: literal.free,
      withs: literal.withs,
      span,
    }
  })
  const results: { current: QueryResult[] } = { current: [] }
  const run = chain(planner.body(observed, new Bound()), (f) => {
    const bindings = new Map<string, Value>()
    for (const { name, slot } of locals)
      if (f.slots[slot] !== undefined) bindings.set(name, f.slots[slot] as Value)
    const expressions = valueSlots.map((slot) =>
      f.slots[slot] === undefined ? true : (f.slots[slot] as Value),
    )
    f.context.growCollection(1)
    results.current.push({ bindings, expressions })
    return false
  })
  return {
    errors,
    run: (context) => {
      results.current = []
      run(new Frame(context, slots.count))
      const found = results.current
      results.current = []
      // a lone expression that is false is a result; among others it is a failure
      return found.filter(({ expressions }) => expressions.length === 1 || !expressions.includes(false))
    },
  }
}
