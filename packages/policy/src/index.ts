/** The Rego policy engine: text in, decision out; no I/O, no clock, no global state (spec 05). */
export type { ExternalUse } from './compile/compiler.ts'
export type { QueryResult } from './compile/query.ts'
export * from './errors.ts'
export type { ExternalAnswers, ExternalCall } from './evaluate/context.ts'
export { AnswerBook, type ExternalLookup, evaluateWith } from './externals.ts'
export { COMPILE_LIMITS, type CompileLimits, EVALUATION_LIMITS, type EvaluationLimits } from './limits.ts'
export {
  type BoundPolicy,
  type CompiledPolicy,
  type CompileOptions,
  checkPolicy,
  compilePolicy,
  type Evaluation,
  type EvaluationRequest,
  type ExternalBuiltin,
  type PolicySource,
  QUERY_REFERENCE_VALUE,
  query,
  type RuleResult,
} from './policy.ts'
export { type PresetName, presets } from './presets.ts'
export type { Dialect } from './syntax/ast.ts'
export { fromJs, type JsonLike, parseJson, toJs, toJsonText } from './values/json.ts'
export { compareValues, equalValues, kindOf, type Value, type ValueKind } from './values/value.ts'
export * from './workbench/index.ts'
