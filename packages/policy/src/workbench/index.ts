/** Works on policies: checks, tests, traces and comparisons; pure, as the engine is. */
export {
  checkForPurpose,
  compileOptionsFor,
  type Finding,
  type PolicyCheckOptions,
  probablePurpose,
} from './check.ts'
export { annotatedEvidence, type PolicyPurpose, purposes, teeClaims, tokenClaims } from './claim-paths.ts'
export { differences, pathsOf, type Shape } from './claim-shapes.ts'
export {
  type DecisionChange,
  type DecisionDiff,
  decide,
  diffDecisions,
  type RecordedDecision,
} from './decision-diff.ts'
export { inputOfRecord, type RecordOptions, readRecord, UnusableRecord } from './recorded-input.ts'
export {
  type FileCoverage,
  type RegoTestOptions,
  type RegoTestReport,
  type RegoTestResult,
  runRegoTests,
} from './rego-tests.ts'
export type { BodyTrace, ExpressionState, ExpressionTrace } from './trace.ts'
export {
  evaluateTraced,
  type RecordedQuestion,
  type Surroundings,
  type TracedEvaluation,
} from './traced-evaluation.ts'
