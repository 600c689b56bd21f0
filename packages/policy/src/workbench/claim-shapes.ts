/** Shapes of documents that policies read: which members there may be, and of which kinds. */
import { isArray, kindOf, RegoObject, type Value, type ValueKind } from '../values/value.ts'

/** What may stand at a place. Without `kinds`: anything. */
export interface Shape {
  readonly kinds?: readonly ValueKind[]
  readonly members?: Readonly<Record<string, Shape>>
  /** Shape of members that are not named. */
  readonly rest?: Shape
  readonly items?: Shape
  /** Not every document has it. */
  readonly isOptional?: true
  /** Names of members of which at most one is there. */
  readonly alternatives?: readonly string[]
}

export const anything: Shape = {}
export const text: Shape = { kinds: ['string'] }
export const number: Shape = { kinds: ['number'] }
export const flag: Shape = { kinds: ['boolean'] }
export const textOrNull: Shape = { kinds: ['string', 'null'] }
export const numberOrNull: Shape = { kinds: ['number', 'null'] }

export function list(items: Shape): Shape {
  return { kinds: ['array'], items }
}

export function record(members: Readonly<Record<string, Shape>>, rest?: Shape): Shape {
  return { kinds: ['object'], members, ...(rest ? { rest } : {}) }
}

export function optional(shape: Shape): Shape {
  return { ...shape, isOptional: true }
}

/** Members none of which is in every document. */
export function allOptional(members: Readonly<Record<string, Shape>>): Record<string, Shape> {
  return Object.fromEntries(Object.entries(members).map(([name, shape]) => [name, optional(shape)]))
}

/** All members of one shape. */
export function each(names: readonly string[], shape: Shape): Record<string, Shape> {
  return Object.fromEntries(names.map((name) => [name, shape]))
}

/** A key, or undefined for any key. */
export type PathPart = Value | undefined

/** The shapes that a path may lead to; or where it leads nowhere. */
export type Place =
  | { readonly kind: 'known'; readonly shapes: readonly Shape[] }
  /** `at`: index of the part that no shape has; `names`: the members that there are. */
  | { readonly kind: 'nowhere'; readonly at: number; readonly names: readonly string[] }

/** Follows a path through a shape. */
export function placeOf(shape: Shape, path: readonly PathPart[]): Place {
  let shapes: readonly Shape[] = [shape]
  for (const [at, part] of path.entries()) {
    const next = shapes.flatMap((from) => below(from, part))
    if (next.length === 0) {
      const names = shapes.flatMap(({ members }) => Object.keys(members ?? {}))
      return { kind: 'nowhere', at, names: [...new Set(names)] }
    }
    shapes = next
  }
  return { kind: 'known', shapes }
}

function below(shape: Shape, part: PathPart): readonly Shape[] {
  const { kinds, members, rest, items } = shape
  if (!kinds) return [anything]
  if (part === undefined) {
    const all = [...Object.values(members ?? {}), rest, items].filter((one) => one !== undefined)
    return kinds.includes('object') && !members && !rest ? [anything] : all
  }
  if (typeof part === 'number') return items && part >= 0 ? [items] : []
  if (typeof part !== 'string') return []
  const member = members && Object.hasOwn(members, part) ? members[part] : rest
  return member ? [member] : []
}

/** Every path of a shape as policies write it, with the kinds that may stand there. */
export function pathsOf(shape: Shape, path: string): readonly string[] {
  const { kinds, members = {}, rest, items } = shape
  const below = [
    ...Object.entries(members).flatMap(([name, member]) => pathsOf(member, memberPath(path, name))),
    ...(rest ? pathsOf(rest, `${path}[name]`) : []),
    ...(items ? pathsOf(items, `${path}[i]`) : []),
  ]
  if (below.length > 0) return below
  return [`${path}: ${kinds ? kinds.join(' or ') : 'anything'}${shape.isOptional ? ', not always' : ''}`]
}

function memberPath(path: string, name: string): string {
  return /^[A-Za-z_]\w*$/.test(name) ? `${path}.${name}` : `${path}[${JSON.stringify(name)}]`
}

/** Paths of a document that a shape does not foresee, and of members that it requires and the document lacks. */
export function differences(shape: Shape, value: Value, path = 'input'): readonly string[] {
  const { kinds, members = {}, rest, items } = shape
  if (!kinds) return []
  const kind = kindOf(value)
  if (!kinds.includes(kind)) return [`${path} is ${kind}, not ${kinds.join(' or ')}`]
  if (isArray(value)) {
    return items ? value.flatMap((item, i) => differences(items, item, `${path}[${i}]`)) : []
  }
  if (!(value instanceof RegoObject)) return []
  const unforeseen = value.keys().flatMap((key) => {
    const name = String(key)
    const member = Object.hasOwn(members, name) ? members[name] : rest
    return member
      ? differences(member, value.get(key) as Value, `${path}.${name}`)
      : [`${path}.${name} is not foreseen`]
  })
  const lacking = Object.entries(members).flatMap(([name, member]) =>
    member.isOptional || value.get(name) !== undefined ? [] : [`${path}.${name} is not there`],
  )
  return [...unforeseen, ...lacking]
}
