/** Values as `print` and `sprintf("%v")` show them: Rego notation, strings bare at the top. */
import { printNumber } from './json.ts'
import { isArray, RegoSet, tooDeep, type Value } from './value.ts'

const MAX_DEPTH = 640

/** How `print` shows a value: an empty set is `{}`, as upstream. */
export function printValue(v: Value): string {
  return typeof v === 'string' ? v : notation(v, 0, '{}')
}

/** Rego notation with strings in quotes; an empty set is `set()`. */
export function regoNotation(v: Value): string {
  return notation(v, 0, 'set()')
}

function notation(v: Value, depth: number, emptySet: string): string {
  if (typeof v === 'string') return JSON.stringify(v)
  if (typeof v === 'number') return printNumber(v)
  if (typeof v !== 'object' || v === null) return String(v)
  if (depth > MAX_DEPTH) throw tooDeep()
  const show = (item: Value) => notation(item, depth + 1, emptySet)
  if (isArray(v)) return `[${v.map(show).join(', ')}]`
  if (v instanceof RegoSet) return v.size === 0 ? emptySet : `{${v.members().map(show).join(', ')}}`
  return `{${[...v.entries()].map(([key, value]) => `${show(key)}: ${show(value)}`).join(', ')}}`
}
