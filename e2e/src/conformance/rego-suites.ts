/** Runs one Rego case; a case passes when nothing is returned, else the reason of its failure. */
import { randomBytes } from 'node:crypto'
import {
  type CompiledPolicy,
  type CompileOptions,
  compareValues,
  compilePolicy,
  equalValues,
  evaluateWith,
  fromJs,
  kindOf,
  PolicyCompileError,
  PolicyError,
  PolicyEvaluationError,
  PolicyLimitError,
  parseJson,
  QUERY_REFERENCE_VALUE,
  type QueryResult,
  query,
  toJsonText,
  type Value,
} from '@passport-kbs/policy'
import { syntaxErrors, tokenSpellings } from '@passport-kbs/policy/inspection'
import { decode, entriesOf, member, type RegoCase, textOf, textsOf } from './rego-cases.ts'

/** Why a case failed; undefined when it passed. */
export type Failure = string | undefined

/** Long lines occur in cases with certificates and tokens. */
const WIDE = { columns: 1 << 20 }

export async function runCase(c: RegoCase): Promise<Failure> {
  switch (c.suite) {
    case 'trustee':
      return runTrustee(c)
    case 'regorus/interpreter':
    case 'regorus/language-v1':
      return runRegorus(c)
    case 'regorus/syntax':
      return runSyntax(c)
    case 'regorus/lexer':
      return runLexer(c)
    case 'opa-v1':
    case 'opa-v1-optional':
      return runOpa(c)
  }
}

function request(input: Value | undefined, data?: Value) {
  return { input, data, now: BigInt(Date.now()) * 1_000_000n, randomBytes }
}

function describe(error: unknown): string {
  return error instanceof PolicyError
    ? `${error.name} ${error.code}: ${error.message}`
    : String((error as Error).stack)
}

async function runTrustee({ fields }: RegoCase): Promise<Failure> {
  const wanted = textOf(fields, 'error')
  const inputText = textOf(fields, 'input_json')
  const stage = { name: 'compile' }
  try {
    const policy = compilePolicy([{ file: 'policy.rego', text: textOf(fields, 'policy') ?? '' }], {
      dialect: textOf(fields, 'dialect') === 'v0' ? 'v0' : 'v1',
      externals: [QUERY_REFERENCE_VALUE],
      strictBuiltinErrors: fields.get('strict_builtin_errors') !== false,
    })
    stage.name = 'eval'
    const input = inputText === undefined ? fields.get('input') : parseJson(inputText)
    const steps = member(fields.get('limits'), 'max_steps')
    const expected = entriesOf(fields.get('rules'))
    const asked =
      expected.length > 0 ? expected.map(([path]) => String(path)) : textsOf(fields, 'rules_needed')
    const rules = asked.length > 0 ? asked : policy.rulePaths
    const limits = typeof steps === 'number' ? { steps } : {}
    const evaluation = await evaluateWith(
      policy,
      { ...request(input, fields.get('data')), rules, limits },
      async (calls) => calls.map(({ args }) => referenceValue(fields, args[0])),
    )
    if (wanted) return `expected an error (${wanted})`
    return compareRules(evaluation.results, expected)
  } catch (error) {
    if (!(error instanceof PolicyError)) return describe(error)
    const kind = error instanceof PolicyLimitError ? 'limit' : stage.name
    return wanted === 'any' || wanted === kind ? undefined : describe(error)
  }
}

function referenceValue(fields: RegoCase['fields'], id: Value | undefined): Value | Error {
  const failing = fields.get('reference_value_errors')
  if (Array.isArray(failing) && failing.includes(id as Value)) return new Error('look-up failed')
  return entriesOf(fields.get('reference_values')).find(([name]) => name === id)?.[1] ?? null
}

function compareRules(
  results: ReadonlyMap<string, { kind: string; value?: Value }>,
  expected: readonly [Value, Value][],
): Failure {
  for (const [path, wanted] of expected) {
    const result = results.get(String(path))
    const value = member(wanted, 'value')
    const kind = value !== undefined ? 'value' : member(wanted, 'undefined') ? 'undefined' : 'missing'
    if (result?.kind !== kind) return `${path}: expected ${kind}, got ${result?.kind}`
    if (value !== undefined && toJsonText(result.value as Value) !== toJsonText(value)) {
      return `${path}: expected ${toJsonText(value)}, got ${toJsonText(result.value as Value)}`
    }
  }
  return undefined
}

