/** Binary operators on values (spec 05 §4 item 5, §6). */
import { BuiltinError, wrongKind } from '../builtins/builtin.ts'
import type { Context } from '../evaluate/context.ts'
import type { BinaryOperator } from '../syntax/ast.ts'
import * as numbers from '../values/number.ts'
import {
  compareValues,
  equalValues,
  isArray,
  isNumber,
  type MapKey,
  mapKey,
  type RegoNumber,
  RegoObject,
  RegoSet,
  type Value,
} from '../values/value.ts'

export type Operation = (a: Value, b: Value, context: Context) => Value

/** Names under which builtin errors speak of operators. */
export const OPERATOR_NAMES: Readonly<Record<BinaryOperator, string>> = {
  '==': 'equal',
  '!=': 'neq',
  '<': 'lt',
  '<=': 'lte',
  '>': 'gt',
  '>=': 'gte',
  '|': 'or',
  '&': 'and',
  '+': 'plus',
  '-': 'minus',
  '*': 'mul',
  '/': 'div',
  '%': 'rem',
}

function operands(a: Value, b: Value): [RegoNumber, RegoNumber] {
  if (!isNumber(a)) throw wrongKind(0, 'number', a)
  if (!isNumber(b)) throw wrongKind(1, 'number', b)
  return [a, b]
}

function finite(n: RegoNumber | undefined): RegoNumber {
  if (n === undefined) throw new BuiltinError('the result is out of range')
  return n
}

function growBy(context: Context, bits: number): void {
  if (bits > 128) context.growInteger(bits)
}

function arithmetic(
  apply: (a: RegoNumber, b: RegoNumber) => RegoNumber | undefined,
  bits: (a: RegoNumber, b: RegoNumber) => number,
): Operation {
  return (a, b, context) => {
    const [x, y] = operands(a, b)
    if (typeof x === 'bigint' || typeof y === 'bigint') growBy(context, bits(x, y))
    return finite(apply(x, y))
  }
}

const widest = (a: RegoNumber, b: RegoNumber) => Math.max(numbers.bitLength(a), numbers.bitLength(b)) + 1
const sum = (a: RegoNumber, b: RegoNumber) => numbers.bitLength(a) + numbers.bitLength(b)
const subtractNumbers = arithmetic(numbers.subtract, widest)

function subtract(a: Value, b: Value, context: Context): Value {
  if (!(a instanceof RegoSet)) {
    if (isNumber(a) && b instanceof RegoSet) throw wrongKind(1, 'number', b)
    return subtractNumbers(a, b, context)
  }
  if (!(b instanceof RegoSet)) throw wrongKind(1, 'set', b)
  context.growCollection(a.size)
  const rest = new Map<MapKey, Value>()
  const without = b.rawMembers()
  for (const [key, member] of a.rawMembers()) if (!without.has(key)) rest.set(key, member)
  return new RegoSet(rest)
}

function sets(a: Value, b: Value): [RegoSet, RegoSet] {
  if (!(a instanceof RegoSet)) throw wrongKind(0, 'set', a)
  if (!(b instanceof RegoSet)) throw wrongKind(1, 'set', b)
  return [a, b]
}

export function unite(a: RegoSet, b: RegoSet, context: Context): RegoSet {
  context.growCollection(a.size + b.size)
  const all = new Map(a.rawMembers())
  for (const [key, member] of b.rawMembers()) all.set(key, member)
  return new RegoSet(all)
}

export function intersect(a: RegoSet, b: RegoSet, context: Context): RegoSet {
  const [small, large] = a.size <= b.size ? [a, b] : [b, a]
  context.growCollection(small.size)
  const both = new Map<MapKey, Value>()
  const others = large.rawMembers()
  for (const [key, member] of small.rawMembers()) if (others.has(key)) both.set(key, member)
  return new RegoSet(both)
}

function divide(a: Value, b: Value): Value {
  const [x, y] = operands(a, b)
  if (y === 0) throw new BuiltinError('divide by zero')
  return finite(numbers.divide(x, y))
}

function remainder(a: Value, b: Value): Value {
  const [x, y] = operands(a, b)
  if (!numbers.isExactInteger(x)) throw wrongKind(0, 'integer', 'floating-point number')
  if (!numbers.isExactInteger(y)) throw wrongKind(1, 'integer', 'floating-point number')
  if (y === 0) throw new BuiltinError('modulo by zero')
  return numbers.remainder(x, y)
}

export const OPERATIONS: Readonly<Record<BinaryOperator, Operation>> = {
  '==': (a, b) => equalValues(a, b),
  '!=': (a, b) => !equalValues(a, b),
  '<': (a, b) => compareValues(a, b) < 0,
  '<=': (a, b) => compareValues(a, b) <= 0,
  '>': (a, b) => compareValues(a, b) > 0,
  '>=': (a, b) => compareValues(a, b) >= 0,
  '|': (a, b, context) => unite(...sets(a, b), context),
  '&': (a, b, context) => intersect(...sets(a, b), context),
  '+': arithmetic(numbers.add, widest),
  '-': subtract,
  '*': arithmetic(numbers.multiply, sum),
  '/': divide,
  '%': remainder,
}

/** `v in c`: element of an array, value of an object, member of a set; nothing is in anything else. */
export function isMember(v: Value, collection: Value, context: Context): boolean {
  if (collection instanceof RegoSet) return collection.has(v)
  if (isArray(collection)) {
    for (let i = 0; i < collection.length; i++) {
      if (i > 0) context.tick()
      if (equalValues(collection[i] as Value, v)) return true
    }
    return false
  }
  if (collection instanceof RegoObject) {
    for (const value of collection.rawEntries().values()) {
      context.tick()
      if (equalValues(value, v)) return true
    }
  }
  return false
}

/** `k, v in c`: the pair of index or key and value. */
export function isEntry(key: Value, v: Value, collection: Value): boolean {
  if (collection instanceof RegoSet) return equalValues(key, v) && collection.has(v)
  if (isArray(collection)) {
    const item = typeof key === 'number' ? collection[key] : undefined
    return item !== undefined && equalValues(item, v)
  }
  if (!(collection instanceof RegoObject)) return false
  const value = collection.get(key)
  return value !== undefined && equalValues(value, v)
}

export { mapKey }
