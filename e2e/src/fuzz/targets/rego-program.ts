/**
 * Random policies that compile more often than not: the bytes of the input are the choices that a grammar asks for, so
 * that mutations of the bytes are mutations of the program, and coverage guides both.
 */
import { builtinTable } from '../../../../packages/policy/src/builtins/table.ts'

/** The first byte of an input that is choices, not text. */
export const generatedMark = 0xff

const builtins = [...builtinTable('full', 'v1').values()].map(({ name, arity }) => ({ name, arity }))
const names = ['a', 'b', 'c', 'd'] as const
const strings = [
  '"a"',
  '"b.c"',
  '"x-1"',
  '""',
  '"10Mi"',
  '"2024-02-29T12:00:00Z"',
  '"10.0.0.0/8"',
  '"{\\"a\\":[1]}"',
  '"^a+$"',
  '"%s %v %d"',
]
const numbers = ['0', '1', '-1', '2', '7', '255', '1.5', '1e3', '12345678901234567890', '0.1', '63']

export function generateProgram(choices: Uint8Array): { text: string; document: unknown } {
  const grammar = new Grammar(choices)
  const document = grammar.document(3)
  return { text: grammar.module(), document }
}

const deepest = 4

class Grammar {
  readonly #choices: Uint8Array
  #at = 0
  /** Variables that are bound in the body at hand. */
  #bound: string[] = []
  #fresh = 0

  constructor(choices: Uint8Array) {
    this.#choices = choices
  }

