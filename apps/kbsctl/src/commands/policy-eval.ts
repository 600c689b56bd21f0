import {
  type BodyTrace,
  type ExpressionTrace,
  evaluateTraced,
  type PolicyPurpose,
  probablePurpose,
  type TracedEvaluation,
  toJsonText,
} from '@passport-kbs/policy'
import { type JsonObject, jsonObject, parseJson, stringifyJson } from '@passport-kbs/protocol'
import { readText } from '../files.ts'
import {
  type RequestOptions,
  readInput,
  readReferenceValues,
  requestData,
  surroundingsOf,
} from '../policy-records.ts'
import type { Terminal } from '../terminal.ts'
import { compiled } from './policy-test.ts'

export interface PolicyEvalOptions extends RequestOptions {
  /** The recorded token, evidence report or claims. */
  readonly input: string
  readonly for?: PolicyPurpose
  readonly rule?: readonly string[]
  readonly referenceValues?: string
  /** Entry of the token's `submods` that an attestation policy sees. */
  readonly submod?: string
  /** Whose claims the input holds, where nothing in it says so. */
  readonly tee?: string
  /** RFC 3339. */
  readonly at?: string
  readonly json?: boolean
}

/**
 * Evaluates a policy on recorded claims and prints the results and what every expression did. The trace names paths and
 * kinds, never claims. @returns whether every rule has a value, and a resource policy allows.
 */
export async function policyEval(
  terminal: Terminal,
  file: string,
  options: PolicyEvalOptions,
): Promise<boolean> {
  const text = await readText(terminal, file)
  const purpose = options.for ?? probablePurpose(text)
  const input = await readInput(terminal, options.input, purpose, options)
  const referenceValues = await readReferenceValues(terminal, options.referenceValues)
  const question = {
    input,
    referenceValues,
    ...(purpose === 'resource' ? { data: requestData(options) } : {}),
  }
  const surroundings = surroundingsOf(terminal, options.at)
  const evaluation = compiled(() =>
    evaluateTraced([{ file, text }], purpose, question, surroundings, options.rule),
  )
  if (options.json) terminal.out(stringifyJson(evaluationJson(evaluation)))
  else for (const line of evaluationLines(evaluation)) terminal.out(line)
  return succeeds(evaluation, purpose, options.rule)
}

function succeeds(
  { results, error }: TracedEvaluation,
  purpose: PolicyPurpose,
  rules: readonly string[] | undefined,
): boolean {
  if (error) return false
  if (rules === undefined && purpose === 'resource') {
    const allow = results.get('data.policy.allow')
    return allow?.kind === 'value' && allow.value === true
  }
  return [...results.values()].every(({ kind }) => kind !== 'undefined')
}

function evaluationLines(evaluation: TracedEvaluation): readonly string[] {
  const { results, error, bodies, unknownReferenceValues, printed } = evaluation
  return [
    ...[...results].map(
      ([rule, result]) => `${rule}: ${result.kind === 'value' ? toJsonText(result.value) : result.kind}`,
    ),
    ...(error ? [`the evaluation failed: ${error.message} [${error.code}]`] : []),
    ...unknownReferenceValues.map((name) => `unknown reference value, so null: ${JSON.stringify(name)}`),
    ...printed.map((line) => `printed: ${line}`),
    '',
    ...bodies.filter(({ state, isDefault }) => !isDefault && state !== 'not-reached').flatMap(bodyLines),
  ]
}

function bodyLines({ rule, location, state, expressions, undefinedPaths }: BodyTrace): readonly string[] {
  return [
    `${location.file}:${location.line}: ${rule} ${state}`,
    ...expressions.flatMap((expression) => expressionLines(expression, '  ')),
    ...undefinedPaths.map((path) => `    ${path}`),
  ]
}

function expressionLines(
  { state, location, text, undefinedPaths, within }: ExpressionTrace,
  indent: string,
): readonly string[] {
  return [
    `${indent}${state.padEnd(11)} ${String(location.line).padStart(4)}: ${text}`,
    ...undefinedPaths.map((path) => `${indent}                  ${path}`),
    // what an inner body did matters where the expression around it failed
    ...(state === 'held' || state === 'not-reached'
      ? []
      : within.flatMap((inner) => expressionLines(inner, `${indent}    `))),
  ]
}

function evaluationJson(evaluation: TracedEvaluation): JsonObject {
  const { results, error, bodies, unknownReferenceValues, printed } = evaluation
  return jsonObject({
    results: jsonObject(
      Object.fromEntries(
        [...results].map(([rule, result]) => [
          rule,
          result.kind === 'value'
            ? jsonObject({ value: parseJson(toJsonText(result.value), { maxDepth: 64 }) })
            : jsonObject({ kind: result.kind }),
        ]),
      ),
    ),
    ...(error ? { error: jsonObject({ code: error.code, message: error.message }) } : {}),
    unknown_reference_values: [...unknownReferenceValues],
    printed: [...printed],
    trace: bodies.map(({ rule, location, state, isDefault, expressions, undefinedPaths }) =>
      jsonObject({
        rule,
        ...location,
        state,
        default: isDefault,
        expressions: expressions.map(expressionJson),
        undefined: [...undefinedPaths],
      }),
    ),
  })
}

function expressionJson({ location, text, state, undefinedPaths, within }: ExpressionTrace): JsonObject {
  return jsonObject({
    line: location.line,
    column: location.column,
    text,
    state,
    undefined: [...undefinedPaths],
    within: within.map(expressionJson),
  })
}
