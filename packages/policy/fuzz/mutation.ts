/** Random changes of policy texts, repeatable from a seed. */

/** A small generator of repeatable random numbers (xorshift32). */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed | 0 || 1
  }

  /** An integer from 0 to n-1. */
  below(n: number): number {
    this.#state ^= this.#state << 13
    this.#state ^= this.#state >>> 17
    this.#state ^= this.#state << 5
    return (this.#state >>> 0) % Math.max(1, n)
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T
  }
}

const TOKENS = [
  'if',
  'in',
  'every',
  'some',
  'not',
  'else',
  'default',
  'with',
  'as',
  'contains',
  'import',
  'package',
  'set()',
  'input',
  'data',
  'null',
  'true',
  ':=',
  '=',
  '==',
  '!=',
  '<=',
  '|',
  '&',
  '-',
  '%',
  '/',
  '{',
  '}',
  '[',
  ']',
  '(',
  ')',
  ',',
  ';',
  ':',
  '.',
  '"',
  '`',
  '$"{',
  '\\',
  '\n',
  ' ',
  '#',
  '_',
  'x',
  'p[x]',
  'f(x)',
  '0',
  '-1',
  '1e9',
  '1e400',
  '99999999999999999999',
  '"\\ud800"',
  '\u0000',
  '\uFEFF',
  '😀',
  '\u0085',
  'numbers.range(1, 9)',
  'count',
  'sprintf("%d", [1])',
  'regex.match',
  'walk',
  'http.send',
  'data.policy',
  'with input as',
  '{x | some x in',
  '[1, 2][_]',
]

type Mutation = (text: string, random: Random, others: readonly string[]) => string

function span(text: string, random: Random): [number, number] {
  const start = random.below(text.length + 1)
  return [start, Math.min(text.length, start + 1 + random.below(24))]
}

const MUTATIONS: readonly Mutation[] = [
  (text, random) => {
    const at = random.below(text.length + 1)
    return `${text.slice(0, at)} ${random.pick(TOKENS)} ${text.slice(at)}`
  },
  (text, random) => {
    const [start, end] = span(text, random)
    return text.slice(0, start) + text.slice(end)
  },
  (text, random) => {
    const [start, end] = span(text, random)
    return text.slice(0, end) + text.slice(start)
  },
  (text, random) => {
    const [start, end] = span(text, random)
    return text.slice(0, start) + random.pick(TOKENS) + text.slice(end)
  },
  (text, random, others) => {
    const other = random.pick(others)
    const [start] = span(text, random)
    return text.slice(0, start) + other.slice(random.below(other.length))
  },
  (text, random) => {
    const lines = text.split('\n')
    const [i, j] = [random.below(lines.length), random.below(lines.length)]
    ;[lines[i], lines[j]] = [lines[j] as string, lines[i] as string]
    return lines.join('\n')
  },
  (text, random) => {
    const [start, end] = span(text, random)
    return text.slice(0, start) + text.slice(start, end).repeat(1 + random.below(40)) + text.slice(end)
  },
]

/** The text with one to six changes. */
export function mutate(text: string, random: Random, others: readonly string[]): string {
  let mutated = text
  for (let n = 1 + random.below(6); n > 0; n--) mutated = random.pick(MUTATIONS)(mutated, random, others)
  return mutated.slice(0, 64 << 10)
}
