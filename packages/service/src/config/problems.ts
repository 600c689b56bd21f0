import type { z } from 'zod'
import type { ConfigProblem } from './config-error.ts'
import { keyPath } from './occurrences.ts'
import { configSchema } from './schema.ts'
import { discriminatorValues, membersOf, schemaAt, typeInWords, unwrap } from './schema-walk.ts'
import { sentence } from './tolerated-keys.ts'

/** Turns zod's issues into problems that name the key and the remedy. Values appear only where they choose a variant. */
export function problemsOfIssues(
  issues: readonly z.core.$ZodIssue[],
  document: unknown,
): readonly ConfigProblem[] {
  return issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') return issue.keys.map((key) => unknownKey(issue.path, key))
    if (
      issue.code === 'invalid_union' &&
      'discriminator' in issue &&
      typeof issue.discriminator === 'string'
    ) {
      return [unknownVariant(issue.path, issue.discriminator, document)]
    }
    return [wrongValue(issue)]
  })
}

function unknownKey(path: readonly PropertyKey[], key: string): ConfigProblem {
  const here = schemaAt(configSchema, path)
  const known = here === undefined ? [] : [...membersOf(here).keys()]
  const near = nearest(key, known)
  const elsewhere = near === undefined ? sectionsWith(key) : []
  const remedy =
    near !== undefined
      ? `Did you mean "${near}"?`
      : elsewhere.length > 0
        ? `It belongs in ${elsewhere.map((section) => `[${section}]`).join(' or ')}`
        : `Remove it; the keys here are: ${known.join(', ')}`
  return { path: keyPath([...path, key]), problem: 'unknown key', remedy }
}

function unknownVariant(
  path: readonly PropertyKey[],
  discriminator: string,
  document: unknown,
): ConfigProblem {
  const place = path.at(-1) === discriminator ? path.slice(0, -1) : path
  const schema = schemaAt(configSchema, place)
  const values = schema === undefined ? [] : discriminatorValues(schema, discriminator)
  const value = valueAt(document, [...place, discriminator])
  return {
    path: keyPath([...place, discriminator]),
    problem: value === undefined ? 'is missing' : `"${String(value).slice(0, 64)}" is not known`,
    remedy: `Set it to one of: ${values.map((v) => `"${v}"`).join(', ')}`,
  }
}

function wrongValue(issue: z.core.$ZodIssue): ConfigProblem {
  const schema = schemaAt(configSchema, issue.path)
  const problem = issue.message.replace(/^Invalid (?:input|option|string): /, '')
  if (schema === undefined) return { path: keyPath(issue.path), problem, remedy: 'Correct the value' }
  const { description } = unwrap(schema)
  const about = description === undefined ? '' : ` (${description.replace(/^Ours: /, '').replace(/\.$/, '')})`
  const remedy = issue.code === 'custom' ? `See the reference${about}` : `Give ${typeInWords(schema)}${about}`
  return { path: keyPath(issue.path), problem, remedy: sentence(remedy) }
}

function valueAt(document: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (node, step) => (typeof node === 'object' && node !== null ? Reflect.get(node, step) : undefined),
    document,
  )
}

function sectionsWith(key: string): readonly string[] {
  return [...membersOf(configSchema)].filter(([, schema]) => membersOf(schema).has(key)).map(([name]) => name)
}

/** The known key that is at most a third of its letters away. */
function nearest(key: string, known: readonly string[]): string | undefined {
  const ranked = known
    .map((name) => ({ name, distance: editDistance(key.toLowerCase(), name) }))
    .filter(({ name, distance }) => distance <= Math.max(1, Math.floor(name.length / 3)))
    .sort((a, b) => a.distance - b.distance)
  return ranked[0]?.name
}

/** Levenshtein distance, of keys only: both are short. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (const [row, letter] of [...a.slice(0, 64)].entries()) {
    const current = [row + 1]
    for (const [column, other] of [...b].entries()) {
      const replaced = (previous[column] ?? 0) + (letter === other ? 0 : 1)
      current.push(Math.min(replaced, (previous[column + 1] ?? 0) + 1, (current[column] ?? 0) + 1))
    }
    previous = current
  }
  return previous[b.length] ?? 0
}
