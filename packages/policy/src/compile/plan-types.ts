/** What a compiled policy consists of: closures over frames. */
import type { SourceLocation } from '../errors.ts'
import type { Context } from '../evaluate/context.ts'
import type { Value } from '../values/value.ts'

/** The variables of one running rule body. Slots hold values, and builders of comprehensions. */
export class Frame {
  readonly slots: unknown[]
  readonly context: Context
  /** Where the final continuation of a body leaves its result. */
  result: unknown = undefined

  constructor(context: Context, slotCount: number) {
    this.context = context
    this.slots = new Array<unknown>(slotCount)
  }
}

/** Computes a value, or undefined. */
export type Evaluator = (frame: Frame) => Value | undefined
/** Runs the rest of a body for one solution; true stops the iteration that called it. */
export type Continuation = (frame: Frame) => boolean
/** One step of a body: given the rest, becomes a continuation itself. */
export type Step =
  | { readonly kind: 'test'; readonly test: Continuation }
  | { readonly kind: 'branch'; readonly bind: (rest: Continuation) => Continuation }

/** One definition of a rule, ready to run. */
export interface CompiledDefinition {
  readonly slotCount: number
  readonly location: SourceLocation
  /** Binds arguments that the frame already holds in its first slots; false when a pattern does not fit. */
  readonly branches: readonly CompiledBranch[]
  /** The value when it is known without running anything. */
  readonly constant: Value | undefined
}

export interface CompiledBranch {
  /** Runs the body and hands each result to `frame.result`, which the kind of the rule determines. */
  readonly run: Continuation
  readonly hasBody: boolean
}
