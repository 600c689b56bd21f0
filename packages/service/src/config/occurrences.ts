import { isPlainObject } from './schema-values.ts'

/** A key that stands in a document. */
export interface Occurrence {
  /** The table that holds it. */
  readonly parent: Record<string, unknown>
  readonly name: string
  readonly steps: readonly PropertyKey[]
  /** The same place as the operator reads it: `plugins[0].name`. */
  readonly path: string
}

/** Where the key at `pattern`, which has `*` for a list index, stands in `document`. */
export function occurrences(document: unknown, pattern: string): readonly Occurrence[] {
  return find(document, pattern.split('.'), [])
}

function find(
  node: unknown,
  [step, ...rest]: readonly string[],
  place: readonly PropertyKey[],
): readonly Occurrence[] {
  if (step === undefined) return []
  if (step === '*') {
    return Array.isArray(node) ? node.flatMap((item, index) => find(item, rest, [...place, index])) : []
  }
  if (!isPlainObject(node) || !Object.hasOwn(node, step)) return []
  const steps = [...place, step]
  return rest.length === 0
    ? [{ parent: node, name: step, steps, path: keyPath(steps) }]
    : find(node[step], rest, steps)
}

/** `["plugins", 0, "name"]` → `plugins[0].name`. */
export function keyPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`
    return text === '' ? String(step) : `${text}.${String(step)}`
  }, '')
}
