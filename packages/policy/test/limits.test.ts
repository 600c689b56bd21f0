/** Hostile policies and inputs (spec 05 §12, §13): each ends in a typed limit error, and nothing swallows it. */
import { describe, expect, it } from 'vitest'
import { compilePolicy, fromJs, PolicyLimitError, parseJson } from '../src/index.ts'
import { countingBytes, errorOf, evaluate, findingsOf, NOW, resultOf } from './support/engine.ts'

const CROSS_PRODUCT = `big if {
	some a in numbers.range(1, 100000)
	some b in numbers.range(1, 100000)
	a * b == -1
}
`

describe('the step limit', () => {
  it.each([
    ['a cross product', `${CROSS_PRODUCT}x if big`],
    ['not', `${CROSS_PRODUCT}x if not big`],
    ['default', `default x := false\n${CROSS_PRODUCT}x if big`],
    ['else', `${CROSS_PRODUCT}x := 1 if big\nelse := 2`],
    ['every', `x if every a in numbers.range(1, 9999) { every b in numbers.range(1, 9999) { a * b > 0 } }`],
    [
      'comprehension in comprehension',
      'x := [[b | some b in numbers.range(1, 5000)] | some a in numbers.range(1, 5000)]',
    ],
    ['product of sets', 'x := {[a, b] | some a in numbers.range(1, 9999); some b in numbers.range(1, 9999)}'],
    [
      'a long walk',
      'x := [p | walk({a: numbers.range(1, 2000) | some a in numbers.range(1, 2000)}, [p, _])]',
    ],
  ])('ends %s', (_name, body) => {
    expect(errorOf(body, { limits: { steps: 200_000 } })).toBe('PolicyLimitError:steps')
  })

  it('ends an evaluation whose builtin errors are not strict', () => {
    const options = { strictBuiltinErrors: false }
    expect(errorOf(`${CROSS_PRODUCT}x if not big`, { limits: { steps: 100_000 }, options })).toBe(
      'PolicyLimitError:steps',
    )
  })

  it('counts the same steps each time', () => {
    const policy = compilePolicy([
      { file: 'p', text: 'package p\nx := sum([c | some a in [1, 2, 3]; some b in [4, 5]; c := a * b])' },
    ])
    const run = () => policy.evaluate({ rules: ['data.p.x'], now: NOW, randomBytes: countingBytes }).steps
    expect(run()).toBe(run())
    expect(run()).toBeGreaterThan(5)
  })
})

describe('the deadline', () => {
  it('is asked while an evaluation runs', () => {
    let asked = 0
    const deadline = () => ++asked > 3
    expect(errorOf(`${CROSS_PRODUCT}x if big`, { deadline })).toBe('PolicyLimitError:deadline')
  })
})

describe('the size limits', () => {
  const doubled = (times: number) =>
    Array.from({ length: times }, (_, i) => `s${i + 1} := concat("", [s${i}, s${i}])`).join('\n')

  it.each([
    ['a huge range', 'x := numbers.range(1, 1000000000000)'],
    ['a huge range with a step', 'x := numbers.range_step(1, 1000000000000000, 3)'],
    ['doubling a string', `s0 := "xxxxxxxxxxxxxxxx"\n${doubled(30)}\nx := s30`],
    ['a huge shift', 'x := bits.lsh(1, 4000000000)'],
    [
      'a huge power',
      `p0 := 99999999999999999\n${Array.from({ length: 20 }, (_, i) => `p${i + 1} := p${i} * p${i}`).join('\n')}\nx := p20`,
    ],
    [
      'a huge product',
      'x := product([99999999999999999999999999999999999999999999 | some i in numbers.range(1, 9999)])',
    ],
    [
      'a replacement that multiplies',
      'x := replace(replace(replace(concat("", ["a" | some i in numbers.range(1, 2000)]), "a", "aaaaaaaaaa"), "a", "aaaaaaaaaaaaaaaaaaaa"), "a", "aaaaaaaaaaaaaaaaaaaaa")',
    ],
    ['an address block of 2^64', 'x := net.cidr_expand("2001:db8::/64")'],
    ['a wide format', 'x := [sprintf("%999999d", [i]) | some i in numbers.range(1, 1000)]'],
    [
      'many large values',
      's := concat("", ["xxxxxxxxxx" | some j in numbers.range(1, 100000)])\nx := [upper(s) | some i in numbers.range(1, 1000)]',
    ],
  ])('refuse %s', (_name, body) => {
    expect(errorOf(body)).toBe('PolicyLimitError:size')
  })
})