  #choose(limit: number): number {
    const choice = this.#choices[this.#at] ?? 0
    this.#at += 1
    return choice % limit
  }

  #pick<T>(items: readonly T[]): T {
    const item = items[this.#choose(items.length)]
    if (item === undefined) throw new RangeError('nothing to pick from')
    return item
  }

  module(): string {
    const rules = Array.from({ length: 1 + this.#choose(6) }, (_, index) => this.#rule(index))
    return ['package policy', '', ...rules].join('\n')
  }

  document(depth: number): unknown {
    const size = this.#choose(4)
    if (depth === 0) return this.#pick([null, true, 0, 1, -5, 2.5, 'a', 'b.c', ''])
    switch (this.#choose(3)) {
      case 0:
        return Array.from({ length: size }, () => this.document(depth - 1))
      case 1:
        return this.document(0)
      default:
        return Object.fromEntries(
          Array.from({ length: size + 1 }, (_, index) => [names[index] ?? 'e', this.document(depth - 1)]),
        )
    }
  }

  #rule(index: number): string {
    this.#bound = []
    const name = `r${index}`
    switch (this.#choose(7)) {
      case 0:
        return this.#function(index)
      case 1:
        return `${name} contains ${this.#after((body) => `${this.#term(0)} if {\n${body}}`)}`
      case 2:
        return `${name}[${this.#pick(strings)}] := ${this.#after((body) => `${this.#term(0)} if {\n${body}}`)}`
      case 3:
        return `default ${name} := ${this.#scalar()}\n${name} := ${this.#after((body) => `${this.#term(0)} if {\n${body}}`)}`
      case 4:
        return `${name} := 1 if {\n${this.#body(0)}} else := 2 if {\n${this.#fork(() => this.#body(0))}} else := 3`
      case 5:
        return `${name}.${this.#pick(names)}[x] := x if {\n  some x in ${this.#term(1)}\n${this.#body(1)}}`
      default:
        return `${name} if {\n${this.#body(0)}}`
    }
  }

  #function(index: number): string {
    this.#bound = ['x', 'y']
    return `f${index}(x, y) := ${this.#after((body) => `${this.#term(1)} if {\n${body}}`)}`
  }

  /** Makes the body first, so that the head can use its variables. */
  #after(head: (body: string) => string): string {
    return head(this.#body(0))
  }

  #body(depth: number): string {
    return Array.from({ length: 1 + this.#choose(3) }, () => `  ${this.#expression(depth)}\n`).join('')
  }

  /** What is bound inside stays inside. */
  #fork<T>(make: () => T): T {
    const bound = [...this.#bound]
    const made = make()
    this.#bound = bound
    return made
  }

  #newVariable(): string {
    const name = `v${this.#fresh}`
    this.#fresh += 1
    return name
  }

  #expression(depth: number): string {
    switch (this.#choose(9)) {
      case 0:
        return this.#binding((name) => `${name} := ${this.#term(depth)}`)
      case 1:
        return this.#binding((name) => `some ${name} in ${this.#term(depth)}`)
      case 2: {
        const key = this.#newVariable()
        return this.#binding((name) => `some ${key}, ${name} in ${this.#term(depth)}`, key)
      }
      case 3:
        return `not ${this.#term(depth)}`
      case 4: {
        const variable = this.#newVariable()
        const domain = this.#term(depth)
        return this.#fork(() => {
          this.#bound.push(variable)
          return `every ${variable} in ${domain} { ${this.#comparison(depth)} }`
        })
      }
      case 5:
        return `${this.#term(depth)} with input.${this.#pick(names)} as ${this.#term(depth + 1)}`
      case 6:
        return this.#binding((name) => `[${name}, _] = ${this.#term(depth)}`)
      case 7:
        return this.#term(depth)
      default:
        return this.#comparison(depth)
    }
  }

  #comparison(depth: number): string {
    return `${this.#term(depth + 1)} ${this.#pick(['==', '!=', '<', '<=', '>', '>='])} ${this.#term(depth + 1)}`
  }

  #binding(write: (name: string) => string, ...also: readonly string[]): string {
    const name = this.#newVariable()
    const text = write(name)
    this.#bound.push(name, ...also)
    return text
  }

  #scalar(): string {
    return this.#pick([...numbers, ...strings, 'true', 'false', 'null'])
  }

  #term(depth: number): string {
    if (depth >= deepest)
      return this.#bound.length > 0 && this.#choose(2) === 0 ? this.#pick(this.#bound) : this.#scalar()
    switch (this.#choose(13)) {
      case 0:
        return this.#scalar()
      case 1:
        return this.#bound.length === 0 ? this.#scalar() : this.#pick(this.#bound)
      case 2:
        return `input.${this.#pick(names)}`
      case 3:
        return `input.${this.#pick(names)}[_]`
      case 4:
        return `[${this.#terms(depth)}]`
      case 5:
        return this.#choose(4) === 0 ? 'set()' : `{${this.#terms(depth)}}`
      case 6:
        return `{${this.#pick(strings)}: ${this.#term(depth + 1)}, ${this.#pick(strings)}: ${this.#term(depth + 1)}}`
      case 7:
        return this.#comprehension(depth)
      case 8:
        return `(${this.#term(depth + 1)} ${this.#pick(['+', '-', '*', '/', '%', '|', '&'])} ${this.#term(depth + 1)})`
      case 9:
        return this.#pick([
          'r0',
          'r1',
          'r2[_]',
          'r3',
          'data.policy.r1',
          'data.b',
          'data.plugin',
          'f0(1, 2)',
          'f1("a", [1])',
        ])
      default:
        return this.#call(depth)
    }
  }

  #terms(depth: number): string {
    return Array.from({ length: 1 + this.#choose(3) }, () => this.#term(depth + 1)).join(', ')
  }

  #call(depth: number): string {
    const high = this.#choose(256)
    const builtin = builtins[(high * 256 + this.#choose(256)) % builtins.length]
    if (builtin === undefined) return this.#scalar()
    const args = Array.from({ length: builtin.arity }, () => this.#term(depth + 1))
    return `${builtin.name}(${args.join(', ')})`
  }

  #comprehension(depth: number): string {
    return this.#fork(() => {
      const body = Array.from({ length: 1 + this.#choose(2) }, () => this.#expression(depth + 1)).join('; ')
      const head = this.#term(depth + 1)
      switch (this.#choose(3)) {
        case 0:
          return `[${head} | ${body}]`
        case 1:
          return `{${head} | ${body}}`
        default:
          return `{${this.#pick(strings)}: ${head} | ${body}}`
      }
    })
  }
}
