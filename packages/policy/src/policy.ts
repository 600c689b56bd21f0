/** The public face of the engine: compile once, evaluate many times (spec 05 §10). */
import { createHash } from 'node:crypto'
import { chargeText } from './builtins/encoding.ts'
import { builtinTable } from './builtins/table.ts'
import { type ExternalUse, Unit } from './compile/compiler.ts'
import type { QueryResult } from './compile/query.ts'
import type { ExternalFunction } from './compile/resolved.ts'
import { parseDisplayPath } from './compile/rule-path.ts'
import type { RuleNode } from './compile/rule-tree.ts'
import type { TraceListener, TraceSites } from './compile/trace-sites.ts'
import {
  PolicyCompileError,
  type PolicyDiagnostic,
  PolicyEvaluationError,
  PolicyLimitError,
} from './errors.ts'
import { Context, type ExternalAnswers, type ExternalCall } from './evaluate/context.ts'
import { documentAtPath } from './evaluate/documents.ts'
import { COMPILE_LIMITS, type CompileLimits, EVALUATION_LIMITS, type EvaluationLimits } from './limits.ts'
import type { Dialect } from './syntax/ast.ts'
import { parseQuery } from './syntax/parser.ts'
import { DiagnosticError, Source } from './syntax/source.ts'
import { EMPTY_OBJECT, metered, RegoObject, type Value, type ValueKind } from './values/value.ts'

export interface PolicySource {
  readonly file: string
  readonly text: string
}

/** A builtin that the host answers. */
export interface ExternalBuiltin {
  readonly name: string
  readonly arity: number
  /** Kinds that the arguments must have; another kind fails the evaluation whatever the strictness. */
  readonly argumentKinds?: readonly ValueKind[]
}

/** The external builtin of attestation policies: a string id, answered with the stored value or null. */
export const QUERY_REFERENCE_VALUE: ExternalBuiltin = {
  name: 'query_reference_value',
  arity: 1,
  argumentKinds: ['string'],
}

export interface CompileOptions {
  /** `v1` unless said otherwise. */
  readonly dialect?: Dialect
  readonly externals?: readonly ExternalBuiltin[]
  /** `upstream`: only what Trustee's engine build offers. `full` unless said otherwise. */
  readonly builtins?: 'upstream' | 'full'
  /** Errors of builtins fail the evaluation; true unless said otherwise. */
  readonly strictBuiltinErrors?: boolean
  readonly limits?: Partial<CompileLimits>
}

export interface EvaluationRequest {
  /** Paths of rules, such as `data.policy.allow`. */
  readonly rules: readonly string[]
  readonly input?: Value | undefined
  readonly data?: Value | undefined
  readonly answers?: ExternalAnswers | undefined
  /** Nanoseconds since 1970. */
  readonly now: bigint
  readonly randomBytes: (n: number) => Uint8Array
  readonly limits?: Partial<EvaluationLimits>
  /** True when wall-clock time is up; asked every 1 024 steps. */
  readonly deadline?: () => boolean
  readonly onPrint?: (line: string) => void
  /** Told by policies of `compileTraceable` only. */
  readonly trace?: TraceListener | undefined
}

export type RuleResult =
  | { readonly kind: 'value'; readonly value: Value }
  | { readonly kind: 'undefined' }
  | { readonly kind: 'missing' }

export type Evaluation =
  | { readonly kind: 'done'; readonly results: ReadonlyMap<string, RuleResult>; readonly steps: number }
  | { readonly kind: 'needs'; readonly calls: readonly ExternalCall[]; readonly steps: number }

/** A policy with its base data, checked for overlap once. */
export interface BoundPolicy {
  evaluate(request: EvaluationRequest): Evaluation
}

export interface CompiledPolicy {
  /** SHA-384 of the text, lower-case hex; of several modules, of their texts one after the other. */
  readonly sha384: string
  /** All rules but functions, in text order: `data.policy.allow`, … */
  readonly rulePaths: readonly string[]
  /** Findings that do not refuse the policy. */
  readonly warnings: readonly PolicyDiagnostic[]
  /** Calls of external builtins in the text; arguments that are not literals are undefined. */
  externalCalls(): readonly ExternalUse[]
  /** Throws `PolicyEvaluationError` (`data_conflict`) when a rule and the data claim the same place. */
  withData(data: Value): BoundPolicy
  evaluate(request: EvaluationRequest): Evaluation
}

