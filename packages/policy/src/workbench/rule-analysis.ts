/** What can be told of rules without an input: paths that no claims have, bodies that never hold. */
import type { PendingRule, Unit } from '../compile/compiler.ts'
import { OPERATIONS } from '../compile/operators.ts'
import type { Resolved, ResolvedBranch, ResolvedLiteral, ResolvedReference } from '../compile/resolved.ts'
import type { RuleGroup, RuleNode } from '../compile/rule-tree.ts'
import { constantOf } from '../compile/term-compiler.ts'
import type { PolicyDiagnostic } from '../errors.ts'
import type { Context } from '../evaluate/context.ts'
import type { BinaryOperator } from '../syntax/ast.ts'
import type { Span } from '../syntax/source.ts'
import {
  canonicalText,
  equalValues,
  isArray,
  kindOf,
  RegoSet,
  type Value,
  type ValueKind,
} from '../values/value.ts'
import { type PolicyPurpose, purposes } from './claim-paths.ts'
import { type PathPart, placeOf, type Shape } from './claim-shapes.ts'
import { nearestName } from './nearest-name.ts'
import { uncheckedReferenceValues } from './reference-value-use.ts'
import {
  type Aliases,
  bodyAliases,
  childTerms,
  type InputPath,
  innerBodies,
  inputPathOf,
  literalTerms,
  neededTerms,
} from './resolved-walk.ts'

/** Why a body cannot hold, and where that shows. */
interface Obstacle {
  readonly span: Span
  readonly reason: string
  /** It has a warning of its own. */
  readonly isReported?: boolean
}

const noAliases: Aliases = new Map()
/** Rules without a value that make others so: chains in reverse order of the text that are followed. */
const maxRounds = 16
/** Rules that stand for parts of each other's values and are followed. */
const maxAliasDepth = 32

/** Warnings on compiled modules, for what the services hand to policies of this purpose. */
export function analyseRules(unit: Unit, purpose: PolicyPurpose): readonly PolicyDiagnostic[] {
  return new RuleAnalysis(unit, purpose).warnings()
}

class RuleAnalysis {
  readonly #unit: Unit
  readonly #input: Shape
  readonly #data: Shape
  readonly #valueless = new Set<RuleGroup>()
  readonly #ruleAliases = new Map<RuleGroup, InputPath | undefined>()
  readonly #definitions = new Map<RuleGroup, PendingRule[]>()
  #aliasDepth = 0

  constructor(unit: Unit, purpose: PolicyPurpose) {
    this.#unit = unit
    this.#input = purposes[purpose].input
    this.#data = purposes[purpose].data
    for (const rule of unit.resolvedRules) {
      const known = this.#definitions.get(rule.group)
      if (known) known.push(rule)
      else this.#definitions.set(rule.group, [rule])
    }
  }

  warnings(): PolicyDiagnostic[] {
    this.#findValueless()
    const found: PolicyDiagnostic[] = []
    for (const { definition, isDefault } of this.#unit.resolvedRules) {
      if (isDefault) continue
      for (const branch of definition.branches) {
        found.push(...this.#unknownPaths(branch.body, [...branch.suffix, branch.value], noAliases))
        found.push(...uncheckedReferenceValues(branch.body))
        const obstacle = this.#obstacleOf(branch)
        if (obstacle && !obstacle.isReported) {
          const { source, start } = obstacle.span
          found.push(source.diagnostic('never_holds', `this never holds: ${obstacle.reason}`, start))
        }
      }
    }
    return withoutRepeats(found)
  }

  /** Rules of which no body holds have no value, which can make others hold never. */
  #findValueless(): void {
    for (let round = 0, before = -1; before !== this.#valueless.size && round < maxRounds; round++) {
      before = this.#valueless.size
      for (const [group, rules] of this.#definitions) {
        if (this.#valueless.has(group)) continue
        if (group.kind !== 'complete' && group.kind !== 'function') continue
        const isValueless = rules.every(
          ({ isDefault, definition }) =>
            !isDefault && definition.branches.every((branch) => this.#obstacleOf(branch) !== undefined),
        )
        if (isValueless) this.#valueless.add(group)
      }
    }
  }

  readonly #ruleAlias = (reference: ResolvedReference): InputPath | undefined => {
    const { group, rest } = this.#groupAt(reference)
    const alias = group && this.#aliasOf(group)
    return alias && { path: [...alias.path, ...rest] }
  }

  #groupAt({ path }: ResolvedReference): { group: RuleGroup | undefined; rest: readonly PathPart[] } {
    let node: RuleNode | undefined = this.#unit.tree.root
    for (const [i, part] of path.entries()) {
      node = part.kind === 'constant' ? node.child(part.value) : undefined
      if (!node) break
      if (node.group) return { group: node.group, rest: path.slice(i + 1).map(partOf) }
    }
    return { group: undefined, rest: [] }
  }

