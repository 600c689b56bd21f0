/** Paths inside documents: `json.filter`, `json.remove`, `json.patch`, `walk`. */
import type { Context } from '../evaluate/context.ts'
import {
  equalValues,
  isArray,
  kindOf,
  ObjectBuilder,
  RegoObject,
  RegoSet,
  type Value,
} from '../values/value.ts'
import { arrayAt, type Builtin, BuiltinError, objectAt, wrongKind } from './builtin.ts'

type Call = Builtin['call']
type Path = readonly Value[]

/** `"a/b"` with `~1` and `~0` escapes, or an array of segments. */
function pathOf(v: Value): Path {
  if (isArray(v)) return v
  if (typeof v !== 'string') throw wrongKind(1, 'array or set of paths', `path of kind ${kindOf(v)}`)
  if (v === '') return []
  return v
    .replace(/^\//, '')
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
}

function pathsAt(args: readonly Value[]): Path[] {
  const v = args[1] as Value
  if (!isArray(v) && !(v instanceof RegoSet)) throw wrongKind(1, 'array or set', v)
  return (isArray(v) ? v : v.members()).map((path) => pathOf(path))
}

/** Paths as a tree; `whole` marks the end of one. */
class PathTree {
  whole = false
  readonly children = new Map<string, { key: Value; tree: PathTree }>()

  static of(paths: readonly Path[], context: Context): PathTree {
    const root = new PathTree()
    for (const path of paths) {
      let at: PathTree = root
      for (const key of path) {
        context.tick()
        const name = segmentText(key)
        let child = at.children.get(name)
        if (!child) {
          child = { key, tree: new PathTree() }
          at.children.set(name, child)
        }
        at = child.tree
      }
      at.whole = true
    }
    return root
  }
}

/** Segments `1` and `"1"` name one place. */
function segmentText(key: Value): string {
  return typeof key === 'string' ? key : String(key)
}

function indexOf(array: readonly Value[], key: Value): number {
  const text = segmentText(key)
  const index = /^(0|[1-9][0-9]*)$/.test(text) ? Number(text) : -1
  return index < array.length ? index : -1
}

function memberKey(object: RegoObject, key: Value): Value | undefined {
  if (object.has(key)) return key
  return undefined
}

function filter(v: Value, tree: PathTree, context: Context, depth = 0): Value | undefined {
  if (tree.whole) return v
  if (depth > context.limits.jsonDepth * 4) return undefined
  if (v instanceof RegoObject) {
    const builder = new ObjectBuilder()
    for (const { key, tree: below } of tree.children.values()) {
      context.tick()
      const at = memberKey(v, key)
      const kept = at === undefined ? undefined : filter(v.get(at) as Value, below, context, depth + 1)
      if (at !== undefined && kept !== undefined) builder.set(at, kept)
    }
    return builder.build()
  }
  if (!isArray(v)) return undefined
  const kept: { index: number; value: Value }[] = []
  for (const { key, tree: below } of tree.children.values()) {
    context.tick()
    const index = indexOf(v, key)
    const value = index < 0 ? undefined : filter(v[index] as Value, below, context, depth + 1)
    if (value !== undefined) kept.push({ index, value })
  }
  return kept.sort((a, b) => a.index - b.index).map(({ value }) => value)
}

const jsonFilter: Call = (args, context) => {
  const object = objectAt(args, 0)
  const tree = PathTree.of(pathsAt(args), context)
  return filter(object, tree, context) as Value
}

function remove(v: Value, tree: PathTree, context: Context, depth = 0): Value {
  if (depth > context.limits.jsonDepth * 4) return v
  if (v instanceof RegoObject) {
    context.growCollection(v.size)
    const builder = new ObjectBuilder(v)
    for (const { key, tree: below } of tree.children.values()) {
      const member = v.get(key)
      if (member === undefined) continue
      if (below.whole) builder.delete(key)
      else builder.set(key, remove(member, below, context, depth + 1))
    }
    return builder.build()
  }
  if (!isArray(v)) return v
  context.growCollection(v.length)
  const kept: (Value | undefined)[] = [...v]
  for (const { key, tree: below } of tree.children.values()) {
    const index = indexOf(v, key)
    if (index >= 0)
      kept[index] = below.whole ? undefined : remove(v[index] as Value, below, context, depth + 1)
  }
  return kept.filter((item) => item !== undefined)
}

const jsonRemove: Call = (args, context) => {
  const object = objectAt(args, 0)
  const tree = PathTree.of(pathsAt(args), context)
  return remove(object, tree, context)
}

interface Patch {
  readonly op: string
  readonly path: Path
  readonly from: Path | undefined
  readonly value: Value | undefined
}

function patchOf(v: Value): Patch {
  if (!(v instanceof RegoObject)) throw wrongKind(1, 'array of objects', `array with ${kindOf(v)}`)
  const op = v.get('op')
  const path = v.get('path')
  const from = v.get('from')
  if (typeof op !== 'string' || path === undefined) throw new BuiltinError('a patch needs `op` and `path`')
  return {
    op,
    path: pathOf(path),
    from: from === undefined ? undefined : pathOf(from),
    value: v.get('value'),
  }
}

/** The member at a key; undefined when it is not there. */
function childOf(v: Value, key: Value): Value | undefined {
  if (v instanceof RegoObject) return v.get(key)
  if (v instanceof RegoSet) return v.has(key) ? key : undefined
  return isArray(v) ? v[indexOf(v, key)] : undefined
}

function find(document: Value | undefined, path: Path): Value | undefined {
  let at = document
  for (const key of path) {
    if (at === undefined) return undefined
    at = childOf(at, key)
  }
  return at
}

/** The document with the place at `path` changed; undefined when the place cannot exist. */
function change(
  document: Value,
  path: Path,
  leaf: (parent: Value, key: Value) => Value | undefined,
  context: Context,
): Value | undefined {
  const parents: Value[] = []
  let at: Value | undefined = document
  for (const key of path.slice(0, -1)) {
    if (at === undefined) return undefined
    parents.push(at)
    at = childOf(at, key)
  }
  if (at === undefined) return undefined
  let changed = leaf(at, path.at(-1) as Value)
  for (let i = parents.length - 1; i >= 0 && changed !== undefined; i--) {
    changed = setChild(parents[i] as Value, path[i] as Value, changed, context)
  }
  return changed
}

function setChild(parent: Value, key: Value, value: Value, context: Context): Value | undefined {
  if (parent instanceof RegoObject) {
    context.growCollection(parent.size)
    const builder = new ObjectBuilder(parent)
    builder.set(key, value)
    return builder.build()
  }
  if (parent instanceof RegoSet) {
    context.growCollection(parent.size)
    return RegoSet.of([...parent.members().filter((member) => !equalValues(member, key)), value])
  }
  if (!isArray(parent)) return undefined
  const index = indexOf(parent, key)
  if (index < 0) return undefined
  context.growCollection(parent.length)
  return parent.with(index, value)
}

function addTo(parent: Value, key: Value, value: Value, context: Context): Value | undefined {
  if (parent instanceof RegoSet) {
    if (!equalValues(key, value)) return undefined
    return RegoSet.of([...parent.members(), value])
  }
  if (!isArray(parent)) return setChild(parent, key, value, context)
  const index = key === '-' ? parent.length : indexOf([...parent, null], key)
  if (index < 0) return undefined
  context.growCollection(parent.length + 1)
  return parent.toSpliced(index, 0, value)
}

function removeFrom(parent: Value, key: Value, context: Context): Value | undefined {
  if (childOf(parent, key) === undefined) return undefined
  if (parent instanceof RegoObject) {
    context.growCollection(parent.size)
    const builder = new ObjectBuilder(parent)
    builder.delete(key)
    return builder.build()
  }
  if (parent instanceof RegoSet)
    return RegoSet.of(parent.members().filter((member) => !equalValues(member, key)))
  return isArray(parent) ? parent.toSpliced(indexOf(parent, key), 1) : undefined
}

function apply(document: Value | undefined, patch: Patch, context: Context): Value | undefined | 'removed' {
  const { op, path, value } = patch
  const add = (base: Value | undefined, at: Path, v: Value | undefined): Value | undefined => {
    if (v === undefined) throw new BuiltinError('a patch lacks `value`')
    if (at.length === 0) return v
    return base === undefined
      ? undefined
      : change(base, at, (parent, key) => addTo(parent, key, v, context), context)
  }
  const cut = (base: Value | undefined, at: Path) =>
    base === undefined
      ? undefined
      : change(base, at, (parent, key) => removeFrom(parent, key, context), context)
  switch (op) {
    case 'add':
      return add(document, path, value)
    case 'remove':
      if (path.length === 0) return document === undefined ? undefined : 'removed'
      return cut(document, path)
    case 'replace': {
      if (find(document, path) === undefined) return undefined
      if (path.length === 0) return value
      const without = cut(document, path)
      return add(without, path, value)
    }
    case 'move': {
      if (!patch.from) throw new BuiltinError('a patch lacks `from`')
      const moved = find(document, patch.from)
      if (moved === undefined) return undefined
      const rest = patch.from.length === 0 ? document : cut(document, patch.from)
      return add(rest, path, moved)
    }
    case 'copy': {
      if (!patch.from) throw new BuiltinError('a patch lacks `from`')
      const copied = find(document, patch.from)
      return copied === undefined ? undefined : add(document, path, copied)
    }
    case 'test': {
      if (value === undefined) throw new BuiltinError('a patch lacks `value`')
      const found = find(document, path)
      return found !== undefined && equalValues(found, value) ? document : undefined
    }
    default:
      throw new BuiltinError('unknown operation of a patch')
  }
}

const jsonPatch: Call = (args, context) => {
  let document: Value | undefined = args[0] as Value
  for (const item of arrayAt(args, 1)) {
    context.tick()
    const next = apply(document, patchOf(item), context)
    if (next === undefined) return undefined
    document = next === 'removed' ? undefined : next
  }
  return document
}

/** All `[path, value]` pairs of a document, the document itself first. */
const walk: Call = ([v], context) => {
  const pairs: Value[] = []
  const work: { path: Path; value: Value }[] = [{ path: [], value: v as Value }]
  for (let item = work.pop(); item; item = work.pop()) {
    const { path, value } = item
    context.charge(1 + path.length / 8)
    context.grow(16 * path.length + 64)
    pairs.push([path, value])
    const children: { path: Path; value: Value }[] = []
    const add = (key: Value, child: Value): void => {
      children.push({ path: [...path, key], value: child })
    }
    if (isArray(value)) for (const [i, child] of value.entries()) add(i, child)
    else if (value instanceof RegoObject) for (const [key, child] of value.entries()) add(key, child)
    else if (value instanceof RegoSet) for (const child of value.members()) add(child, child)
    for (let i = children.length - 1; i >= 0; i--) work.push(children[i] as { path: Path; value: Value })
  }
  context.growCollection(pairs.length)
  return pairs
}

export const documentBuiltins: readonly Builtin[] = [
  { name: 'json.filter', arity: 2, tier: 1, call: jsonFilter },
  { name: 'json.remove', arity: 2, tier: 1, call: jsonRemove },
  { name: 'json.patch', arity: 2, tier: 2, call: jsonPatch },
  { name: 'walk', arity: 1, tier: 2, call: walk },
]
