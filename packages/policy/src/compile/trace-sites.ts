/**
 * Places where a policy that was compiled for tracing tells what happens. A policy that was not has none of this in its
 * closures, so that decisions cost nothing more.
 */
import type { Span } from '../syntax/source.ts'
import type { Value } from '../values/value.ts'
import type { Evaluator, Step } from './plan-types.ts'
import type { ResolvedLiteral, ResolvedReference } from './resolved.ts'
import type { RuleGroup } from './rule-tree.ts'
import { test } from './steps.ts'

/** One body of a rule, `else` bodies apart. */
export interface BranchSite {
  readonly group: RuleGroup
  readonly isDefault: boolean
  readonly span: Span
}

/** One literal of a body; those of comprehensions and of `every` stand below another. */
export interface ExpressionSite {
  readonly branch: BranchSite
  readonly parent: ExpressionSite | undefined
  readonly span: Span
}

/** Told during an evaluation. References and the input come along so that paths can be named; values are not for texts. */
export interface TraceListener {
  started(branch: BranchSite): void
  succeeded(branch: BranchSite): void
  reached(expression: ExpressionSite): void
  held(expression: ExpressionSite): void
  /** `span` is the part of the reference that has no value. */
  undefinedReference(
    at: { readonly branch: BranchSite; readonly expression: ExpressionSite | undefined },
    reference: ResolvedReference,
    span: Span,
    input: Value | undefined,
  ): void
}

/** Gathers the sites of one compilation. */
export class TraceSites {
  readonly branches: BranchSite[] = []
  readonly expressions: ExpressionSite[] = []
  readonly #byLiteral = new Map<ResolvedLiteral, ExpressionSite>()
  #definition: { readonly group: RuleGroup; readonly isDefault: boolean } | undefined
  #branch: BranchSite | undefined
  #expression: ExpressionSite | undefined

  enterDefinition(group: RuleGroup, isDefault: boolean): void {
    this.#definition = { group, isDefault }
  }

  enterBranch(span: Span): BranchSite {
    if (!this.#definition) throw new Error('a branch is compiled as a part of a definition')
    const branch = { ...this.#definition, span }
    this.#branch = branch
    this.branches.push(branch)
    return branch
  }

  /** Runs the planning of a literal, between steps that tell that it is reached and that it holds. */
  literal(literal: ResolvedLiteral, steps: Step[], plan: () => void): void {
    const site = this.#siteOf(literal)
    const parent = this.#expression
    this.#expression = site
    try {
      steps.push(telling((listener) => listener.reached(site)))
      plan()
      steps.push(telling((listener) => listener.held(site)))
    } finally {
      this.#expression = parent
    }
  }

  /** Planning may be tried more than once; the literal stays one site. */
  #siteOf(literal: ResolvedLiteral): ExpressionSite {
    const known = this.#byLiteral.get(literal)
    if (known) return known
    if (!this.#branch) throw new Error('a literal is planned as a part of a branch')
    const site = { branch: this.#branch, parent: this.#expression, span: literal.span }
    this.#byLiteral.set(literal, site)
    this.expressions.push(site)
    return site
  }

  /** An evaluator that tells when the reference has no value. `span`: of the part that it evaluates. */
  reference(reference: ResolvedReference, span: Span, evaluate: Evaluator): Evaluator {
    const { branch, expression } = { branch: this.#branch, expression: this.#expression }
    if (!branch) return evaluate
    return (f) => {
      const value = evaluate(f)
      if (value === undefined) {
        const { trace, level } = f.context
        trace?.undefinedReference({ branch, expression }, reference, span, level.input)
      }
      return value
    }
  }
}

/** A step that only tells. */
export function telling(tell: (listener: TraceListener) => void): Step {
  return test((f) => {
    const { trace } = f.context
    if (trace) tell(trace)
    return true
  })
}