  /** The part of the input that a rule with a single definition stands for. */
  #aliasOf(group: RuleGroup): InputPath | undefined {
    if (this.#ruleAliases.has(group)) return this.#ruleAliases.get(group)
    this.#ruleAliases.set(group, undefined)
    if (this.#aliasDepth >= maxAliasDepth) return undefined
    const [only, another] = this.#definitions.get(group) ?? []
    const [branch, elseBranch] = only?.definition.branches ?? []
    if (group.kind !== 'complete' || another || !branch || elseBranch) return undefined
    this.#aliasDepth++
    const aliases = bodyAliases(branch.body, noAliases, this.#ruleAlias)
    const alias = inputPathOf(branch.value, aliases, this.#ruleAlias)
    this.#aliasDepth--
    this.#ruleAliases.set(group, alias)
    return alias
  }

  /** Warnings for paths below the input that no claims have, closures included. */
  #unknownPaths(
    body: readonly ResolvedLiteral[],
    heads: readonly Resolved[],
    outer: Aliases,
  ): PolicyDiagnostic[] {
    const aliases = bodyAliases(body, outer, this.#ruleAlias)
    const ours = body.filter(({ withs }) => withs.length === 0)
    const work = [...heads, ...ours.flatMap(literalTerms)]
    const found: PolicyDiagnostic[] = []
    for (let term = work.pop(); term; term = work.pop()) {
      const reason = term.kind === 'reference' ? this.#unknownPath(term, aliases) : undefined
      if (reason) found.push(term.span.source.diagnostic('unknown_claim', reason, term.span.start))
      else if (term.kind !== 'comprehension') work.push(...childTerms(term))
    }
    for (const inner of innerBodies(ours, heads)) {
      found.push(...this.#unknownPaths(inner.body, inner.heads, aliases))
    }
    return found
  }

  #unknownPath(term: ResolvedReference, aliases: Aliases): string | undefined {
    const named = inputPathOf(term, aliases, this.#ruleAlias)
    if (!named) return undefined
    const place = placeOf(this.#input, named.path)
    if (place.kind === 'known') return undefined
    const part = named.path[place.at]
    const parent = displayPath('input', named.path.slice(0, place.at))
    if (typeof part !== 'string') return `${textOf(term.span)}: ${parent} has no elements`
    const near = nearestName(part, place.names)
    const hint = near === undefined ? '' : `; did you mean ${JSON.stringify(near)}?`
    return `no claims have ${JSON.stringify(part)} under ${parent}${hint}`
  }

  #obstacleOf(branch: ResolvedBranch): Obstacle | undefined {
    const aliases = bodyAliases(branch.body, noAliases, this.#ruleAlias)
    for (const literal of branch.body) {
      const obstacle = literal.withs.length === 0 ? this.#literalObstacle(literal, aliases) : undefined
      if (obstacle) return obstacle
    }
    return (
      this.#missing([...branch.suffix, branch.value], aliases) ??
      contradiction(branch.body, (term) => inputPathOf(term, aliases, this.#ruleAlias)) ??
      this.#exclusion(branch, aliases)
    )
  }

  #literalObstacle(literal: ResolvedLiteral, aliases: Aliases): Obstacle | undefined {
    const { span } = literal
    if ((literal.kind === 'test' || literal.kind === 'unify') && literal.negated) {
      const constant = literal.kind === 'test' ? constantOf(literal.term) : undefined
      const isTrue = constant !== undefined && constant !== false
      return isTrue ? { span, reason: `${textOf(span)} denies what is always true` } : undefined
    }
    const missing = this.#missing(literalTerms(literal), aliases)
    if (missing) return missing
    if (literal.kind === 'test') return this.#testObstacle(literal.term, aliases)
    if (literal.kind === 'unify') return this.#mismatch(literal.left, literal.right, span, aliases)
    if (literal.kind === 'someIn') return this.#notIterable(literal.collection, aliases)
    return undefined
  }

  /** A term that must have a value and cannot. */
  #missing(terms: readonly Resolved[], aliases: Aliases): Obstacle | undefined {
    for (const term of terms) {
      for (const needed of neededTerms(term)) {
        const { span } = needed
        if (needed.kind === 'call' && needed.target.kind === 'rule') {
          if (this.#valueless.has(needed.target.group))
            return { span, reason: `${needed.target.group.path} never has a value` }
        }
        if (needed.kind !== 'reference') continue
        if (this.#unknownPath(needed, aliases)) return { span, reason: textOf(span), isReported: true }
        const reason = needed.base === 'data' ? this.#missingData(needed) : undefined
        if (reason) return { span, reason }
      }
    }
    return undefined
  }

  #missingData(reference: ResolvedReference): string | undefined {
    const { group } = this.#groupAt(reference)
    if (group) return this.#valueless.has(group) ? `${group.path} never has a value` : undefined
    let node: RuleNode | undefined = this.#unit.tree.root
    for (const part of reference.path) {
      if (part.kind !== 'constant') return undefined
      node = node?.child(part.value)
    }
    if (node) return undefined
    const path = reference.path.map(partOf)
    if (placeOf(this.#data, path).kind === 'known') return undefined
    return `neither a rule nor the service provides ${displayPath('data', path)}`
  }

  #testObstacle(term: Resolved, aliases: Aliases): Obstacle | undefined {
    const { span } = term
    if (constantOf(term) === false) return { span, reason: 'it is false' }
    if (term.kind === 'membership') return this.#noMember(term, aliases)
    if (term.kind !== 'binary') return undefined
    const left = constantOf(term.left)
    const right = constantOf(term.right)
    if (left !== undefined && right !== undefined) {
      const isFalse = compareConstants(term.operator, left, right) === false
      return isFalse ? { span, reason: `${textOf(span)} compares constants and is false` } : undefined
    }
    return term.operator === '==' ? this.#mismatch(term.left, term.right, span, aliases) : undefined
  }

  #mismatch(left: Resolved, right: Resolved, span: Span, aliases: Aliases): Obstacle | undefined {
    const a = this.#kindsOf(left, aliases)
    const b = this.#kindsOf(right, aliases)
    if (!a || !b || a.some((kind) => b.includes(kind))) return undefined
    const [named, other] = left.kind === 'constant' ? [right, a] : [left, b]
    const ofNamed = named === left ? a : b
    return { span, reason: `${textOf(named.span)} is ${ofNamed.join(' or ')}, never ${other.join(' or ')}` }
  }

  #notIterable(collection: Resolved, aliases: Aliases): Obstacle | undefined {
    const kinds = this.#kindsOf(collection, aliases)
    const { span } = collection
    if (!kinds || kinds.some((kind) => collections.includes(kind))) return undefined
    return { span, reason: `${textOf(span)} is ${kinds.join(' or ')} and has no members` }
  }

  #noMember(term: Resolved & { kind: 'membership' }, aliases: Aliases): Obstacle | undefined {
    const scalar = this.#notIterable(term.collection, aliases)
    if (scalar) return scalar
    const constant = constantOf(term.collection)
    const members = isArray(constant)
      ? constant
      : constant instanceof RegoSet
        ? constant.members()
        : undefined
    if (!members) return undefined
    const { span } = term
    if (members.length === 0) return { span, reason: `${textOf(term.collection.span)} is empty` }
    const kinds = this.#kindsOf(term.value, aliases)
    if (!kinds || members.some((member) => kinds.includes(kindOf(member)))) return undefined
    return {
      span,
      reason: `${textOf(term.value.span)} is ${kinds.join(' or ')}, and no member of the collection is`,
    }
  }

  /** The kinds that the value of a term may have; undefined where that is not known. */
  #kindsOf(term: Resolved, aliases: Aliases): readonly ValueKind[] | undefined {
    const constant = constantOf(term)
    if (constant !== undefined) return [kindOf(constant)]
    if (term.kind === 'array' || term.kind === 'set' || term.kind === 'object') return [term.kind]
    if (term.kind === 'comprehension') return [term.of]
    if (term.kind === 'template') return ['string']
    if (term.kind === 'membership') return ['boolean']
    if (term.kind === 'binary' && comparisons.includes(term.operator)) return ['boolean']
    const named = inputPathOf(term, aliases, this.#ruleAlias)
    if (named) return kindsAt(this.#input, named.path)
    const isBaseData = term.kind === 'reference' && term.base === 'data' && !this.#groupAt(term).group
    return isBaseData ? kindsAt(this.#data, term.path.map(partOf)) : undefined
  }

  /** Two members of which an input never has both, such as the claims of two TEEs. */
  #exclusion(branch: ResolvedBranch, aliases: Aliases): Obstacle | undefined {
    const chosen = new Map<string, string>()
    const positive = branch.body.filter(
      (literal) => literal.withs.length === 0 && !('negated' in literal && literal.negated),
    )
    for (const term of [...positive.flatMap(literalTerms), ...branch.suffix, branch.value]) {
      for (const needed of neededTerms(term)) {
        const named = inputPathOf(needed, aliases, this.#ruleAlias)
        const choice = named && alternativeOf(this.#input, named.path)
        if (!choice) continue
        const before = chosen.get(choice.place)
        if (before !== undefined && before !== choice.name) {
          const reason = `no ${choice.place} has claims of both ${JSON.stringify(before)} and ${JSON.stringify(choice.name)}`
          return { span: needed.span, reason }
        }
        chosen.set(choice.place, choice.name)
      }
    }
    return undefined
  }
}

const collections: readonly ValueKind[] = ['array', 'object', 'set']
const comparisons: readonly BinaryOperator[] = ['==', '!=', '<', '<=', '>', '>=']

function partOf(part: Resolved): PathPart {
  return part.kind === 'constant' ? part.value : undefined
}

function kindsAt(shape: Shape, path: readonly PathPart[]): readonly ValueKind[] | undefined {
  const place = placeOf(shape, path)
  if (place.kind === 'nowhere' || place.shapes.some(({ kinds }) => !kinds)) return undefined
  return [...new Set(place.shapes.flatMap(({ kinds }) => kinds ?? []))]
}

function alternativeOf(shape: Shape, path: readonly PathPart[]): { place: string; name: string } | undefined {
  for (const [i, part] of path.entries()) {
    if (part === undefined) return undefined
    const place = placeOf(shape, path.slice(0, i))
    if (place.kind === 'nowhere') return undefined
    const isChoice = place.shapes.some(({ alternatives }) => alternatives?.includes(String(part)))
    if (isChoice) return { place: displayPath('input', path.slice(0, i)), name: String(part) }
  }
  return undefined
}

/** A path that must equal two constants. */
function contradiction(
  body: readonly ResolvedLiteral[],
  pathOf: (term: Resolved) => InputPath | undefined,
): Obstacle | undefined {
  const required = new Map<string, Value>()
  for (const literal of body) {
    const sides = equatedSides(literal)
    if (!sides) continue
    for (const [named, other] of [sides, [sides[1], sides[0]] as const]) {
      const path = pathOf(named)?.path
      const constant = constantOf(other)
      if (!path || constant === undefined || path.includes(undefined)) continue
      const key = canonicalText(path as Value[])
      const before = required.get(key)
      if (before !== undefined && !equalValues(before, constant)) {
        return {
          span: literal.span,
          reason: `${textOf(named.span)} would have to equal two different values`,
        }
      }
      required.set(key, constant)
    }
  }
  return undefined
}

function equatedSides(literal: ResolvedLiteral): readonly [Resolved, Resolved] | undefined {
  if (literal.withs.length > 0) return undefined
  if (literal.kind === 'unify' && !literal.negated) return [literal.left, literal.right]
  if (literal.kind !== 'test' || literal.negated) return undefined
  const { term } = literal
  return term.kind === 'binary' && term.operator === '==' ? [term.left, term.right] : undefined
}

function compareConstants(operator: BinaryOperator, left: Value, right: Value): Value | undefined {
  // comparisons use no budget, so none is there
  return comparisons.includes(operator)
    ? OPERATIONS[operator](left, right, undefined as unknown as Context)
    : undefined
}

/** As it is written, on one line. */
function textOf({ source, start, end }: Span): string {
  const text = source.text.slice(start, end).replace(/\s+/g, ' ')
  return `\`${text.length > 120 ? `${text.slice(0, 120)}…` : text}\``
}

function displayPath(root: 'input' | 'data', path: readonly PathPart[]): string {
  const parts = path.map((part) => {
    if (part === undefined) return '[_]'
    return typeof part === 'string' && /^[A-Za-z_]\w*$/.test(part) ? `.${part}` : `[${canonicalText(part)}]`
  })
  return `\`${root}${parts.join('')}\``
}

function withoutRepeats(found: readonly PolicyDiagnostic[]): PolicyDiagnostic[] {
  const byPlace = new Map(
    found.map((one) => [`${one.code} ${one.location.file} ${one.location.line} ${one.message}`, one]),
  )
  return [...byPlace.values()]
}
