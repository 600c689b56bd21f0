/** External builtins: suspension, batches, rounds, failures (spec 05 §9). */
import { describe, expect, it } from 'vitest'
import {
  AnswerBook,
  compilePolicy,
  type ExternalCall,
  evaluateWith,
  fromJs,
  PolicyEvaluationError,
  PolicyLimitError,
  QUERY_REFERENCE_VALUE,
  toJs,
  type Value,
} from '../src/index.ts'
import { countingBytes, NOW } from './support/engine.ts'

const externals = [QUERY_REFERENCE_VALUE]

function compile(body: string, strictBuiltinErrors = true) {
  return compilePolicy([{ file: 'p.rego', text: `package policy\n${body}` }], {
    externals,
    strictBuiltinErrors,
  })
}

function request(rules: readonly string[], input: unknown = {}) {
  return {
    rules: rules.map((rule) => `data.policy.${rule}`),
    input: fromJs(input),
    now: NOW,
    randomBytes: countingBytes,
  }
}

/** Runs all rounds against a table; records which ids each round asked for. */
async function run(
  body: string,
  rules: readonly string[],
  table: Record<string, unknown>,
  input: unknown = {},
) {
  const rounds: string[][] = []
  const lookup = async (calls: readonly ExternalCall[]): Promise<(Value | Error)[]> => {
    rounds.push(calls.map(({ args }) => String(args[0])))
    return calls.map(({ args: [id] }) => {
      const value = table[String(id)] ?? null
      return value instanceof Error ? value : fromJs(value)
    })
  }
  const { results } = await evaluateWith(compile(body), request(rules, input), lookup)
  const values = [...results.values()].map((result) =>
    result.kind === 'value' ? toJs(result.value) : result.kind,
  )
  return { rounds, values }
}

const ATTESTATION = `default executables := 33
default hardware := 97
executables := 3 if input.m in query_reference_value("m")
hardware := 2 if {
	input.a in query_reference_value("a")
	input.b == query_reference_value("b")
	not input.c in query_reference_value("c")
} else := 3 if input.a in query_reference_value("a2")
claims := {"executables": executables, "hardware": hardware}`

describe('a call without an answer', () => {
  it('suspends the evaluation, which lists what it needs', () => {
    const evaluation = compile('x if input.m in query_reference_value("m")').evaluate(
      request(['x'], { m: 1 }),
    )
    expect(evaluation).toMatchObject({
      kind: 'needs',
      calls: [{ name: 'query_reference_value', args: ['m'] }],
    })
  })

  it('does not keep the others from being asked: one round collects all independent calls', async () => {
    const table = { m: ['mm'], a: [1], b: 2, c: [] }
    const { rounds, values } = await run(ATTESTATION, ['claims'], table, { m: 'mm', a: 1, b: 2, c: 3 })
    expect(rounds.map((ids) => ids.sort())).toEqual([['a', 'b', 'c', 'm']])
    expect(values[0]).toEqual(Object.assign(Object.create(null), { executables: 3, hardware: 2 }))
  })

  it('asks the next branch only when it is reached', async () => {
    const { rounds, values } = await run(ATTESTATION, ['hardware'], { a: [9], a2: [1] }, { a: 1, b: 2, c: 3 })
    expect(rounds).toEqual([['a', 'b', 'c'], ['a2']])
    expect(values).toEqual([3])
  })

  it('is not made when an earlier literal fails or an argument is undefined', async () => {
    const { rounds } = await run(
      'x if { input.tdx; input.m in query_reference_value("m") }\ny if 1 in query_reference_value(input.id)',
      ['x', 'y'],
      {},
    )
    expect(rounds).toEqual([])
  })

  it('collects calls of iterations, functions and comprehensions', async () => {
    const body =
      'ok(id) if query_reference_value(id) == true\nx := [id | some id in input.ids; ok(id)]\ny := {v | some id in input.ids; v := query_reference_value(concat("", ["v", id]))}'
    const { rounds, values } = await run(
      body,
      ['x', 'y'],
      { a: true, b: false, va: 1, vb: 1 },
      { ids: ['a', 'b'] },
    )
    expect(rounds.map((ids) => ids.sort())).toEqual([['a', 'b', 'va', 'vb']])
    expect(values).toEqual([['a'], [1]])
  })

  it('takes as many rounds as look-ups depend on each other', async () => {
    const { rounds, values } = await run('x := query_reference_value(query_reference_value("a"))', ['x'], {
      a: 'b',
      b: 7,
    })
    expect(rounds).toEqual([['a'], ['b']])
    expect(values).toEqual([7])
  })

  it('may not depend over more than 8 rounds', async () => {
    const chain = Array.from({ length: 10 }, (_, i) => `v${i + 1} := query_reference_value(v${i})`).join('\n')
    const table = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`k${i}`, `k${i + 1}`]))
    await expect(run(`v0 := "k0"\n${chain}\nx := v10`, ['x'], table)).rejects.toThrow(PolicyLimitError)
  })

  it('may be one of at most 1 000', async () => {
    const body = 'x := [query_reference_value(sprintf("%d", [i])) | some i in numbers.range(1, 1001)]'
    await expect(run(body, ['x'], {})).rejects.toMatchObject({ code: 'rounds' })
  })
})

describe('an answer', () => {
  it('of null means that there is no value, and null contains nothing', async () => {
    const { values } = await run(
      'x := 1 in query_reference_value("none")\ny := query_reference_value("none")',
      ['x', 'y'],
      {},
    )
    expect(values).toEqual([false, null])
  })

  it('that is an error fails the evaluation, also inside not and without strictness', () => {
    for (const strict of [true, false]) {
      const answers = new AnswerBook()
      answers.set('query_reference_value', ['a'], new Error('store is down'))
      const policy = compile('default x := true\nx if not query_reference_value("a")', strict)
      expect(() => policy.evaluate({ ...request(['x']), answers })).toThrow(
        expect.objectContaining({ code: 'external', cause: expect.any(Error) }),
      )
    }
  })

  it('is asked for once', async () => {
    const { rounds } = await run(
      'x if { query_reference_value("a") == 1; query_reference_value("a") == 1 }',
      ['x'],
      { a: 1 },
    )
    expect(rounds).toEqual([['a']])
  })
})

describe('a call', () => {
  it('with a wrong kind of argument fails, whatever the strictness', () => {
    for (const strict of [true, false]) {
      expect(() => compile('x := query_reference_value(5)', strict).evaluate(request(['x']))).toThrow(
        PolicyEvaluationError,
      )
    }
  })

  it('with literal arguments is listed by the compiled policy', () => {
    const calls = compile(
      'x := query_reference_value("a")\ny := query_reference_value(input.id)',
    ).externalCalls()
    expect(calls).toEqual([
      { name: 'query_reference_value', args: ['a'] },
      { name: 'query_reference_value', args: [undefined] },
    ])
  })

  it('can be replaced by `with`', async () => {
    const { rounds, values } = await run(
      'y := query_reference_value("a")\nx := z if z := y with query_reference_value as 5',
      ['x'],
      {},
    )
    expect({ rounds, values }).toEqual({ rounds: [], values: [5] })
  })
})

describe('errors met while an answer is missing', () => {
  it('do not count until a round without misses meets them', async () => {
    const body =
      'v := query_reference_value("v")\ndefault bad := 1\nbad := 2 if not v == 1\nbad := 1 if v == 1\nx := bad\ny := 1 if x == 1'
    const { values } = await run(body, ['x', 'y'], { v: 1 })
    expect(values).toEqual([1, 1])
  })
})
