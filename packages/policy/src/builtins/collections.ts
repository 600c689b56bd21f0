/** Arrays, sets and objects. */
import { intersect, unite } from '../compile/operators.ts'
import type { Context } from '../evaluate/context.ts'
import { isInteger } from '../values/number.ts'
import {
  EMPTY_SET,
  equalValues,
  isArray,
  ObjectBuilder,
  RegoObject,
  RegoSet,
  type Value,
} from '../values/value.ts'
import {
  arrayAt,
  type Builtin,
  BuiltinError,
  indexAt,
  numberAt,
  objectAt,
  setAt,
  wrongKind,
} from './builtin.ts'

type Call = Builtin['call']

const arrayConcat: Call = (args, context) => {
  const a = arrayAt(args, 0)
  const b = arrayAt(args, 1)
  context.growCollection(a.length + b.length)
  return [...a, ...b]
}

const arrayReverse: Call = (args, context) => {
  const a = arrayAt(args, 0)
  context.growCollection(a.length)
  return a.toReversed()
}

const arraySlice: Call = (args, context) => {
  const a = arrayAt(args, 0)
  // as upstream, fractions are no positions, which is not an error
  if (!isInteger(numberAt(args, 1)) || !isInteger(numberAt(args, 2))) return undefined
  const start = Math.max(0, indexAt(args, 1))
  const stop = Math.min(a.length, indexAt(args, 2))
  if (stop <= start) return []
  context.growCollection(stop - start)
  return a.slice(start, stop)
}

/** One level of arrays in the array is opened. */
const arrayFlatten: Call = (args, context) => {
  const array = arrayAt(args, 0)
  let size = 0
  for (const item of array) size += isArray(item) ? item.length : 1
  context.growCollection(size)
  return array.flat() as Value[]
}

function setsOf(args: readonly Value[]): RegoSet[] {
  return setAt(args, 0)
    .members()
    .map((member) => {
      if (!(member instanceof RegoSet)) throw wrongKind(0, 'set of sets', member)
      return member
    })
}

const intersection: Call = (args, context) => {
  const [first, ...rest] = setsOf(args)
  if (!first) return EMPTY_SET
  return rest.reduce((both, set) => intersect(both, set, context), first)
}

const union: Call = (args, context) => setsOf(args).reduce((all, set) => unite(all, set, context), EMPTY_SET)

/** Keys given as an array, a set, or the keys of an object. */
function keysAt(args: readonly Value[], index: number): readonly Value[] {
  const v = args[index] as Value
  if (isArray(v)) return v
  if (v instanceof RegoSet) return v.members()
  if (v instanceof RegoObject) return v.keys()
  throw wrongKind(index, 'object, set or array', v)
}

const objectFilter: Call = (args, context) => {
  const object = objectAt(args, 0)
  const builder = new ObjectBuilder()
  const keys = keysAt(args, 1)
  context.growCollection(keys.length)
  for (const key of keys) {
    const value = object.get(key)
    if (value !== undefined) builder.set(key, value)
  }
  return builder.build()
}

const objectRemove: Call = (args, context) => {
  const object = objectAt(args, 0)
  const keys = keysAt(args, 1)
  context.growCollection(object.size + keys.length)
  const builder = new ObjectBuilder(object)
  for (const key of keys) builder.delete(key)
  return builder.build()
}

/** A key, or a path of keys, into objects and arrays, and of members into sets. */
const objectGet: Call = (args, context) => {
  const object = objectAt(args, 0)
  const [, path, fallback] = args as [Value, Value, Value]
  if (!isArray(path)) {
    const found = object.get(path)
    return found === undefined ? fallback : found
  }
  let at: Value | undefined = object
  for (const key of path) {
    context.tick()
    if (at instanceof RegoObject) at = at.get(key)
    else if (isArray(at) && typeof key === 'number') at = at[key]
    else if (at instanceof RegoSet) at = at.has(key) ? key : undefined
    else return fallback
    if (at === undefined) return fallback
  }
  return at
}

