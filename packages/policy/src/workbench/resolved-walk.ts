/** Walks terms after name resolution. */
import type { Local, Resolved, ResolvedLiteral, ResolvedReference } from '../compile/resolved.ts'
import type { PathPart } from './claim-shapes.ts'

/** The terms right below a term. */
export function childTerms(term: Resolved): readonly Resolved[] {
  switch (term.kind) {
    case 'constant':
    case 'local':
      return []
    case 'reference':
      return typeof term.base === 'string' ? term.path : [term.base, ...term.path]
    case 'array':
    case 'set':
      return term.items
    case 'object':
      return term.items.flat()
    case 'comprehension':
      return [term.key, term.value].filter((one) => one !== undefined)
    case 'call':
      return term.args
    case 'binary':
      return [term.left, term.right]
    case 'negative':
      return [term.operand]
    case 'membership':
      return [term.key, term.value, term.collection].filter((one) => one !== undefined)
    case 'template':
      return term.parts.filter((part) => typeof part !== 'string')
  }
}

/** The terms of a literal, without those of the body of an `every`. */
export function literalTerms(literal: ResolvedLiteral): readonly Resolved[] {
  switch (literal.kind) {
    case 'test':
      return [literal.term]
    case 'unify':
      return [literal.left, literal.right]
    case 'someIn':
      return [literal.key, literal.value, literal.collection].filter((one) => one !== undefined)
    case 'every':
      return [literal.domain]
  }
}

/** A term and all below it that must have values for it to have one: closures have one in any case. */
export function* neededTerms(term: Resolved): Generator<Resolved> {
  yield term
  if (term.kind === 'comprehension' || term.kind === 'template') return
  for (const child of childTerms(term)) yield* neededTerms(child)
}

/** Paths below the input that locals and rules stand for. */
export interface InputPath {
  readonly path: readonly PathPart[]
}

/** What locals of a body stand for, where that is a part of the input. */
export type Aliases = ReadonlyMap<Local, InputPath>

/** The path below the input that a term names; undefined where it names none. */
export function inputPathOf(
  term: Resolved,
  aliases: Aliases,
  ruleAlias: (reference: ResolvedReference) => InputPath | undefined,
): InputPath | undefined {
  if (term.kind === 'local') return aliases.get(term.local)
  if (term.kind !== 'reference') return undefined
  const parts = term.path.map((part): PathPart => (part.kind === 'constant' ? part.value : undefined))
  if (term.base === 'input') return { path: parts }
  if (term.base === 'data') return ruleAlias(term)
  const base = inputPathOf(term.base, aliases, ruleAlias)
  return base && { path: [...base.path, ...parts] }
}

/** Finds the locals that are bound to parts of the input, as by `s := input.submods.cpu0` or `some s in input.submods`. */
export function bodyAliases(
  body: readonly ResolvedLiteral[],
  outer: Aliases,
  ruleAlias: (reference: ResolvedReference) => InputPath | undefined,
): Aliases {
  const aliases = new Map(outer)
  const bind = (target: Resolved | undefined, found: InputPath | undefined) => {
    if (target?.kind === 'local' && !target.local.isWildcard && found && !aliases.has(target.local)) {
      aliases.set(target.local, found)
    }
  }
  for (const literal of body) {
    if (literal.withs.length > 0) continue
    if (literal.kind === 'unify' && !literal.negated) {
      bind(literal.left, inputPathOf(literal.right, aliases, ruleAlias))
      bind(literal.right, inputPathOf(literal.left, aliases, ruleAlias))
    } else if (literal.kind === 'someIn') {
      const collection = inputPathOf(literal.collection, aliases, ruleAlias)
      bind(literal.value, collection && { path: [...collection.path, undefined] })
    } else if (literal.kind === 'every') {
      const domain = inputPathOf(literal.domain, aliases, ruleAlias)
      if (domain) aliases.set(literal.value, { path: [...domain.path, undefined] })
    }
  }
  return aliases
}

/** The bodies inside of terms and literals: of comprehensions and of `every`. */
export function* innerBodies(literals: readonly ResolvedLiteral[], terms: readonly Resolved[]) {
  const work: Resolved[] = [...terms, ...literals.flatMap(literalTerms)]
  for (const literal of literals) {
    if (literal.kind === 'every') yield { body: literal.body, heads: [] as readonly Resolved[], literal }
  }
  for (let term = work.pop(); term; term = work.pop()) {
    if (term.kind === 'comprehension') {
      const heads = [term.key, term.value].filter((one) => one !== undefined)
      yield { body: term.body, heads, literal: undefined }
    } else work.push(...childTerms(term))
  }
}
