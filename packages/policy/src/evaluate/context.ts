/** The state of one evaluation: budgets, caches, answers. Nothing here outlives the evaluation. */

import { BuiltinError } from '../builtins/builtin.ts'
import type { FunctionTarget, MockKey } from '../compile/resolved.ts'
import type { RuleTree } from '../compile/rule-tree.ts'
import type { TraceListener } from '../compile/trace-sites.ts'
import { PolicyEvaluationError, PolicyLimitError, type SourceLocation } from '../errors.ts'
import type { EvaluationLimits } from '../limits.ts'
import { canonicalText, equalValues, type MapKey, type Value } from '../values/value.ts'
import type { Overrides } from './overrides.ts'

export type Mock =
  | { readonly kind: 'value'; readonly value: Value }
  | { readonly kind: 'function'; readonly target: FunctionTarget }

/** Input, base data and mocks under one set of `with` replacements, and all caches that depend on them. */
export class Level {
  readonly input: Value | undefined
  readonly base: Value
  readonly overrides: Overrides | undefined
  readonly mocks: ReadonlyMap<MockKey, Mock> | undefined
  /** Results by rule group; `UNDEFINED` for rules without a value. */
  readonly rules: unknown[]
  /** Documents by node of the rule tree. */
  readonly nodes: unknown[] = []
  readonly functions: (Map<MapKey, Value | typeof UNDEFINED> | undefined)[] = []
  #unmocked: Level | undefined

  constructor(
    input: Value | undefined,
    base: Value,
    groupCount: number,
    overrides?: Overrides,
    mocks?: ReadonlyMap<MockKey, Mock>,
  ) {
    this.input = input
    this.base = base
    this.overrides = overrides
    this.mocks = mocks
    this.rules = new Array<unknown>(groupCount)
  }

  /** The same documents without mocks: a mock never calls another mock or itself. */
  unmocked(): Level {
    if (!this.mocks) return this
    this.#unmocked ??= new Level(this.input, this.base, this.rules.length, this.overrides)
    return this.#unmocked
  }

  isSame(input: Value | undefined, base: Value, mocks: ReadonlyMap<MockKey, Mock> | undefined): boolean {
    return sameValue(this.input, input) && sameValue(this.base, base) && sameMocks(this.mocks, mocks)
  }
}

function sameValue(a: Value | undefined, b: Value | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && equalValues(a, b))
}

function sameMocks(
  a: ReadonlyMap<MockKey, Mock> | undefined,
  b: ReadonlyMap<MockKey, Mock> | undefined,
): boolean {
  if (a === b) return true
  if (!a || !b || a.size !== b.size) return false
  for (const [key, mock] of a) {
    const other = b.get(key)
    if (!other || other.kind !== mock.kind) return false
    if (mock.kind === 'function' && other.kind === 'function' && mock.target !== other.target) return false
    if (mock.kind === 'value' && other.kind === 'value' && !equalValues(mock.value, other.value)) return false
  }
  return true
}

/** Marks a cached "no value". */
export const UNDEFINED = Symbol('undefined')

/** Answers of external builtins: a value, an error that fails the evaluation, or undefined when not known yet. */
export interface ExternalAnswers {
  get(name: string, args: readonly Value[]): Value | Error | undefined
}

/** A call whose answer the host must provide. */
export interface ExternalCall {
  readonly name: string
  readonly args: readonly Value[]
}

export interface ContextOptions {
  readonly tree: RuleTree
  readonly strictBuiltinErrors: boolean
  readonly limits: EvaluationLimits
  readonly input: Value | undefined
  readonly data: Value
  readonly answers: ExternalAnswers | undefined
  readonly now: bigint
  readonly randomBytes: (n: number) => Uint8Array
  readonly deadline: (() => boolean) | undefined
  readonly onPrint: ((line: string) => void) | undefined
  readonly trace?: TraceListener | undefined
}

const DEADLINE_INTERVAL = 1024
/** Distinct external calls in one evaluation. */
const MAX_EXTERNAL_CALLS = 1_000
/** Sets of replacements kept for reuse. */
const MAX_LEVELS = 32

export class Context {
  readonly tree: RuleTree
  readonly limits: EvaluationLimits
  readonly now: bigint
  readonly randomBytes: (n: number) => Uint8Array
  readonly strictBuiltinErrors: boolean
  /** Told only by policies that were compiled for tracing. */
  readonly trace: TraceListener | undefined
  level: Level
  steps = 0
  depth = 0
  /** How many external calls had no answer; a change shows that a result is not final. */
  misses = 0
  readonly pending = new Map<string, ExternalCall>()
  readonly #memo = new Map<string, Value>()
  readonly #levels: Level[] = []
  readonly #answers: ExternalAnswers | undefined
  readonly #deadline: (() => boolean) | undefined
  readonly #onPrint: ((line: string) => void) | undefined
  #nextCheck: number
  #bytes = 0
  #printLines = 0
  #printBytes = 0

  constructor(options: ContextOptions) {
    this.tree = options.tree
    this.limits = options.limits
    this.now = options.now
    this.randomBytes = options.randomBytes
    this.strictBuiltinErrors = options.strictBuiltinErrors
    this.trace = options.trace
    this.#answers = options.answers
    this.#deadline = options.deadline
    this.#onPrint = options.onPrint
    this.level = new Level(options.input, options.data, options.tree.groups.length)
    this.#nextCheck = this.#checkpoint()
  }

