/** Evaluation rules (spec 05 §6). */
import { describe, expect, it } from 'vitest'
import { compilePolicy, fromJs, query, toJs } from '../src/index.ts'
import { countingBytes, errorOf, evaluate, NOW, resultOf, resultOfExpression } from './support/engine.ts'

describe('truth', () => {
  it('fails a literal only for false and undefined', () => {
    expect(resultOf('x := [i | some i, v in [null, 0, "", [], {}, set(), false, true]; v]')).toEqual([
      0, 1, 2, 3, 4, 5, 7,
    ])
    expect(resultOf('x if input.nothing')).toBeUndefined()
  })
})

describe('undefined', () => {
  it('goes through operators, arguments, composites and references', () => {
    for (const text of [
      'input.a + 1',
      '[input.a]',
      '{"k": input.a}',
      '{input.a}',
      'count(input.a)',
      'input.a.b[0]',
      'input.a == input.b',
      'input.a in [1]',
      '"k", input.a in {"k": 1}',
    ]) {
      expect(resultOf(`x := (${text})`, { input: {} })).toBeUndefined()
    }
  })

  it('is what a reference without a target gives, never an error', () => {
    const input = { xs: [1], s: 'abc', n: 5 }
    for (const text of [
      'input.xs[1]',
      'input.xs[-1]',
      'input.xs[0.5]',
      'input.xs["0"]',
      'input.xs.length',
      'input.s[0]',
      'input.n.k',
    ]) {
      expect(resultOf(`x := ${text}`, { input })).toBeUndefined()
    }
  })
})

describe('membership', () => {
  it('looks at elements, values and members, and nothing is in anything else', () => {
    expect(
      resultOfExpression(
        '[1 in [1], 1 in {"a": 1}, "a" in {"a": 1}, 1 in {1}, 1 in "1", 1 in null, (0, 1 in [1]), ("a", 2 in {"a": 1})]',
      ),
    ).toEqual([true, true, false, true, false, false, true, false])
  })
})

describe('negation and every', () => {
  it('holds when no way satisfies the expression', () => {
    expect(resultOf('x if not input.xs[_] == 3', { input: { xs: [1, 2] } })).toBe(true)
    expect(resultOf('x if not input.xs[_] == 2', { input: { xs: [1, 2] } })).toBeUndefined()
  })

  it('holds over the empty collection and not over what is no collection', () => {
    expect(resultOf('x if every v in input.xs { v > 1 }', { input: { xs: [] } })).toBe(true)
    for (const xs of ['text', 5, null, undefined]) {
      expect(resultOf('x if every v in input.xs { v > 1 }', { input: { xs } })).toBeUndefined()
    }
    expect(resultOf('x if every k, v in {"a": 1} { k == "a"; v == 1 }')).toBe(true)
  })
})

describe('complete rules and functions', () => {
  it('conflict when definitions or solutions disagree', () => {
    expect(errorOf('x := 1 if input.a\nx := 2 if input.b', { input: { a: 1, b: 1 } })).toBe(
      'PolicyEvaluationError:conflict',
    )
    expect(errorOf('x := y if some y in [1, 2]')).toBe('PolicyEvaluationError:conflict')
    expect(errorOf('f(a) := 1\nf(a) := 2\nx := f(0)')).toBe('PolicyEvaluationError:conflict')
    expect(resultOf('x := y if some y in [1, 1.0]')).toBe(1)
  })

  it('use the default when nothing has a value, and the first branch of an else chain that succeeds', () => {
    expect(resultOf('default x := 7\nx := 1 if false')).toBe(7)
    expect(
      resultOf('x := 1 if input.a == 1\nelse := 2 if input.a == 2\nelse := 3', { input: { a: 2 } }),
    ).toBe(2)
    expect(resultOf('default f(_) := 0\nf(a) := a if a > 1\nx := [f(1), f(5)]')).toEqual([0, 5])
  })

  it('take patterns as arguments', () => {
    const f = 'f([a, {"k": b}]) := a + b\nf("one") := 1\n'
    expect(resultOf(`${f}x := [f([1, {"k": 2}]), f("one"), [1 | f("two")]]`)).toEqual([3, 1, []])
  })
})

describe('partial rules', () => {
  it('unite all results, and are empty rather than undefined', () => {
    expect(resultOf('p contains 1\np contains y if some y in [2, 1]\nx := p')).toEqual([1, 2])
    expect(resultOf('p contains 1 if false\no[k] := 1 if { false; k := 1 }\nx := [p, o]')).toEqual([[], {}])
  })

  it('conflict when one key gets two values', () => {
    expect(errorOf('p[k] := v if some [k, v] in [["a", 1], ["a", 2]]\nx := p')).toBe(
      'PolicyEvaluationError:conflict',
    )
    expect(errorOf('x := {k: v | some [k, v] in [["a", 1], ["a", 2]]}')).toBe(
      'PolicyEvaluationError:conflict',
    )
  })

  it('may have heads of any depth', () => {
    expect(resultOf('a.b[c].d := c if some c in ["p", "q"]\na.e contains 1\nx := a')).toEqual({
      b: { p: { d: 'p' }, q: { d: 'q' } },
      e: [1],
    })
  })
})

