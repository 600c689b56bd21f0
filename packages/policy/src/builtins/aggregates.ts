/** Aggregates over collections. */

import type { Context } from '../evaluate/context.ts'
import * as numbers from '../values/number.ts'
import {
  compareValues,
  isArray,
  isNumber,
  kindOf,
  type RegoNumber,
  RegoObject,
  RegoSet,
  sortValues,
  type Value,
} from '../values/value.ts'
import { type Builtin, BuiltinError, listAt, wrongKind } from './builtin.ts'

function count([v]: readonly Value[], context: Context): Value {
  if (typeof v === 'string') {
    context.charge(v.length / 64)
    let points = 0
    for (const _ of v) points++
    return points
  }
  if (isArray(v)) return v.length
  if (v instanceof RegoObject || v instanceof RegoSet) return v.size
  throw wrongKind(0, 'array, object, set or string', v as Value)
}

function fold(
  start: RegoNumber,
  apply: (a: RegoNumber, b: RegoNumber) => RegoNumber | undefined,
): (args: readonly Value[], context: Context) => Value {
  return (args, context) => {
    let result = start
    for (const item of listAt(args, 0)) {
      context.tick()
      if (!isNumber(item)) throw wrongKind(0, 'collection of numbers', `collection with ${kindOf(item)}`)
      if (typeof result === 'bigint') context.growInteger(numbers.bitLength(result) + numbers.bitLength(item))
      const next = apply(result, item)
      if (next === undefined) throw new BuiltinError('the result is out of range')
      result = next
    }
    return result
  }
}

function extreme(sign: 1 | -1): (args: readonly Value[], context: Context) => Value | undefined {
  return (args, context) => {
    const items = listAt(args, 0)
    context.charge(items.length)
    let best: Value | undefined
    for (const item of items) if (best === undefined || sign * compareValues(item, best) > 0) best = item
    return best
  }
}

function sort(args: readonly Value[], context: Context): Value {
  const items = listAt(args, 0)
  context.growCollection(items.length)
  context.charge(items.length * Math.ceil(Math.log2(items.length + 1)))
  return sortValues([...items])
}

export const aggregates: readonly Builtin[] = [
  { name: 'count', arity: 1, tier: 0, call: count },
  { name: 'sum', arity: 1, tier: 1, call: fold(0, numbers.add) },
  { name: 'product', arity: 1, tier: 1, call: fold(1, numbers.multiply) },
  { name: 'max', arity: 1, tier: 1, call: extreme(1) },
  { name: 'min', arity: 1, tier: 1, call: extreme(-1) },
  { name: 'sort', arity: 1, tier: 1, call: sort },
]
