import { describe, expect, it } from 'vitest'
import { type BodyTrace, compilePolicy, evaluateTraced, fromJs, type PolicyPurpose } from '../../src/index.ts'
import { countingBytes, NOW } from '../support/engine.ts'

const surroundings = { now: NOW, randomBytes: countingBytes }

function traced(text: string, input: unknown, purpose: PolicyPurpose = 'resource', values: object = {}) {
  return evaluateTraced(
    [{ file: 'p.rego', text: `package policy\n\n${text}\n` }],
    purpose,
    {
      input: fromJs(input),
      data: purpose === 'resource' ? fromJs({ plugin: 'resource' }) : undefined,
      referenceValues: new Map(Object.entries(values).map(([name, value]) => [name, fromJs(value)])),
    },
    surroundings,
  )
}
const states = ({ expressions }: BodyTrace) => expressions.map(({ text, state }) => [text, state])
const only = (bodies: readonly BodyTrace[]) => {
  expect(bodies).toHaveLength(1)
  return bodies[0] as BodyTrace
}

describe('a trace', () => {
  it('tells which expression failed, and that those after it were not reached', () => {
    const { bodies, results } = traced(
      'allow if {\n\tdata.plugin == "resource"\n\tinput.a == 2\n\tinput.b\n}',
      {
        a: 1,
        b: 1,
      },
    )
    expect(results.get('data.policy.allow')).toEqual({ kind: 'undefined' })
    const body = only(bodies)
    expect(body).toMatchObject({ rule: 'data.policy.allow', state: 'failed', location: { line: 3 } })
    expect(states(body)).toEqual([
      ['data.plugin == "resource"', 'held'],
      ['input.a == 2', 'failed'],
      ['input.b', 'not-reached'],
    ])
  })

  it.each([
    ['input.a.b.c == 1', '`input.a.b.c` is undefined: `input.a` has no "b"'],
    ['input["x-y"].z', '`input["x-y"].z` is undefined: `input` has no "x-y"'],
    ['input.s.t == 1', '`input.s.t` is undefined: `input.s` is string and has no members'],
    ['some x in input.none; x == 1', '`input.none` is undefined: `input` has no "none"'],
    ['input.none[_] == 1', '`input.none` is undefined: `input` has no "none"'],
    ['every x in input.none { x == 1 }', '`input.none` is undefined: `input` has no "none"'],
    ['startswith(input.none, "a")', '`input.none` is undefined: `input` has no "none"'],
    ['nothing', '`nothing` is undefined'],
    ['v := input.a; v.b == 1', '`v.b` is undefined'],
  ])('tells which path is undefined, in %s', (body, path) => {
    const { bodies } = traced(`allow if {\n\t${body}\n}\n\nnothing if input.a == 1`, { a: {}, s: 'text' })
    const paths = bodies[0]?.expressions.flatMap(({ undefinedPaths }) => undefinedPaths)
    expect(paths).toContain(path)
  })

  it('tells of expressions that hold for some of what they were tried with', () => {
    const { bodies } = traced('allow if {\n\tsome s in input.all\n\ts == 2\n\tfalse\n}', { all: [1, 2, 3] })
    expect(states(only(bodies)).map(([, state]) => state)).toEqual(['held', 'partly', 'failed'])
  })

  it('shows what is inside of comprehensions and of every', () => {
    const { bodies } = traced('allow if {\n\tcount([x | some x in input.all; x > 5]) > 0\n}', { all: [1] })
    expect(only(bodies).expressions[0]?.within).toMatchObject([
      { text: 'some x in input.all', state: 'held' },
      { text: 'x > 5', state: 'failed' },
    ])
  })

  it('tells of rules that nothing asked for', () => {
    const { bodies } = traced('allow if true\n\nunused if input.x', {})
    expect(bodies.map(({ rule, state }) => [rule, state])).toEqual([
      ['data.policy.allow', 'succeeded'],
      ['data.policy.unused', 'not-reached'],
    ])
  })

  it('tells of else branches and defaults which one decided', () => {
    const { bodies } = traced(
      'default allow := false\n\nallow if {\n\tinput.a\n} else := true if {\n\tinput.b\n}',
      {
        b: 1,
      },
    )
    expect(bodies.map(({ isDefault, state }) => [isDefault, state])).toEqual([
      [true, 'not-reached'],
      [false, 'failed'],
      [false, 'succeeded'],
    ])
  })

  it('tells of references of the head', () => {
    const { bodies } = traced('trust_claims := {"hardware": input.none}', {}, 'attestation')
    expect(only(bodies)).toMatchObject({
      state: 'failed',
      undefinedPaths: ['`input.none` is undefined: `input` has no "none"'],
    })
  })

  it('holds no claim value, not even in errors', () => {
    const secret = 'do-not-print-me'
    for (const body of ['input.a == "x"', 'input.a.b', 'to_number(input.a) == 1', 'input.m[input.a]']) {
      const { bodies, error } = traced(`allow if {\n\t${body}\n}`, { a: secret, m: { [secret]: secret } })
      expect(JSON.stringify(bodies) + String(error?.message)).not.toContain(secret)
    }
  })

  it('ends with the error of an evaluation that failed', () => {
    const { error, results } = traced('allow := x if {\n\tsome x in [true, false]\n}', {})
    expect(error).toMatchObject({ code: 'conflict' })
    expect(results.size).toBe(0)
  })
})

describe('reference values of a traced evaluation', () => {
  const text = 'trust_claims := {"hardware": 2} if input.sample.svn in query_reference_value("svn")'

  it('are those given; others are unknown and named', () => {
    const input = { sample: { svn: '1' } }
    const known = traced(text, input, 'attestation', { svn: ['1'] })
    expect(known.results.get('data.policy.trust_claims')?.kind).toBe('value')
    expect(known.unknownReferenceValues).toEqual([])
    const unknown = traced(text, input, 'attestation')
    expect(unknown.results.get('data.policy.trust_claims')?.kind).toBe('undefined')
    expect(unknown.unknownReferenceValues).toEqual(['svn'])
  })
})

describe('a traced policy', () => {
  it.each([
    'allow if input.a == 1',
    'allow := count(input.all) > 1',
    'f(x) := x + 1\n\nallow := f(input.a)',
    's contains x if some x in input.all\n\nallow := s',
    'm[k] := v if some k, v in input.all\n\nallow := m',
    'default allow := 7\n\nallow := 3 if input.none',
    'allow := [x | some x in input.all; not x == 2]',
    'allow if every x in input.all { x > 0 }',
    'allow := y if { y := input.a } else := 4',
    'g := 5\n\nallow := g',
    'allow if { some i; input.all[i] == 3; i == 2 }',
    'b if input.a == 5\n\nallow if b with input as {"a": 5}',
  ])('decides as one that is not traced: %s', (text) => {
    const input = { a: 1, all: [1, 2, 3] }
    const plain = compilePolicy([{ file: 'p.rego', text: `package policy\n\n${text}\n` }]).evaluate({
      rules: ['data.policy.allow'],
      input: fromJs(input),
      data: fromJs({ plugin: 'resource' }),
      ...surroundings,
    })
    expect(plain.kind === 'done' && plain.results).toEqual(traced(text, input).results)
  })
})
