/** Errors of the policy engine: stable codes, places in the text, never claim values (spec 05 §11). */

/** A place in a policy: line and column count from 1, columns in code points. */
export interface SourceLocation {
  readonly file: string
  readonly line: number
  readonly column: number
}

export type CompileErrorCode =
  | 'syntax'
  | 'dialect'
  | 'unsafe_variable'
  | 'undefined_name'
  | 'unknown_function'
  | 'arity'
  | 'recursion'
  | 'conflicting_rules'
  | 'bad_default'
  | 'shadowing'
  | 'forbidden_builtin'
  | 'source_limit'

export type WarningCode =
  | 'package_name'
  | 'missing_rule'
  | 'null_comparison'
  | 'never_holds'
  | 'unknown_claim'
  | 'unknown_reference_value'

/** One finding of the compiler: what, where, and the source line itself. */
export interface PolicyDiagnostic {
  readonly code: CompileErrorCode | WarningCode
  readonly message: string
  readonly location: SourceLocation
  readonly sourceLine: string
}

export type EvaluationErrorCode = 'conflict' | 'builtin' | 'external' | 'data_conflict' | 'bad_input'
export type LimitErrorCode = 'steps' | 'deadline' | 'depth' | 'size' | 'regex' | 'rounds'

/** Base class: `code` is stable, `location` exists wherever the fault has a place in the text. */
export class PolicyError extends Error {
  readonly code: string
  readonly location: SourceLocation | undefined

  constructor(code: string, message: string, location?: SourceLocation, cause?: unknown) {
    super(location ? `${location.file}:${location.line}:${location.column}: ${message}` : message)
    if (cause !== undefined) this.cause = cause
    this.name = new.target.name
    this.code = code
    this.location = location
  }
}

/** The text is refused; holds every finding (at most 20 a module). */
export class PolicyCompileError extends PolicyError {
  declare readonly code: CompileErrorCode
  readonly diagnostics: readonly PolicyDiagnostic[]

  constructor(diagnostics: readonly PolicyDiagnostic[]) {
    const [first] = diagnostics
    if (!first) throw new RangeError('a compile error needs a diagnostic')
    const more = diagnostics.length > 1 ? ` (and ${diagnostics.length - 1} more)` : ''
    super(first.code, first.message + more, first.location)
    this.diagnostics = diagnostics
  }
}

/** What a builtin refused: its name, which argument (from 1), the expected and the actual kind. */
export interface BuiltinFault {
  readonly name: string
  readonly argument?: number
  readonly expected?: string
  readonly actual?: string
}

/** The evaluation failed and has no result. */
export class PolicyEvaluationError extends PolicyError {
  declare readonly code: EvaluationErrorCode
  readonly builtin: BuiltinFault | undefined

  constructor(
    code: EvaluationErrorCode,
    message: string,
    details: { location?: SourceLocation | undefined; builtin?: BuiltinFault; cause?: unknown } = {},
  ) {
    super(code, message, details.location, details.cause)
    this.builtin = details.builtin
  }
}

/** A bound of spec 05 §12 was exceeded; nothing in a policy can swallow this. */
export class PolicyLimitError extends PolicyError {
  declare readonly code: LimitErrorCode

  constructor(code: LimitErrorCode, message: string, location?: SourceLocation) {
    super(code, message, location)
  }
}