  #checkpoint(): number {
    const end = this.limits.steps + 1
    return this.#deadline ? Math.min(end, this.steps + DEADLINE_INTERVAL) : end
  }

  /** One step of work. */
  tick(): void {
    if (++this.steps >= this.#nextCheck) this.#check()
  }

  /** Work in proportion to `n`, charged before it is done. */
  charge(n: number): void {
    this.steps += Math.ceil(n)
    if (this.steps >= this.#nextCheck) this.#check()
  }

  #check(): void {
    if (this.steps > this.limits.steps) {
      throw new PolicyLimitError('steps', `the evaluation took more than ${this.limits.steps} steps`)
    }
    if (this.#deadline?.()) throw new PolicyLimitError('deadline', 'the evaluation ran out of time')
    this.#nextCheck = this.#checkpoint()
  }

  /** Enters a nested rule, function or comprehension. */
  enter(): void {
    this.tick()
    if (++this.depth > this.limits.depth) {
      throw new PolicyLimitError('depth', `calls nest deeper than ${this.limits.depth} levels`)
    }
  }

  leave(): void {
    this.depth--
  }

  /** Accounts for a value of about so many bytes. */
  grow(bytes: number): void {
    this.#bytes += bytes
    if (this.#bytes > this.limits.totalBytes) {
      throw new PolicyLimitError(
        'size',
        `the evaluation made more than ${this.limits.totalBytes} bytes of values`,
      )
    }
  }

  /** To be called before a string of that length is made. */
  growString(length: number): void {
    if (length > this.limits.stringLength) {
      throw new PolicyLimitError('size', `a string is longer than ${this.limits.stringLength} bytes`)
    }
    this.charge(length / 64)
    this.grow(length + 16)
  }

  /** To be called before a collection of that many members is made. */
  growCollection(size: number): void {
    if (size > this.limits.collectionSize) {
      throw new PolicyLimitError('size', `a collection has more than ${this.limits.collectionSize} members`)
    }
    this.charge(size)
    this.grow(16 * size + 32)
  }

  /** To be called before an integer of that many bits is made. */
  growInteger(bits: number): void {
    if (bits > this.limits.integerBits) {
      throw new PolicyLimitError('size', `an integer is longer than ${this.limits.integerBits} bits`)
    }
    if (bits > 64) {
      this.charge(bits / 256)
      this.grow(bits / 8)
    }
  }

  /** The answer to equal questions is the same within one evaluation. */
  remember(key: string, make: () => Value): Value {
    const known = this.#memo.get(key)
    if (known !== undefined) return known
    this.grow(key.length + 64)
    const made = make()
    this.#memo.set(key, made)
    return made
  }

  /** What a failed builtin call yields: an error, or undefined when errors are not strict. */
  builtinFailed(error: unknown, name: string, location: SourceLocation): undefined {
    if (!(error instanceof BuiltinError)) throw error
    if (!this.strictBuiltinErrors) return undefined
    throw new PolicyEvaluationError('builtin', `${name}: ${error.message}`, {
      location,
      builtin: { name, ...error.details },
    })
  }

  /** Answer of an external builtin; undefined, and noted as pending, while the host has not given one. */
  askExternal(name: string, args: readonly Value[], location: SourceLocation): Value | undefined {
    const answer = this.#answers?.get(name, args)
    if (answer instanceof Error) {
      throw new PolicyEvaluationError('external', `${name} failed`, { location, cause: answer })
    }
    if (answer !== undefined) return answer
    this.misses++
    const key = `${name}${canonicalText(args)}`
    if (!this.pending.has(key)) {
      if (this.pending.size >= MAX_EXTERNAL_CALLS) {
        throw new PolicyLimitError('rounds', `more than ${MAX_EXTERNAL_CALLS} external calls`, location)
      }
      this.pending.set(key, { name, args })
    }
    return undefined
  }

  print(line: string): void {
    if (!this.#onPrint) return
    this.#printLines++
    this.#printBytes += line.length
    if (this.#printLines > this.limits.printLines || this.#printBytes > this.limits.printBytes) {
      throw new PolicyLimitError('size', 'the policy prints too much')
    }
    this.#onPrint(line)
  }

  get prints(): boolean {
    return this.#onPrint !== undefined
  }

  /** The level for a set of replacements; equal sets share one, and so their caches. */
  levelFor(
    input: Value | undefined,
    base: Value,
    overrides: Overrides | undefined,
    mocks: ReadonlyMap<MockKey, Mock> | undefined,
  ): Level {
    for (const level of this.#levels) {
      const sameOverrides = level.overrides === overrides || level.overrides?.isSame(overrides) === true
      if (sameOverrides && level.isSame(input, base, mocks)) return level
    }
    const level = new Level(input, base, this.tree.groups.length, overrides, mocks)
    this.charge(1 + this.tree.groups.length / 16)
    this.#levels.push(level)
    if (this.#levels.length > MAX_LEVELS) this.#levels.shift()
    return level
  }
}