/** Compiles modules together. Throws `PolicyCompileError` with all findings. */
export function compilePolicy(
  sources: readonly PolicySource[],
  options: CompileOptions = {},
): CompiledPolicy {
  const unit = compileUnit(sources, options)
  if (unit.errors.length > 0) throw new PolicyCompileError(unit.errors)
  return new Policy(unit, sources, options)
}

/**
 * Compiles modules so that evaluations can be traced; for the workbench. Throws `PolicyCompileError`.
 * Such a policy decides the same and is slower.
 */
export function compileTraceable(
  sources: readonly PolicySource[],
  options: CompileOptions = {},
): { readonly policy: CompiledPolicy; readonly sites: TraceSites } {
  const unit = compileUnit(sources, options, true)
  if (unit.errors.length > 0 || !unit.trace) throw new PolicyCompileError(unit.errors)
  return { policy: new Policy(unit, sources, options), sites: unit.trace }
}

/** All findings on some modules; never throws. */
export function checkPolicy(
  sources: readonly PolicySource[],
  options: CompileOptions = {},
): { errors: PolicyDiagnostic[]; warnings: PolicyDiagnostic[] } {
  const { errors, warnings } = compileUnit(sources, options)
  return { errors: [...errors], warnings: [...warnings] }
}

/** The unit itself, for static checks that go further; look at its `errors` first. */
export function compileUnit(
  sources: readonly PolicySource[],
  options: CompileOptions,
  traceable = false,
): Unit {
  const dialect = options.dialect ?? 'v1'
  const externals = new Map<string, ExternalFunction>()
  for (const { name, arity, argumentKinds } of options.externals ?? []) {
    externals.set(name, { kind: 'external', name, arity, argumentKinds })
  }
  const unit = new Unit({
    dialect,
    builtins: builtinTable(options.builtins ?? 'full', dialect),
    externals,
    limits: { ...COMPILE_LIMITS, ...options.limits },
    traceable,
  })
  return unit.compile(sources)
}

class Policy implements CompiledPolicy {
  readonly sha384: string
  readonly rulePaths: readonly string[]
  readonly warnings: readonly PolicyDiagnostic[]
  readonly #unit: Unit
  readonly #strict: boolean
  readonly #nodes = new Map<string, RuleNode | undefined>()

  constructor(unit: Unit, sources: readonly PolicySource[], options: CompileOptions) {
    this.#unit = unit
    this.#strict = options.strictBuiltinErrors ?? true
    this.warnings = unit.warnings
    const hash = createHash('sha384')
    for (const { text } of sources) hash.update(text)
    this.sha384 = hash.digest('hex')
    this.rulePaths = unit.tree.groups.filter((group) => group.kind !== 'function').map((group) => group.path)
  }

  externalCalls(): readonly ExternalUse[] {
    return this.#unit.externalUses
  }

