/** Short ways to compile and evaluate one policy text in a test. */
import {
  type CompileOptions,
  compilePolicy,
  type EvaluationLimits,
  fromJs,
  PolicyCompileError,
  PolicyError,
  type RuleResult,
  toJs,
} from '../../src/index.ts'

export interface Given {
  readonly input?: unknown
  readonly data?: unknown
  readonly options?: CompileOptions
  readonly limits?: Partial<EvaluationLimits>
  readonly deadline?: () => boolean
  readonly onPrint?: (line: string) => void
}

/** Counts up, so that randomness repeats from run to run. */
export function countingBytes(n: number): Uint8Array {
  return Uint8Array.from({ length: n }, (_, i) => (i * 37 + 11) & 255)
}

export const NOW = 1_780_000_000_000_000_000n

/** Results of rules of package `policy` by short name. */
export function evaluate(body: string, rules: readonly string[], given: Given = {}): Map<string, RuleResult> {
  const policy = compilePolicy([{ file: 'policy.rego', text: `package policy\n${body}` }], given.options)
  const { input, data, limits, deadline, onPrint } = given
  const evaluation = policy.evaluate({
    rules: rules.map((rule) => `data.policy.${rule}`),
    input: input === undefined ? undefined : fromJs(input),
    data: data === undefined ? undefined : fromJs(data),
    now: NOW,
    randomBytes: countingBytes,
    ...(limits && { limits }),
    ...(deadline && { deadline }),
    ...(onPrint && { onPrint }),
  })
  if (evaluation.kind !== 'done') throw new Error('an external answer is missing')
  return new Map([...evaluation.results].map(([path, result]) => [path.replace('data.policy.', ''), result]))
}

/** The value of rule `x` as plain data; undefined when it has none. Objects get ordinary prototypes for comparison. */
export function resultOf(body: string, given: Given = {}): unknown {
  const result = evaluate(body, ['x'], given).get('x')
  return result?.kind === 'value' ? plain(toJs(result.value)) : undefined
}

function plain(x: unknown): unknown {
  if (Array.isArray(x)) return x.map(plain)
  if (typeof x !== 'object' || x === null) return x
  return Object.fromEntries(Object.entries(x).map(([key, value]) => [key, plain(value)]))
}

/** The value of an expression. */
export function resultOfExpression(expression: string, given: Given = {}): unknown {
  return resultOf(`x := ${expression}`, given)
}

/** `class:code` of the error that compiling or evaluating rule `x` ends in. */
export function errorOf(body: string, given: Given = {}): string {
  try {
    evaluate(body, ['x'], given)
  } catch (error) {
    if (error instanceof PolicyError) return `${error.name}:${error.code}`
    throw error
  }
  return 'no error'
}

/** Codes of all findings with their places, as `code@line:column`. */
export function findingsOf(text: string, options: CompileOptions = {}): string[] {
  try {
    compilePolicy([{ file: 'policy.rego', text }], options)
    return []
  } catch (error) {
    if (!(error instanceof PolicyCompileError)) throw error
    return error.diagnostics.map(({ code, location }) => `${code}@${location.line}:${location.column}`)
  }
}
