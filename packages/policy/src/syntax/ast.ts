/** The syntax tree of a module, with spans; names are resolved later. */
import type { Value } from '../values/value.ts'
import type { Source, Span } from './source.ts'

export type Dialect = 'v1' | 'v0'

export type BinaryOperator = '==' | '!=' | '<' | '<=' | '>' | '>=' | '|' | '&' | '+' | '-' | '*' | '/' | '%'

export interface Constant {
  readonly kind: 'constant'
  readonly value: Value
  readonly span: Span
}
export interface Variable {
  readonly kind: 'variable'
  readonly name: string
  readonly span: Span
}
export interface Reference {
  readonly kind: 'reference'
  readonly head: Term
  readonly path: readonly Term[]
  readonly span: Span
}
export interface ArrayTerm {
  readonly kind: 'array'
  readonly items: readonly Term[]
  readonly span: Span
}
export interface SetTerm {
  readonly kind: 'set'
  readonly items: readonly Term[]
  readonly span: Span
}
export interface ObjectTerm {
  readonly kind: 'object'
  readonly items: readonly (readonly [Term, Term])[]
  readonly span: Span
}
export interface Comprehension {
  readonly kind: 'comprehension'
  readonly of: 'array' | 'set' | 'object'
  /** Only for objects. */
  readonly key: Term | undefined
  readonly value: Term
  readonly body: Body
  readonly span: Span
}
export interface Call {
  readonly kind: 'call'
  /** A variable or a reference of names. */
  readonly callee: Variable | Reference
  readonly args: readonly Term[]
  readonly span: Span
}
export interface Binary {
  readonly kind: 'binary'
  readonly operator: BinaryOperator
  readonly left: Term
  readonly right: Term
  readonly span: Span
}
export interface Negative {
  readonly kind: 'negative'
  readonly operand: Term
  readonly span: Span
}
export interface Membership {
  readonly kind: 'membership'
  readonly key: Term | undefined
  readonly value: Term
  readonly collection: Term
  readonly span: Span
}
/** `{term with …}` in a template string. */
export interface TemplateExpression {
  readonly term: Term
  readonly withs: readonly WithModifier[]
}
export interface Template {
  readonly kind: 'template'
  readonly parts: readonly (string | TemplateExpression)[]
  readonly span: Span
}
export type Term =
  | Constant
  | Variable
  | Reference
  | ArrayTerm
  | SetTerm
  | ObjectTerm
  | Comprehension
  | Call
  | Binary
  | Negative
  | Membership
  | Template

/** `left := right` or `left = right`. */
export interface Equation {
  readonly kind: 'equation'
  readonly operator: ':=' | '='
  readonly left: Term
  readonly right: Term
  readonly span: Span
}

export interface WithModifier {
  readonly target: Variable | Reference
  readonly value: Term
  readonly span: Span
}
export interface ExpressionLiteral {
  readonly kind: 'expression'
  readonly negated: boolean
  readonly expression: Term | Equation
  readonly withs: readonly WithModifier[]
  readonly span: Span
}
export interface SomeLiteral {
  readonly kind: 'some'
  readonly names: readonly Variable[]
  readonly withs: readonly WithModifier[]
  readonly span: Span
}
export interface SomeInLiteral {
  readonly kind: 'someIn'
  readonly key: Term | undefined
  readonly value: Term
  readonly collection: Term
  readonly withs: readonly WithModifier[]
  readonly span: Span
}
export interface EveryLiteral {
  readonly kind: 'every'
  readonly key: Variable | undefined
  readonly value: Variable
  readonly domain: Term
  readonly body: Body
  readonly withs: readonly WithModifier[]
  readonly span: Span
}
export type Literal = ExpressionLiteral | SomeLiteral | SomeInLiteral | EveryLiteral
export type Body = readonly Literal[]

/** One body of an `else` chain with its value; no body means "always". */
export interface RuleBranch {
  readonly value: Term | undefined
  readonly body: Body | undefined
  readonly span: Span
}
export interface Rule {
  readonly kind: 'rule'
  readonly isDefault: boolean
  /** The head without call parentheses; the first term is a name. */
  readonly head: Variable | Reference
  readonly args: readonly Term[] | undefined
  /** `contains` key of a partial set. */
  readonly member: Term | undefined
  /** At least one; more are the `else` chain. */
  readonly branches: readonly RuleBranch[]
  readonly span: Span
}
export interface Import {
  readonly path: readonly string[]
  readonly alias: string
  readonly span: Span
}
export interface Module {
  readonly source: Source
  readonly dialect: Dialect
  readonly packagePath: readonly string[]
  readonly packageSpan: Span
  readonly imports: readonly Import[]
  readonly rules: readonly Rule[]
}