describe('the depth limit', () => {
  const rules = (n: number) => Array.from({ length: n }, (_, i) => `r${i + 1} := r${i} + 1`).join('\n')

  it('allows 150 rules that need each other', () => {
    expect(resultOf(`r0 := 1\n${rules(150)}\nx := r150`)).toBe(151)
  })

  it('refuses 5 000 rules that need each other', () => {
    expect(errorOf(`r0 := input.n\n${rules(5_000)}\nx := r5000`, { input: { n: 1 } })).toBe(
      'PolicyLimitError:depth',
    )
  })

  it('refuses values that nest deeper than can be compared or printed', () => {
    const wraps = Array.from({ length: 150 }, (_, i) => `v${i + 1} := [[[[[[[[[[v${i}]]]]]]]]]]`).join('\n')
    expect(errorOf(`v0 := input.v\n${wraps}\nx := {v150}`, { input: { v: 1 } })).toBe(
      'PolicyLimitError:depth',
    )
  })

  it('refuses deep JSON', () => {
    const deep = `${'['.repeat(200)}${']'.repeat(200)}`
    expect(() => parseJson(deep)).toThrow(PolicyLimitError)
    expect(errorOf('x := json.unmarshal(input.t)', { input: { t: deep } })).toBe('PolicyLimitError:depth')
  })

  it('holds against a million brackets', () => {
    expect(() => parseJson('['.repeat(1_000_000))).toThrow(PolicyLimitError)
    expect(findingsOf(`package p\nx := ${'[\n'.repeat(15_000)}`)).toEqual([
      expect.stringContaining('source_limit@'),
    ])
    expect(findingsOf(`package p\nx := ${'(\n'.repeat(15_000)}`)).toEqual([
      expect.stringContaining('source_limit@'),
    ])
    expect(findingsOf(`package p\nx := ${'-\n'.repeat(15_000)}1`)).toEqual([
      expect.stringContaining('syntax@'),
    ])
  })

  it('holds against long chains of operators', () => {
    expect(findingsOf(`package p\nx := ${'1 +\n'.repeat(15_000)}1`)).toEqual([
      expect.stringContaining('source_limit@'),
    ])
    expect(findingsOf(`package p\nx if ${'not '.repeat(10)}y`)).toEqual([expect.stringContaining('syntax@')])
  })
})

describe('regular expressions', () => {
  it.each([
    ['nested quantifiers', '^(a+)+$'],
    ['overlapping alternatives', '^(a|aa|a?b?)*c$'],
  ])('match %s in linear time', (_name, pattern) => {
    const start = performance.now()
    expect(
      resultOf('x := regex.match(input.re, input.s)', { input: { re: pattern, s: `${'a'.repeat(5_000)}!` } }),
    ).toBe(false)
    expect(performance.now() - start).toBeLessThan(5_000)
  })

  it.each([
    ['a pattern with a huge program', 'x := regex.match(input.re, "x")', { re: '(a{100}){20}' }],
    ['a pattern of 5 KiB', 'x := regex.match(input.re, "x")', { re: 'a'.repeat(5_000) }],
    ['a subject of 2 MiB', 'x := regex.match("a", input.s)', { s: 'b'.repeat(2 << 20) }],
    ['a huge pattern in a validity test', 'x := regex.is_valid(input.re)', { re: '(a{100}){20}' }],
  ])('refuse %s, whatever the strictness', (_name, body, input) => {
    for (const strictBuiltinErrors of [true, false]) {
      expect(errorOf(body, { input, options: { strictBuiltinErrors } })).toBe('PolicyLimitError:regex')
    }
  })

  it.each(['(a)\\1', 'a(?=b)', '(?<=a)b', '(?!a)'])('know no %s', (pattern) => {
    expect(errorOf('x := regex.match(input.re, "x")', { input: { re: pattern } })).toBe(
      'PolicyEvaluationError:builtin',
    )
  })
})

