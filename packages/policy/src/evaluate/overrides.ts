/** Paths below `data` that `with` replaces; rules at and below them do not count. */
import { equalValues, type MapKey, mapKey, ObjectBuilder, RegoObject, type Value } from '../values/value.ts'

export class Overrides {
  readonly value: Value | undefined
  readonly children: ReadonlyMap<MapKey, Overrides>

  constructor(value: Value | undefined, children: ReadonlyMap<MapKey, Overrides>) {
    this.value = value
    this.children = children
  }

  static readonly NONE = new Overrides(undefined, new Map())

  child(key: Value): Overrides | undefined {
    return this.children.get(mapKey(key))
  }

  /** These replacements and one more. */
  with(path: readonly Value[], value: Value): Overrides {
    if (path.length === 0) return new Overrides(value, new Map())
    const [key, ...rest] = path
    // below a replaced document a further replacement changes that document
    if (this.value !== undefined) return new Overrides(setAtPath(this.value, path, value), new Map())
    const children = new Map(this.children)
    const at = mapKey(key as Value)
    children.set(at, (children.get(at) ?? Overrides.NONE).with(rest, value))
    return new Overrides(undefined, children)
  }

  isSame(other: Overrides | undefined): boolean {
    if (!other || this.children.size !== other.children.size) return false
    if ((this.value === undefined) !== (other.value === undefined)) return false
    if (this.value !== undefined && other.value !== undefined && !equalValues(this.value, other.value))
      return false
    for (const [key, child] of this.children) if (!child.isSame(other.children.get(key))) return false
    return true
  }
}

/** A document with the value at a path replaced; what stands in the way and is no object gives way. */
export function setAtPath(document: Value | undefined, path: readonly Value[], value: Value): Value {
  if (path.length === 0) return value
  const [key, ...rest] = path as [Value, ...Value[]]
  const object = document instanceof RegoObject ? document : undefined
  const builder = new ObjectBuilder(object)
  builder.set(key, setAtPath(object?.get(key), rest, value))
  return builder.build()
}