const objectKeys: Call = (args, context) => {
  const object = objectAt(args, 0)
  context.growCollection(object.size)
  return RegoSet.of(object.keys())
}

/** Members of both, those of the right where both are no objects. */
function mergeObjects(a: RegoObject, b: RegoObject, context: Context): RegoObject {
  context.enter()
  context.growCollection(a.size + b.size)
  const builder = new ObjectBuilder(a)
  for (const [key, value] of b.entries()) {
    const other = a.get(key)
    const bothObjects = other instanceof RegoObject && value instanceof RegoObject
    builder.set(key, bothObjects ? mergeObjects(other, value, context) : value)
  }
  context.leave()
  return builder.build()
}

const objectUnionAll: Call = (args, context) => {
  let all: RegoObject | undefined
  for (const item of arrayAt(args, 0)) {
    if (!(item instanceof RegoObject)) throw wrongKind(0, 'array of objects', item)
    all = all ? mergeObjects(all, item, context) : item
  }
  return all ?? new ObjectBuilder().build()
}

/** `sub` is a part of `whole`: objects by key, sets by member, arrays as a contiguous run. */
function isSubset(whole: Value, sub: Value, context: Context, depth = 0): boolean {
  context.tick()
  if (whole instanceof RegoObject && sub instanceof RegoObject) {
    if (depth > 0) context.charge(1)
    for (const [key, value] of sub.entries()) {
      const other = whole.get(key)
      if (other === undefined || !isSubsetMember(other, value, context, depth + 1)) return false
    }
    return true
  }
  if (whole instanceof RegoSet && sub instanceof RegoSet)
    return sub.members().every((member) => whole.has(member))
  if (isArray(whole) && isArray(sub)) return isRun(whole, sub, context)
  if (isArray(whole) && sub instanceof RegoSet) {
    const members = RegoSet.of(whole)
    return sub.members().every((member) => members.has(member))
  }
  throw new BuiltinError('both arguments must be objects, sets or arrays, or an array and a set')
}

function isSubsetMember(whole: Value, sub: Value, context: Context, depth: number): boolean {
  const bothObjects = whole instanceof RegoObject && sub instanceof RegoObject
  const bothSets = whole instanceof RegoSet && sub instanceof RegoSet
  if (bothObjects || bothSets || (isArray(whole) && isArray(sub))) return isSubset(whole, sub, context, depth)
  return equalValues(whole, sub)
}

function isRun(whole: readonly Value[], sub: readonly Value[], context: Context): boolean {
  for (let start = 0; start + sub.length <= whole.length; start++) {
    let length = 0
    while (length < sub.length && equalValues(whole[start + length] as Value, sub[length] as Value)) length++
    context.charge(length + 1)
    if (length === sub.length) return true
  }
  return false
}

export const collectionBuiltins: readonly Builtin[] = [
  { name: 'array.concat', arity: 2, tier: 1, call: arrayConcat },
  { name: 'array.reverse', arity: 1, tier: 1, call: arrayReverse },
  { name: 'array.slice', arity: 3, tier: 1, call: arraySlice },
  { name: 'array.flatten', arity: 1, tier: 2, call: arrayFlatten },
  { name: 'intersection', arity: 1, tier: 1, call: intersection },
  { name: 'union', arity: 1, tier: 1, call: union },
  { name: 'object.filter', arity: 2, tier: 1, call: objectFilter },
  { name: 'object.get', arity: 3, tier: 1, call: objectGet },
  { name: 'object.keys', arity: 1, tier: 1, call: objectKeys },
  { name: 'object.remove', arity: 2, tier: 1, call: objectRemove },
  {
    name: 'object.union',
    arity: 2,
    tier: 1,
    call: (args, context) => mergeObjects(objectAt(args, 0), objectAt(args, 1), context),
  },
  { name: 'object.union_n', arity: 1, tier: 0, call: objectUnionAll },
  {
    name: 'object.subset',
    arity: 2,
    tier: 0,
    call: ([a, b], context) => isSubset(a as Value, b as Value, context),
  },
]