function runSyntax({ fields }: RegoCase): Failure {
  const errors = syntaxErrors(textOf(fields, 'rego') ?? '', 'v0')
  if (fields.has('error')) return errors.length > 0 ? undefined : `accepted; expected ${fields.get('error')}`
  return errors[0]?.message
}

function runLexer({ fields }: RegoCase): Failure {
  let spellings: string[]
  try {
    spellings = tokenSpellings(textOf(fields, 'rego') ?? '')
  } catch (error) {
    return fields.has('error') ? undefined : String((error as Error).message)
  }
  if (fields.has('error')) return `accepted; expected ${fields.get('error')}`
  const wanted = (fields.get('tokens') as readonly Value[]).map((token) =>
    typeof token === 'string' ? token : toJsonText(token),
  )
  const same = spellings.length === wanted.length && spellings.every((token, i) => token === wanted[i])
  return same ? undefined : `tokens ${JSON.stringify(spellings)}`
}

function runRegorus(c: RegoCase): Failure {
  const { fields } = c
  const wantsError = fields.has('error') || fields.has('want_error')
  const prints: string[] = []
  try {
    const failure = compareRegorus(c, prints)
    if (wantsError) return `expected an error: ${fields.get('error') ?? fields.get('want_error')}`
    if (failure) return failure
  } catch (error) {
    const accepted = wantsError || fields.get('no_result') === true
    return error instanceof PolicyError && accepted ? undefined : describe(error)
  }
  const wantPrints = textsOf(fields, 'want_prints')
  if (wantPrints.length > 0 && JSON.stringify(wantPrints) !== JSON.stringify(prints)) {
    return `prints ${JSON.stringify(prints)}`
  }
  return undefined
}

/** Modules that do not choose a dialect themselves are v0 in the interpreter's suite. */
function regorusDialect({ suite, file, fields }: RegoCase): 'v0' | 'v1' {
  if (suite === 'regorus/interpreter') return file.endsWith('binding/bindings.yaml') ? 'v1' : 'v0'
  return fields.get('rego_v0') === true ? 'v0' : 'v1'
}

function compareRegorus(c: RegoCase, prints: string[]): Failure {
  const { fields } = c
  const modules = textsOf(fields, 'modules')
  const options: CompileOptions = {
    dialect: regorusDialect(c),
    strictBuiltinErrors: fields.get('strict') !== false,
    limits: WIDE,
  }
  const policy = compilePolicy(
    modules.map((text, i) => ({ file: `rego_${i}`, text })),
    options,
  )
  const rawInput = fields.get('input')
  const many = member(rawInput, 'many!')
  const inputs = Array.isArray(many) ? many : [rawInput]
  const data =
    fields.has('data') && fields.get('data') !== null ? decode(fields.get('data') as Value) : fromJs({})
  const results: Value[] = []
  for (const input of inputs) {
    const req = {
      ...request(input === undefined ? undefined : decode(input), data),
      onPrint: (line: string) => void prints.push(line),
    }
    const text = textOf(fields, 'query')
    if (text !== undefined) results.push(...regorusResults(query(policy, text, req), inputs.length > 1))
    const failure = compareEntryPoints(policy, fields, req)
    if (failure) return failure
  }
  if (fields.get('no_result') === true || !fields.has('want_result')) return undefined
  return compareRegorusResults(
    results,
    fields.get('want_result') as Value,
    fields.get('sort_bindings') === true,
  )
}

function compareEntryPoints(
  policy: CompiledPolicy,
  fields: RegoCase['fields'],
  req: ReturnType<typeof request>,
): Failure {
  const rules = textsOf(fields, 'entry_points')
  const wanted = fields.get('want_results')
  if (rules.length === 0 || !Array.isArray(wanted)) return undefined
  const evaluation = policy.evaluate({ ...req, rules })
  if (evaluation.kind !== 'done') return 'the evaluation asks for external answers'
  for (const [i, rule] of rules.entries()) {
    const result = evaluation.results.get(rule)
    const want = decode(wanted[i] as Value)
    if (
      want === '#undefined'
        ? result?.kind === 'value'
        : result?.kind !== 'value' || !equalValues(result.value, want)
    ) {
      return `${rule}: got ${result?.kind === 'value' ? toJsonText(result.value) : result?.kind}`
    }
  }
  return undefined
}

