/** Values: order, equality, numbers, JSON forms (spec 05 §5). */
import { describe, expect, it } from 'vitest'
import {
  compareValues,
  equalValues,
  fromJs,
  kindOf,
  parseJson,
  toJs,
  toJsonText,
  type Value,
} from '../src/index.ts'
import { resultOf, resultOfExpression } from './support/engine.ts'

const set = (...members: unknown[]) => fromJs(new Set(members))

describe('the order of values', () => {
  it('goes null, false, true, numbers, strings, arrays, objects, sets', () => {
    const ordered: Value[] = [
      null,
      false,
      true,
      -1,
      0.5,
      7,
      2n ** 64n,
      '',
      'a',
      [],
      [1],
      fromJs({}),
      fromJs({ a: 1 }),
      set(),
      set(1),
    ]
    for (let i = 0; i < ordered.length; i++) {
      for (let j = 0; j < ordered.length; j++) {
        expect(Math.sign(compareValues(ordered[i] as Value, ordered[j] as Value))).toBe(Math.sign(i - j))
      }
    }
  })

  it('compares strings by code point and not by UTF-16 unit', () => {
    expect(compareValues('\uFFFD', '\u{1F600}')).toBeLessThan(0)
    expect(compareValues('a', 'aa')).toBeLessThan(0)
  })

  it('compares arrays member by member, then by length', () => {
    expect(compareValues([1, 2], [1, 2, 0])).toBeLessThan(0)
    expect(compareValues([2], [1, 2])).toBeGreaterThan(0)
  })

  it('iterates objects and sets in that order whatever the order of insertion', () => {
    expect(resultOf('x := [k | some k, _ in input]', { input: { b: 1, a: 2, 10: 3, 9: 4 } })).toEqual([
      '10',
      '9',
      'a',
      'b',
    ])
    expect(resultOfExpression('[m | some m in {"b", 3, null, "a", 1, [0], true}]')).toEqual([
      null,
      true,
      1,
      3,
      'a',
      'b',
      [0],
    ])
  })
})

describe('equality', () => {
  it('is deep and strict about kinds', () => {
    expect(equalValues(fromJs({ a: [1, { b: null }] }), fromJs({ a: [1, { b: null }] }))).toBe(true)
    expect(equalValues('1', 1)).toBe(false)
    expect(equalValues([], fromJs({}))).toBe(false)
    expect(equalValues(fromJs([1]), set(1))).toBe(false)
  })

  it('knows one number however it is written', () => {
    expect(resultOfExpression('[count({1, 1.0, 1e0, 10e-1}), {1: "x"}[1.0], 100 == 1e2, -0 == 0]')).toEqual([
      1,
      'x',
      true,
      true,
    ])
    expect(equalValues(2 ** 70, 2n ** 70n)).toBe(true)
  })
})

describe('numbers', () => {
  it('are exact as integers of any size', () => {
    expect(toJsonText(parseJson('[18446744073709551615, 9007199254740993]'))).toBe(
      '[18446744073709551615,9007199254740993]',
    )
    expect(resultOfExpression('99999999999999999999 * 99999999999999999999')).toBe(
      9999999999999999999800000000000000000001n,
    )
    expect(resultOfExpression('9007199254740991 + 2')).toBe(9007199254740993n)
    expect(resultOfExpression('[7 / 2, 6 / 2, 7 % 3, -7 % 3, 100000000000000000000 / 10]')).toEqual([
      3.5,
      3,
      1,
      -1,
      10n ** 19n,
    ])
  })

  it('never become NaN or infinite', () => {
    for (const text of ['1e308 * 10.5', '1 / 0', '1 % 0', '1.5 % 1']) {
      expect(() => resultOfExpression(text)).toThrow(/plus|mul|div|rem/)
    }
  })

  it('are printed in the shortest form that reads back', () => {
    expect(toJsonText(parseJson('[0.1, 1e-7, 1.50, -0.0, 5e-324]'))).toBe('[0.1,1e-7,1.5,0,5e-324]')
  })
})

describe('strings', () => {
  it('are sequences of code points', () => {
    expect(
      resultOfExpression(
        '[count("a😀"), substring("a😀b", 1, 1), indexof("😀b", "b"), strings.reverse("a😀"), split("a😀", "")]',
      ),
    ).toEqual([2, '😀', 1, '😀a', ['a', '😀']])
  })

  it('have no lone surrogates', () => {
    expect(fromJs('\ud800x')).toBe('\uFFFDx')
  })
})

describe('objects', () => {
  it('keep keys of any kind, and no lookup reaches a prototype', () => {
    expect(resultOfExpression('{1: "n", "1": "s", [1]: "a", {1}: "t", null: 0}[[1]]')).toBe('a')
    expect(
      resultOf('x := [k | some k in ["__proto__", "constructor", "length"]; input[k]]', { input: {} }),
    ).toEqual([])
    expect(resultOf('x := {"__proto__": 1}["__proto__"]')).toBe(1)
  })

  it('accept keys that begin like the tags of composite keys', () => {
    const tricky = '\u0001c[1]'
    expect(
      resultOf('x := [input.o[[1]], input.o[input.k]]', {
        input: {
          o: new Map<unknown, unknown>([
            [[1], 'array'],
            [tricky, 'text'],
          ]),
          k: tricky,
        },
      }),
    ).toEqual(['array', 'text'])
  })
})

describe('JSON forms', () => {
  it('write sets as sorted arrays and other keys as their text', () => {
    expect(
      toJsonText(
        fromJs(
          new Map<unknown, unknown>([
            [new Set([2, 1]), new Set(['b', 'a'])],
            [null, 1],
          ]),
        ),
      ),
    ).toBe('{"null":1,"[1,2]":["a","b"]}')
  })

  it('refuse keys that coincide', () => {
    expect(() =>
      toJsonText(
        fromJs(
          new Map<unknown, unknown>([
            [1, 'a'],
            ['1', 'b'],
          ]),
        ),
      ),
    ).toThrow(/same JSON text/)
    expect(() =>
      toJs(
        fromJs(
          new Map<unknown, unknown>([
            [1, 'a'],
            ['1', 'b'],
          ]),
        ),
      ),
    ).toThrow(/same JSON text/)
  })

  it.each([
    '',
    '{',
    '[1,]',
    '{"a":1,}',
    '01',
    '1.',
    '.5',
    '+1',
    'nul',
    '"\n"',
    '"\\x"',
    '[1] 2',
    '{"a" 1}',
    "{'a':1}",
    '1e',
  ])('refuse %j', (text) => {
    expect(() => parseJson(text)).toThrow(/JSON/)
  })

  it('read decimals that another reader kept as text', () => {
    expect(fromJs({ text: '1.50', toNumber: () => 1.5 })).toBe(1.5)
    expect(kindOf(fromJs(Object.assign(Object.create(null), { a: 1 })))).toBe('object')
  })
})
