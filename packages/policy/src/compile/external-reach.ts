/** Which literals may ask an external builtin, directly or through rules (spec 05 §9). */
import type { Resolved, ResolvedLiteral } from './resolved.ts'
import { placesRead, type RuleTree } from './rule-tree.ts'

export function externalReach(
  tree: RuleTree,
  hasExternals: boolean,
): (x: ResolvedLiteral | Resolved) => boolean {
  if (!hasExternals) return () => false
  const known = new WeakMap<object, boolean>()
  const reach = (x: ResolvedLiteral | Resolved): boolean => {
    const before = known.get(x)
    if (before !== undefined) return before
    const result = isLiteral(x) ? literalReaches(x) : termReaches(x)
    known.set(x, result)
    return result
  }
  const any = (terms: Iterable<Resolved | undefined>): boolean => {
    for (const term of terms) if (term && reach(term)) return true
    return false
  }
  const literalReaches = (literal: ResolvedLiteral): boolean => {
    // a replaced function or document may be any other
    if (literal.withs.length > 0) return true
    switch (literal.kind) {
      case 'test':
        return reach(literal.term)
      case 'unify':
        return reach(literal.left) || reach(literal.right)
      case 'someIn':
        return any([literal.key, literal.value, literal.collection])
      case 'every':
        return reach(literal.domain) || literal.body.some(reach)
    }
  }
  const termReaches = (term: Resolved): boolean => {
    switch (term.kind) {
      case 'constant':
      case 'local':
        return false
      case 'reference':
        return (
          any(term.path) ||
          (term.base === 'data' ? dataReaches(tree, term.path) : term.base !== 'input' && reach(term.base))
        )
      case 'array':
      case 'set':
        return any(term.items)
      case 'object':
        return any(term.items.flat())
      case 'comprehension':
        return any([term.key, term.value]) || term.body.some(reach)
      case 'call':
        return (
          term.target.kind === 'external' ||
          (term.target.kind === 'rule' && term.target.group.reachesExternal) ||
          any(term.args)
        )
      case 'binary':
        return reach(term.left) || reach(term.right)
      case 'negative':
        return reach(term.operand)
      case 'membership':
        return any([term.key, term.value, term.collection])
      case 'template':
        return term.parts.some((part) => typeof part !== 'string' && reach(part))
    }
  }
  return reach
}

function isLiteral(x: ResolvedLiteral | Resolved): x is ResolvedLiteral {
  return 'withs' in x
}

function dataReaches(tree: RuleTree, path: readonly Resolved[]): boolean {
  return placesRead(tree, path).some((place) => place.reachesExternal)
}