describe('documents', () => {
  it('merge rules with base data and leave functions out', () => {
    const given = { data: { policy: { base: 1 } } }
    expect(
      resultOf('f(a) := a\ny := 2\nx := data[n].base if n := "policy"', { data: { other: 1 } }),
    ).toBeUndefined()
    const policy = compilePolicy([
      { file: 'a', text: 'package a\ny := 2\nf(v) := v' },
      { file: 'b', text: 'package b\nx := data.a' },
    ])
    const [result] = query(policy, 'data.a = x', {
      data: fromJs({ a: { base: 1 } }),
      now: NOW,
      randomBytes: countingBytes,
    })
    expect(toJs(result?.bindings.get('x') ?? null)).toEqual(
      Object.assign(Object.create(null), { base: 1, y: 2 }),
    )
    expect(given.data.policy.base).toBe(1)
  })

  it('conflict when base data claims the place of a rule', () => {
    expect(errorOf('x := 1', { data: { policy: { x: 2 } } })).toBe('PolicyEvaluationError:data_conflict')
    expect(errorOf('x.y := 1', { data: { policy: { x: 2 } } })).toBe('PolicyEvaluationError:data_conflict')
  })
})

describe('with', () => {
  it('replaces input, data, rules, functions and builtins for its literal only', () => {
    expect(resultOf('y := input.a\nx := [y, z] if z := y with input.a as 2', { input: { a: 1 } })).toEqual([
      1, 2,
    ])
    expect(
      resultOf('y := data.d.e\nx := [y, z] if z := y with data.d.e as 2', { data: { d: { e: 1 } } }),
    ).toEqual([1, 2])
    expect(resultOf('f(_) := 1\ng(_) := 2\ny := f(0)\nx := [y, z] if z := y with f as g')).toEqual([1, 2])
    expect(resultOf('y := count([1])\nx := [y, z] if z := y with count as 5')).toEqual([1, 5])
    expect(
      resultOf(
        'mock(_) := {"status_code": 200}\ny := http.send({}).status_code\nx := z if z := y with http.send as mock',
      ),
    ).toBe(200)
  })

  it('never lets a mock call itself or another mock', () => {
    expect(resultOf('mock(v) := count(v) + 10\nx := y if y := count([1]) with count as mock')).toBe(11)
  })
})

describe('the order of work', () => {
  it('runs a literal when its variables are bound', () => {
    expect(resultOf('x := z if {\n\tz = y + 1\n\ty = input.a\n}', { input: { a: 1 } })).toBe(2)
    expect(resultOf('x := [i | xs[i] == 2; xs = [1, 2, 2]]')).toEqual([1, 2])
    expect(resultOf('x := n if count([1, 2], n)')).toBe(2)
  })

  it('ends a branch at the first literal that fails', () => {
    expect(resultOf('default x := 1\nx := 2 if { false; 1 / 0 == 1 }')).toBe(1)
  })
})

describe('determinism', () => {
  it('keeps the clock and random answers within one evaluation', () => {
    expect(
      resultOf(
        'x := [time.now_ns() == time.now_ns(), rand.intn("a", 1000) == rand.intn("a", 1000), uuid.rfc4122("k") == uuid.rfc4122("k")]',
      ),
    ).toEqual([true, true, true])
    expect(resultOfExpression('time.now_ns()')).toBe(NOW)
  })
})

describe('builtin errors', () => {
  it('fail the evaluation, also inside not, comprehensions and every', () => {
    for (const text of [
      'x if count(5)',
      'x if not count(5)',
      'x := [1 | count(5)]',
      'x if every v in [5] { count(v) }',
      'x := 1 + "a"',
    ]) {
      expect(errorOf(text)).toBe('PolicyEvaluationError:builtin')
    }
  })

  it('make the expression undefined when they are not strict, but conflicts still fail', () => {
    const options = { strictBuiltinErrors: false }
    expect(resultOf('default x := "d"\nx if count(5)', { options })).toBe('d')
    expect(errorOf('x := 1\nx := 2', { options })).toBe('PolicyEvaluationError:conflict')
  })

  it('name the builtin, the argument and the kinds, but no value', () => {
    try {
      evaluate('x := count(input.secret)', ['x'], { input: { secret: 424242 } })
      expect.unreachable()
    } catch (error) {
      expect(error).toMatchObject({
        code: 'builtin',
        builtin: { name: 'count', argument: 1, actual: 'number' },
        location: { line: 2, column: 6 },
      })
      expect(String(error)).not.toContain('424242')
    }
  })
})

describe('print and trace', () => {
  it('always succeed and show undefined arguments', () => {
    const lines: string[] = []
    expect(
      resultOf('x if { print("a", input.none, {1, 2}); trace("t") }', {
        onPrint: (line) => lines.push(line),
      }),
    ).toBe(true)
    expect(lines).toEqual(['policy.rego:2: a <undefined> {1, 2}'])
  })

  it('take the second of two arguments for an argument, not for the result', () => {
    const lines: string[] = []
    expect(resultOf('x if print("a", 1)', { onPrint: (line) => lines.push(line) })).toBe(true)
    expect(lines).toEqual(['policy.rego:2: a 1'])
  })
})

describe('results', () => {
  it('tell values, undefined rules and missing rules apart', () => {
    const results = evaluate('a := null\nb := 1 if false\nf(v) := v', ['a', 'b', 'c', 'f'])
    expect([...results.values()].map(({ kind }) => kind)).toEqual([
      'value',
      'undefined',
      'missing',
      'missing',
    ])
  })

  it('come with paths and the hash of the text', () => {
    const policy = compilePolicy([{ file: 'p', text: 'package policy\na := 1\nb["c d"] := 2' }])
    expect(policy.rulePaths).toEqual(['data.policy.a', 'data.policy.b["c d"]'])
    expect(policy.sha384).toMatch(/^[0-9a-f]{96}$/)
    const evaluation = policy.evaluate({
      rules: ['data.policy.b["c d"]', 'data.policy.b'],
      now: 0n,
      randomBytes: countingBytes,
    })
    expect(evaluation.kind === 'done' && [...evaluation.results.values()].map(({ kind }) => kind)).toEqual([
      'value',
      'value',
    ])
  })
})
