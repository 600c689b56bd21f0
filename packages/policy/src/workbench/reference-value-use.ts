/** Reference values that a body binds and compares without asking whether they are known (spec 05 §9). */
import type { Local, Resolved, ResolvedLiteral } from '../compile/resolved.ts'
import type { PolicyDiagnostic } from '../errors.ts'

/** Warnings for comparisons with a local that holds the answer of an external builtin, where nothing excludes null. */
export function uncheckedReferenceValues(body: readonly ResolvedLiteral[]): PolicyDiagnostic[] {
  const answers = new Set(body.flatMap(boundAnswer))
  const checked = new Set(body.flatMap(nullChecked))
  return body.flatMap((literal) => {
    if (literal.kind !== 'test' || literal.term.kind !== 'binary') return []
    const { operator, left, right, span } = literal.term
    const local = [left, right].find((side) => side.kind === 'local' && answers.has(side.local))
    if (local?.kind !== 'local' || checked.has(local.local) || !/[=<>]/.test(operator)) return []
    const message = `\`${local.local.name}\` is null when the reference value is unknown, and null is less than everything else and equal to a null claim; test \`${local.local.name} != null\` first`
    return [span.source.diagnostic('null_comparison', message, span.start)]
  })
}

function boundAnswer(literal: ResolvedLiteral): readonly Local[] {
  if (literal.kind !== 'unify' || literal.negated) return []
  const { left, right } = literal
  const isAnswer = right.kind === 'call' && right.target.kind === 'external'
  return isAnswer && left.kind === 'local' ? [left.local] : []
}

/** `x != null`, `is_number(x)` and the like. */
function nullChecked(literal: ResolvedLiteral): readonly Local[] {
  if (literal.kind !== 'test' || literal.negated) return []
  const { term } = literal
  if (
    term.kind === 'call' &&
    term.target.kind === 'builtin' &&
    /^is_(?!null)/.test(term.target.builtin.name)
  ) {
    return localsOf(term.args)
  }
  const isNullTest = term.kind === 'binary' && term.operator === '!=' && [term.left, term.right].some(isNull)
  return isNullTest ? localsOf([term.left, term.right]) : []
}

function isNull(term: Resolved): boolean {
  return term.kind === 'constant' && term.value === null
}

function localsOf(terms: readonly Resolved[]): readonly Local[] {
  return terms.flatMap((term) => (term.kind === 'local' ? [term.local] : []))
}
