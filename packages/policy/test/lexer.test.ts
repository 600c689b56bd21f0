/** Tokens and their borders (spec 05 §4). */
import { describe, expect, it } from 'vitest'
import { syntaxErrors, tokenSpellings } from '../src/inspection.ts'

describe('tokens', () => {
  it.each([
    ['a.b["c"]', ['a', '.', 'b', '[', 'c', ']', '']],
    ['x:=1!=2<=3', ['x', ':=', '1', '!=', '2', '<=', '3', '']],
    ['-1 - 1 -x', ['-1', '-', '1', '-', 'x', '']],
    ['1.5e-3 0 10E+2', ['1.5e-3', '0', '10E+2', '']],
    ['`raw # "text"` # comment', ['raw # "text"', '']],
    ['set() set ( )', ['set(', ')', 'set', '(', ')', '']],
    ['"\\u00e9\\n"', ['\\u00e9\\n', '']],
    ['a\r\nb', ['a', 'b', '']],
  ])('%j', (text, expected) => {
    expect(tokenSpellings(text)).toEqual(expected)
  })

  it.each([
    '01',
    '1.',
    '.5',
    '1e',
    '0x1',
    '9a',
    '1.2.3',
    '"a',
    '"a\nb"',
    '"\\x"',
    '"\\u12"',
    '`a',
    'a\rb',
    'é',
    '@',
    '!',
    '~',
    '\u000b',
    '\u2028',
    '"\t"',
    '$x',
    '$"{"',
  ])('refuses %j', (text) => {
    expect(() => tokenSpellings(text)).toThrow()
  })
})

describe('template strings', () => {
  const accepted = (text: string) => syntaxErrors(`package p\nx := ${text}`, 'v1').length === 0

  it('hold expressions with braces and strings of their own', () => {
    expect(accepted('$"a {input.b["}"]} {{1: 2}[1]} \\{ c"')).toBe(true)
    expect(accepted('$`raw {$"inner {1}"}`')).toBe(true)
  })

  it('nest to a bounded depth', () => {
    expect(accepted(`${'$"{'.repeat(40)}1${'}"'.repeat(40)}`)).toBe(false)
  })
})
