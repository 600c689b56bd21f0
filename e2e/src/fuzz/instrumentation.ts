/**
 * Counters in the code under test: a hook of the module loader puts one at every place to which a branch can lead, makes
 * `===` and `!==` tell what they compared, and collects the literals of the source.
 */
import { readFileSync } from 'node:fs'
import { registerHooks, stripTypeScriptTypes } from 'node:module'
import { fileURLToPath } from 'node:url'
import { type Node, parse } from 'acorn'
import type { Coverage } from './coverage.ts'

/** Loads every file below one of `folders` with counters; to be called before the first import of any of them. */
export function instrumentModules(folders: readonly string[], coverage: Coverage, words: Set<string>): void {
  Object.assign(globalThis, { fuzzCounters: coverage.counters, fuzzEqual: coverage.equal })
  registerHooks({
    load(url, context, nextLoad) {
      const path = url.startsWith('file:') ? fileURLToPath(url) : ''
      if (!path.endsWith('.ts') || !folders.some((folder) => path.startsWith(folder))) {
        return nextLoad(url, context)
      }
      const source = stripTypeScriptTypes(readFileSync(path, 'utf8'))
      return { format: 'module', shortCircuit: true, source: instrument(source, coverage, words) }
    },
  })
}

type Tree = Node & Record<string, unknown>

/** JavaScript with counters; lines stay lines. */
export function instrument(source: string, coverage: Coverage, words: Set<string>): string {
  const program = parse(source, { ecmaVersion: 'latest', sourceType: 'module' }) as Node as Tree
  const instrumenter = new Instrumenter(source, coverage, words)
  instrumenter.visit(program)
  const prelude = 'const fuzzCounters = globalThis.fuzzCounters, fuzzEqual = globalThis.fuzzEqual; '
  return prelude + instrumenter.result()
}

class Instrumenter {
  readonly #source: string
  readonly #coverage: Coverage
  readonly #words: Set<string>
  readonly #openers: [at: number, text: string][] = []
  readonly #closers: [at: number, text: string][] = []
  /** Spans that are replaced: operators of comparisons. */
  readonly #replaced: [start: number, end: number, text: string][] = []

  constructor(source: string, coverage: Coverage, words: Set<string>) {
    this.#source = source
    this.#coverage = coverage
    this.#words = words
  }

  visit(node: Tree): void {
    const close = this.#enter(node)
    for (const child of childrenOf(node)) this.visit(child)
    for (const [at, text] of close) this.#closers.push([at, text])
  }

  /** Opens what is to be counted at `node`; gives what has to be closed after its children. */
  #enter(node: Tree): [at: number, text: string][] {
    switch (node.type) {
      case 'Literal':
        this.#collect(node)
        return []
      case 'Property':
        this.#collectName(node.key as Tree)
        return []
      case 'FunctionDeclaration':
      case 'FunctionExpression':
      case 'ArrowFunctionExpression':
      case 'CatchClause':
        return this.#body(node.body as Tree)
      case 'IfStatement':
        return this.#branches(node)
      case 'ForStatement':
      case 'ForInStatement':
      case 'ForOfStatement':
      case 'WhileStatement':
      case 'DoWhileStatement':
        return this.#body(node.body as Tree)
      case 'SwitchCase':
        return this.#switchCase(node)
      case 'ConditionalExpression':
        return [...this.#expression(node.consequent as Tree), ...this.#expression(node.alternate as Tree)]
      case 'LogicalExpression':
      case 'AssignmentPattern':
        return this.#expression(node.right as Tree)
      case 'BinaryExpression':
        return this.#comparison(node)
      default:
        return []
    }
  }

  #body(body: Tree): [number, string][] {
    if (body.type === 'BlockStatement') {
      this.#openers.push([body.start + 1, `${this.#counter()};`])
      return []
    }
    if (body.type.endsWith('Statement')) return this.#statement(body)
    return this.#expression(body)
  }

  #statement(statement: Tree): [number, string][] {
    this.#openers.push([statement.start, `{${this.#counter()};`])
    return [[statement.end, '}']]
  }

  #branches(node: Tree): [number, string][] {
    const consequent = node.consequent as Tree
    const closers = this.#body(consequent)
    if (node.alternate) return [...closers, ...this.#body(node.alternate as Tree)]
    return [...closers, [node.end, ` else {${this.#counter()}}`]]
  }

  #switchCase(node: Tree): [number, string][] {
    const [first] = node.consequent as Tree[]
    if (first !== undefined) this.#openers.push([first.start, `${this.#counter()};`])
    return []
  }

  #expression(expression: Tree): [number, string][] {
    this.#openers.push([expression.start, `(${this.#counter()},`])
    return [[expression.end, ')']]
  }

  #comparison(node: Tree): [number, string][] {
    const { operator } = node
    if (operator !== '===' && operator !== '!==') return []
    const left = node.left as Tree
    const right = node.right as Tree
    if (![left, right].every(isComparable)) return []
    const between = this.#source.slice(left.end, right.start)
    const at = left.end + between.indexOf(operator)
    // parentheses around an operand lie outside its span; a comma would land inside of them
    if (between.trim() !== operator || this.#source.slice(left.end, at).trim() !== '') return []
    const site = this.#coverage.comparisonSite()
    this.#openers.push([node.start, `${operator === '===' ? '' : '!'}fuzzEqual(${site},`])
    this.#replaced.push([at, at + 3, ','])
    return [[node.end, ')']]
  }

  #collect(node: Tree): void {
    const { value } = node
    if (typeof value === 'string' && /^(?!\.{0,2}\/|node:|@).{1,64}$/.test(value)) this.#words.add(value)
  }

  /** The members of schemas are written as names. */
  #collectName({ type, name }: Tree): void {
    if (type === 'Identifier' && typeof name === 'string') this.#words.add(name)
  }

  #counter(): string {
    return `fuzzCounters[${this.#coverage.place()}]++`
  }

  /** At one place closers come first, inner before outer; then openers, outer before inner: both as they were found. */
  result(): string {
    const edits = [
      ...this.#closers.map(([at, text], order) => ({ at, end: at, text, rank: 0, order })),
      ...this.#openers.map(([at, text], order) => ({ at, end: at, text, rank: 1, order })),
      ...this.#replaced.map(([at, end, text], order) => ({ at, end, text, rank: 2, order })),
    ].sort((a, b) => a.at - b.at || a.rank - b.rank || a.order - b.order)
    const parts: string[] = []
    let position = 0
    for (const { at, end, text } of edits) {
      parts.push(this.#source.slice(position, at), text)
      position = end
    }
    parts.push(this.#source.slice(position))
    return parts.join('')
  }
}

/** Not `typeof`, nor a constant that is no text and no number: nothing to learn from those. */
function isComparable(node: Tree): boolean {
  if (node.type === 'UnaryExpression') return node.operator !== 'typeof' && node.operator !== 'void'
  if (node.type === 'Literal') return typeof node.value === 'string' || typeof node.value === 'number'
  return !(node.type === 'Identifier' && node.name === 'undefined')
}

function* childrenOf(node: Tree): Generator<Tree> {
  for (const value of Object.values(node)) {
    if (Array.isArray(value)) {
      for (const item of value) if (isNode(item)) yield item
    } else if (isNode(value)) yield value
  }
}

function isNode(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string'
}
