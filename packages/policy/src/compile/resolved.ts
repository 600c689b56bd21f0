/** Terms and literals after name resolution: locals have slots, names of rules are paths under `data`. */

import type { Builtin } from '../builtins/builtin.ts'
import type { BinaryOperator } from '../syntax/ast.ts'
import type { Span } from '../syntax/source.ts'
import type { Value } from '../values/value.ts'
import type { RuleGroup } from './rule-tree.ts'

/** A local variable of one rule body. */
export interface Local {
  readonly name: string
  readonly slot: number
  readonly span: Span
  /** Level of the scope that owns it; closures deeper than that see it as a free variable. */
  readonly scopeDepth: number
  readonly isWildcard: boolean
  /** Stands somewhere where it can be bound. */
  bindable: boolean
  /** Came into being by mere use, not by `:=`, `some`, `every` or as an argument. */
  readonly implicit: boolean
}

export interface ExternalFunction {
  readonly kind: 'external'
  readonly name: string
  readonly arity: number
  readonly argumentKinds: readonly string[] | undefined
}
export type FunctionTarget =
  | { readonly kind: 'rule'; readonly group: RuleGroup }
  | { readonly kind: 'builtin'; readonly builtin: Builtin }
  | ExternalFunction

export type Resolved =
  | { readonly kind: 'constant'; readonly value: Value; readonly span: Span }
  | { readonly kind: 'local'; readonly local: Local; readonly span: Span }
  | ResolvedReference
  | { readonly kind: 'array'; readonly items: readonly Resolved[]; readonly span: Span }
  | { readonly kind: 'set'; readonly items: readonly Resolved[]; readonly span: Span }
  | {
      readonly kind: 'object'
      readonly items: readonly (readonly [Resolved, Resolved])[]
      readonly span: Span
    }
  | ResolvedComprehension
  | ResolvedCall
  | {
      readonly kind: 'binary'
      readonly operator: BinaryOperator
      readonly left: Resolved
      readonly right: Resolved
      readonly span: Span
    }
  | { readonly kind: 'negative'; readonly operand: Resolved; readonly span: Span }
  | {
      readonly kind: 'membership'
      readonly key: Resolved | undefined
      readonly value: Resolved
      readonly collection: Resolved
      readonly span: Span
    }
  | {
      readonly kind: 'template'
      readonly parts: readonly (string | ResolvedComprehension)[]
      readonly span: Span
    }

export interface ResolvedReference {
  readonly kind: 'reference'
  /** A document root or an operand of any kind. */
  readonly base: 'input' | 'data' | Resolved
  readonly path: readonly Resolved[]
  readonly span: Span
}
export interface ResolvedCall {
  readonly kind: 'call'
  readonly target: FunctionTarget
  readonly args: readonly Resolved[]
  readonly span: Span
}
/** A closure over outer locals with a body of its own. */
export interface ResolvedComprehension {
  readonly kind: 'comprehension'
  readonly of: 'array' | 'set' | 'object'
  readonly key: Resolved | undefined
  readonly value: Resolved
  readonly body: readonly ResolvedLiteral[]
  readonly free: ReadonlySet<Local>
  readonly span: Span
}

export type MockTarget =
  | { readonly kind: 'input'; readonly path: readonly Resolved[] }
  | { readonly kind: 'data'; readonly path: readonly Value[] }
  | { readonly kind: 'function'; readonly key: MockKey }

/** What identifies a function for `with`: the rule group itself or the name of a builtin. */
export type MockKey = RuleGroup | string

export type MockValue =
  | { readonly kind: 'value'; readonly term: Resolved }
  | { readonly kind: 'function'; readonly target: FunctionTarget }

export interface ResolvedWith {
  readonly target: MockTarget
  readonly value: MockValue
  readonly span: Span
}

interface LiteralBase {
  readonly withs: readonly ResolvedWith[]
  readonly span: Span
}
export type ResolvedLiteral =
  | (LiteralBase & {
      readonly kind: 'test'
      readonly negated: boolean
      readonly term: Resolved
      readonly free: ReadonlySet<Local>
    })
  | (LiteralBase & {
      readonly kind: 'unify'
      readonly negated: boolean
      readonly left: Resolved
      readonly right: Resolved
      readonly free: ReadonlySet<Local>
    })
  | (LiteralBase & {
      readonly kind: 'someIn'
      readonly key: Resolved | undefined
      readonly value: Resolved
      readonly collection: Resolved
    })
  | (LiteralBase & {
      readonly kind: 'every'
      readonly key: Local | undefined
      readonly value: Local
      readonly domain: Resolved
      readonly body: readonly ResolvedLiteral[]
      readonly free: ReadonlySet<Local>
    })

export interface ResolvedBranch {
  readonly body: readonly ResolvedLiteral[]
  /** Keys of a rule with a general reference head, below the ground part of the head. */
  readonly suffix: readonly Resolved[]
  readonly value: Resolved
  readonly span: Span
}

/** One definition of a rule: argument patterns and an `else` chain. */
export interface ResolvedDefinition {
  readonly args: readonly Resolved[]
  readonly argSlots: readonly number[]
  readonly branches: readonly ResolvedBranch[]
  /** `contains`: results are members of a set. */
  readonly isSet: boolean
  readonly slotCount: number
  readonly span: Span
}
