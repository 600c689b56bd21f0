/** Bounds on source text and on one evaluation, with their defaults (spec 05 §12). */

export interface CompileLimits {
  /** Bytes of UTF-8 in one module. */
  readonly sourceBytes: number
  readonly lines: number
  /** Code points in one line. */
  readonly columns: number
  readonly nesting: number
  /** Rules in one compilation. */
  readonly rules: number
  readonly modules: number
}

export interface EvaluationLimits {
  readonly steps: number
  /** Nested rule, function and comprehension calls. */
  readonly depth: number
  /** UTF-8 or UTF-16 units in one string, whichever is cheaper to know. */
  readonly stringLength: number
  readonly collectionSize: number
  readonly integerBits: number
  /** Bytes of all values made in one evaluation, in rough accounting. */
  readonly totalBytes: number
  /** Depth and text length of JSON read by builtins. */
  readonly jsonDepth: number
  readonly jsonBytes: number
  readonly printLines: number
  readonly printBytes: number
}

export const COMPILE_LIMITS: CompileLimits = {
  sourceBytes: 1 << 20,
  lines: 20_000,
  columns: 1_024,
  nesting: 32,
  rules: 10_000,
  modules: 64,
}

export const EVALUATION_LIMITS: EvaluationLimits = {
  steps: 5_000_000,
  depth: 200,
  stringLength: 4 << 20,
  collectionSize: 1_000_000,
  integerBits: 65_536,
  totalBytes: 64 << 20,
  jsonDepth: 128,
  jsonBytes: 8 << 20,
  printLines: 1_000,
  printBytes: 64 << 10,
}