function regorusResults(results: readonly QueryResult[], isSeries: boolean): Value[] {
  const [only] = results
  if (!only) return isSeries ? ['#undefined'] : []
  if (results.length === 1) return only.bindings.size > 0 ? [bindingsOf(only)] : [...only.expressions]
  return results.map((result) => (result.bindings.size > 0 ? bindingsOf(result) : [...result.expressions]))
}

function bindingsOf(result: QueryResult): Value {
  return fromJs(new Map(result.bindings))
}

function compareRegorusResults(results: readonly Value[], wanted: Value, isSorted: boolean): Failure {
  const many = member(wanted, 'many!')
  const want = (Array.isArray(many) ? many : [wanted]).map(decode)
  const isUndefined =
    want.length === 0 ||
    (want.length === 1 && (want[0] === '#undefined' || (Array.isArray(want[0]) && want[0].length === 0)))
  if (results.length === 0 && isUndefined) return undefined
  const show = () =>
    `expected ${want.map(toJsonText).join(' ; ')}, got ${results.map(toJsonText).join(' ; ')}`
  if (results.length !== want.length) return show()
  const norm = (v: Value) => (isSorted ? sortArrays(v) : v)
  return results.every((v, i) => equalValues(norm(v), norm(want[i] as Value))) ? undefined : show()
}

function sortArrays(v: Value): Value {
  if (Array.isArray(v)) return v.map(sortArrays).sort(compareValues)
  if (kindOf(v) !== 'object') return v
  return fromJs(new Map(entriesOf(v).map(([key, item]) => [key, sortArrays(item)])))
}

function runOpa({ fields }: RegoCase): Failure {
  const wantsError = fields.has('want_error') || fields.has('want_error_code')
  const code = textOf(fields, 'want_error_code')
  try {
    const results = queryOpa(fields)
    if (wantsError) return `expected an error: ${code} ${fields.get('want_error')}`
    if (!fields.has('want_result')) return undefined
    return compareOpa(results, fields)
  } catch (error) {
    if (!wantsError || !(error instanceof PolicyError)) return describe(error)
    return isOpaCode(error, code) ? undefined : `expected ${code}, got ${describe(error)}`
  }
}

function isOpaCode(error: PolicyError, code: string | undefined): boolean {
  if (error instanceof PolicyCompileError) return true
  if (!(error instanceof PolicyEvaluationError)) return false
  if (code === 'eval_conflict_error') return error.code === 'conflict'
  if (code === 'eval_type_error' || code === 'eval_builtin_error') return error.code === 'builtin'
  return true
}

function queryOpa(fields: RegoCase['fields']): QueryResult[] {
  const policy = compilePolicy(
    textsOf(fields, 'modules').map((text, i) => ({ file: `test-${i}.rego`, text })),
    { strictBuiltinErrors: fields.get('strict_error') === true, limits: WIDE },
  )
  const data = fields.get('data') ?? undefined
  return query(
    policy,
    textOf(fields, 'query') ?? '',
    request(opaInput(fields), data === null ? undefined : data),
  )
}

function opaInput(fields: RegoCase['fields']): Value | undefined {
  const term = textOf(fields, 'input_term')
  if (term === undefined) return fields.get('input')
  const [result] = query(compilePolicy([]), `input_term := ${term}`, request(undefined))
  return result?.bindings.get('input_term')
}

function compareOpa(results: readonly QueryResult[], fields: RegoCase['fields']): Failure {
  const isSorted = fields.get('sort_bindings') === true
  const jsonForm = (v: Value) => parseJson(toJsonText(v), { depth: 1024 })
  const norm = (v: Value) => toJsonText(isSorted ? sortArrays(jsonForm(v)) : jsonForm(v))
  const got = results.map((result) => norm(bindingsOf(result))).sort()
  const want = ((fields.get('want_result') ?? []) as readonly Value[]).map(norm).sort()
  return JSON.stringify(got) === JSON.stringify(want)
    ? undefined
    : `expected ${want.join(' ')}, got ${got.join(' ')}`
}
