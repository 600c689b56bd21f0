/** Scopes of local variables: which names a body declares, uses, and borrows from outside (spec 05 §7). */
import type { Body, Literal, Term } from '../syntax/ast.ts'
import type { Span } from '../syntax/source.ts'
import type { Local } from './resolved.ts'

/** Hands out slots of one frame. */
export class SlotAllocator {
  count = 0

  next(): number {
    return this.count++
  }
}

export class Scope {
  readonly parent: Scope | undefined
  readonly depth: number
  readonly slots: SlotAllocator
  readonly #declared = new Map<string, Local>()
  readonly #used = new Set<string>()
  /** Names that `:=` or `some` will declare here. */
  readonly willDeclare: ReadonlySet<string>
  /** Names used at this very level, not in closures. */
  readonly ownNames: ReadonlySet<string>
  /** Locals of outer scopes that are used here or below. */
  readonly free = new Set<Local>()

  constructor(parent: Scope | undefined, slots: SlotAllocator, body: Body = [], heads: readonly Term[] = []) {
    this.parent = parent
    this.depth = parent ? parent.depth + 1 : 0
    this.slots = slots
    const names = new Set<string>()
    const declared = new Set<string>()
    for (const literal of body) collectLiteral(literal, names, declared)
    for (const head of heads) collectTerm(head, names)
    for (const name of declared) names.delete(name)
    this.ownNames = names
    this.willDeclare = declared
  }

  local(name: string): Local | undefined {
    return this.#declared.get(name)
  }

  declare(name: string, span: Span, implicit: boolean, isWildcard = false): Local {
    const slot = this.slots.next()
    const local: Local = {
      name,
      slot,
      span,
      scopeDepth: this.depth,
      isWildcard,
      implicit,
      bindable: isWildcard,
    }
    if (!isWildcard) this.#declared.set(name, local)
    return local
  }

  markUsed(name: string): void {
    this.#used.add(name)
  }

  wasUsed(name: string): boolean {
    return this.#used.has(name)
  }
}

function collectLiteral(literal: Literal, names: Set<string>, declared: Set<string>): void {
  switch (literal.kind) {
    case 'some':
      for (const variable of literal.names) declared.add(variable.name)
      break
    case 'someIn':
      if (literal.key) collectPattern(literal.key, declared)
      collectPattern(literal.value, declared)
      collectTerm(literal.collection, names)
      break
    case 'every':
      collectTerm(literal.domain, names)
      break
    case 'expression': {
      const { expression } = literal
      if (expression.kind !== 'equation') collectTerm(expression, names)
      else {
        if (expression.operator === ':=') collectPattern(expression.left, declared)
        else collectTerm(expression.left, names)
        collectTerm(expression.right, names)
      }
    }
  }
  for (const { value } of literal.withs) collectTerm(value, names)
}

/** Variables that a pattern on the left of `:=` or of `in` after `some` declares. */
export function collectPattern(pattern: Term, names: Set<string>): void {
  if (pattern.kind === 'variable') names.add(pattern.name)
  else if (pattern.kind === 'array') for (const item of pattern.items) collectPattern(item, names)
  else if (pattern.kind === 'object') for (const [, value] of pattern.items) collectPattern(value, names)
}

function collectTerm(term: Term, names: Set<string>): void {
  switch (term.kind) {
    case 'variable':
      names.add(term.name)
      break
    case 'reference':
      collectTerm(term.head, names)
      for (const part of term.path) collectTerm(part, names)
      break
    case 'array':
    case 'set':
      for (const item of term.items) collectTerm(item, names)
      break
    case 'object':
      for (const [key, value] of term.items) {
        collectTerm(key, names)
        collectTerm(value, names)
      }
      break
    case 'call':
      for (const arg of term.args) collectTerm(arg, names)
      break
    case 'binary':
      collectTerm(term.left, names)
      collectTerm(term.right, names)
      break
    case 'negative':
      collectTerm(term.operand, names)
      break
    case 'membership':
      if (term.key) collectTerm(term.key, names)
      collectTerm(term.value, names)
      collectTerm(term.collection, names)
      break
    case 'constant':
    case 'comprehension':
    case 'template':
      break
  }
}