  withData(data: Value): BoundPolicy {
    this.#checkData(data)
    return { evaluate: (request) => this.#evaluate(request, data) }
  }

  evaluate(request: EvaluationRequest): Evaluation {
    const data = request.data ?? EMPTY_OBJECT
    this.#checkData(data)
    return this.#evaluate(request, data)
  }

  /** Base data must leave the paths of rules free. */
  #checkData(data: Value): void {
    if (!(data instanceof RegoObject)) throw new PolicyEvaluationError('bad_input', 'data must be an object')
    if (data.size === 0) return
    const work: { node: RuleNode; base: Value }[] = [{ node: this.#unit.tree.root, base: data }]
    for (let item = work.pop(); item; item = work.pop()) {
      const { node, base } = item
      if (node.group || !(base instanceof RegoObject)) {
        const place = node.group?.path ?? node.path.map(String).join('.')
        throw new PolicyEvaluationError('data_conflict', `rules and base data both define \`${place}\``)
      }
      for (const child of node.children.values()) {
        const below = base.get(child.key)
        if (below !== undefined && (child.group || child.children.size > 0))
          work.push({ node: child, base: below })
      }
    }
  }

  context(request: Omit<EvaluationRequest, 'rules'>, data: Value): Context {
    return new Context({
      tree: this.#unit.tree,
      strictBuiltinErrors: this.#strict,
      limits: request.limits ? { ...EVALUATION_LIMITS, ...request.limits } : EVALUATION_LIMITS,
      input: request.input,
      data,
      answers: request.answers,
      now: request.now,
      randomBytes: request.randomBytes,
      deadline: request.deadline,
      onPrint: request.onPrint,
      trace: request.trace,
    })
  }

  #evaluate(request: EvaluationRequest, data: Value): Evaluation {
    const context = this.context(request, data)
    const results = new Map<string, RuleResult>()
    for (const path of request.rules) {
      const node = this.#ruleAt(path)
      if (!node) results.set(path, { kind: 'missing' })
      else {
        const value = guarded(context, () => sized(context, documentAtPath(context, node.path)))
        results.set(path, value === undefined ? { kind: 'undefined' } : { kind: 'value', value })
      }
    }
    const { steps } = context
    if (context.pending.size > 0) return { kind: 'needs', calls: [...context.pending.values()], steps }
    return { kind: 'done', results, steps }
  }

  /** The node of a rule, or of the common path of rules with longer heads. */
  #ruleAt(path: string): RuleNode | undefined {
    const known = this.#nodes.get(path)
    if (known) return known
    const keys = parseDisplayPath(path)
    const node = keys && this.#unit.tree.find(keys)
    if (!node || node.isPackage || node.group?.kind === 'function') return undefined
    this.#nodes.set(path, node)
    return node
  }

  query(text: string, request: Omit<EvaluationRequest, 'rules'>): QueryResult[] {
    const data = request.data ?? EMPTY_OBJECT
    this.#checkData(data)
    const source = new Source('query', text)
    const compiled = compileQueryText(this.#unit, source)
    if (compiled.errors.length > 0) throw new PolicyCompileError(compiled.errors)
    const context = this.context(request, data)
    const results = guarded(context, () => compiled.run(context))
    if (context.pending.size > 0) {
      throw new PolicyEvaluationError('external', 'the query needs answers of external builtins')
    }
    return results ?? []
  }
}

function compileQueryText(unit: Unit, source: Source) {
  try {
    return unit.query(parseQuery(source, unit.options.dialect, unit.options.limits))
  } catch (error) {
    if (error instanceof DiagnosticError) throw new PolicyCompileError([error.diagnostic])
    throw error
  }
}

/** A result that is small enough as a tree; values may share parts, so that a small one may print as a huge one. */
function sized(context: Context, value: Value | undefined): Value | undefined {
  if (typeof value === 'object' && value !== null) chargeText(value, context)
  return value
}

/**
 * Runs a part of an evaluation. Once an answer is missing nothing that follows is final, so errors that the
 * missing value may have caused are dropped; a later round meets those that are real.
 */
function guarded<T>(context: Context, run: () => T): T | undefined {
  try {
    return metered(context, run)
  } catch (error) {
    // the engine's own limits come first; should they ever not, JavaScript's are limits all the same
    if (error instanceof RangeError) {
      const isStack = /call stack/i.test(error.message)
      throw new PolicyLimitError(isStack ? 'depth' : 'size', 'the evaluation ran into a limit of the machine')
    }
    const isSpeculative = context.misses > 0 && error instanceof PolicyEvaluationError
    if (isSpeculative) return undefined
    throw error
  }
}

/** Evaluates a query against a compiled policy; for the workbench and conformance tests. */
export function query(
  policy: CompiledPolicy,
  text: string,
  request: Omit<EvaluationRequest, 'rules'>,
): QueryResult[] {
  if (!(policy instanceof Policy)) throw new TypeError('the policy was not made by compilePolicy')
  return policy.query(text, request)
}