describe('source limits', () => {
  it.each([
    ['a long line', `package p\nx := "${'a'.repeat(2_000)}"`],
    ['too many lines', `package p\n${'\n'.repeat(25_000)}x := 1`],
    ['too many bytes', `package p\n${`# ${'a'.repeat(1_000)}\n`.repeat(1_200)}`],
    ['too many rules', `package p\n${'x := 1\n'.repeat(12_000)}`],
  ])('refuse %s', (_name, text) => {
    expect(findingsOf(text)).toEqual([expect.stringMatching(/^source_limit@/)])
  })

  it('refuse more than 64 modules', () => {
    const sources = Array.from({ length: 65 }, (_, i) => ({ file: `m${i}`, text: `package p${i}` }))
    expect(() => compilePolicy(sources)).toThrow(/64 modules/)
  })

  it('leave literals in reverse order compilable in bearable time', () => {
    const body = Array.from({ length: 2_000 }, (_, i) => `\tv${i} = v${i + 1}`).join('\n')
    const start = performance.now()
    expect(resultOf(`x := v0 if {\n${body}\n\tv2000 = 7\n}`)).toBe(7)
    expect(performance.now() - start).toBeLessThan(5_000)
  })
})

describe('the checks', () => {
  it.each([
    [
      'thousands of rules that read their package',
      Array.from({ length: 3_000 }, (_, i) => `r${i} := data.policy[input.x]`),
    ],
    [
      'thousands of rules that read another',
      Array.from({ length: 3_000 }, (_, i) => `r${i} := data.q[input.x].y`),
    ],
    [
      'a long chain of else',
      ['x := 1 if input.a', ...Array.from({ length: 3_000 }, (_, i) => `else := ${i} if input.b == ${i}`)],
    ],
    ['comprehensions that turn out to be unions', [`x := ${'[a | '.repeat(14)}1${', 5]'.repeat(14)}`]],
  ])('take %s in bearable time', (_name, rules) => {
    const start = performance.now()
    findingsOf(`package policy\n${rules.join('\n')}`)
    expect(performance.now() - start).toBeLessThan(4_000)
  })
})

describe('printing', () => {
  it('is bounded', () => {
    const onPrint = () => {}
    expect(errorOf('x if { some i in numbers.range(1, 5000); print(i); i < 0 }', { onPrint })).toBe(
      'PolicyLimitError:size',
    )
  })
})

describe('hostile input', () => {
  it('with a million members is read and counted', () => {
    expect(evaluate('x := count(input)', ['x'], { input: new Array(1_000_000).fill(0) }).get('x')).toEqual({
      kind: 'value',
      value: 1_000_000,
    })
  })

  it('with names of JavaScript internals holds ordinary keys', () => {
    const input = parseJson('{"__proto__": {"admin": true}, "constructor": 1}')
    expect(
      resultOf(
        'x := [input["__proto__"].admin, input.constructor, [1 | input.admin], [1 | input.toString]]',
        {
          input,
        },
      ),
    ).toEqual([true, 1, [], []])
    expect(({} as { admin?: unknown }).admin).toBeUndefined()
  })

  it('keeps the digits of numbers, and lone surrogates become U+FFFD', () => {
    const input = parseJson(
      '{"a": 18446744073709551615, "b": 1e400, "c": -0, "s": "\\ud800", "n": "\\u0000"}',
    )
    const rules =
      'x := [input.a + 1 == 18446744073709551616, input.b > 1e308, input.c == 0, input.s == "\\uFFFD", count(input.n)]'
    expect(resultOf(rules, { input })).toEqual([true, true, true, true, 1])
  })

  it('takes the last of duplicate members', () => {
    expect(resultOf('x := input.a', { input: parseJson('{"a": 1, "a": 2}') })).toBe(2)
  })

  it('that is no JSON-like data is refused', () => {
    expect(() => fromJs(Number.NaN)).toThrow(/not finite/)
    expect(() => fromJs(new Date(0))).toThrow(/class/)
    expect(() => fromJs(() => 1)).toThrow(/function/)
  })
})

describe('values that share parts', () => {
  const doubled = Array.from(
    { length: 60 },
    (_, i) => `v${i + 1} := [v${i}, v${i}]\nw${i + 1} := [w${i}, w${i}]`,
  ).join('\n')
  const tree = `v0 := input.a\nw0 := input.a\n${doubled}\n`

  it.each([
    ['compared', 'x := v60 == w60'],
    ['ordered', 'x := v60 < w60'],
    ['made members', 'x := count({v60, w60})'],
    ['printed', 'x := sprintf("%v", [v60])'],
    ['marshalled', 'x := json.marshal(v60)'],
    ['walked', 'x := [p | walk(v60, [p, _])]'],
    ['returned', 'x := v60'],
  ])('are refused when they are huge as trees and %s', (_name, rule) => {
    expect(errorOf(`${tree}${rule}`, { input: { a: 1 } })).toMatch(/^PolicyLimitError:(steps|size)$/)
  })

  it('do not hold up the deadline when long strings are compared over and over', () => {
    const body = `s := concat("", ["xxxxxxxxxxxxxxxxxxxx" | some i in numbers.range(1, 100000)])
a := concat("", [s, "a"])
b := concat("", [s, "b"])
x := [1 | some i in numbers.range(1, 100000); concat("", [s, "c"]) == concat("", [s, "d"])]
y := sort([a | some i in numbers.range(1, 10000)]) < [b]`
    const start = performance.now()
    expect(errorOf(body)).toMatch(/^PolicyLimitError:(steps|size)$/)
    expect(performance.now() - start).toBeLessThan(5_000)
  })
})
