/** What a builtin is, how it refuses arguments, and how it reads them. */

import type { BuiltinFault } from '../errors.ts'
import type { Context } from '../evaluate/context.ts'
import { isInteger } from '../values/number.ts'
import {
  isArray,
  isNumber,
  kindOf,
  type RegoArray,
  type RegoNumber,
  RegoObject,
  RegoSet,
  type Value,
} from '../values/value.ts'

/** A pure function over values. Undefined means that the call has no value, which is not an error. */
export interface Builtin {
  readonly name: string
  readonly arity: number
  /** 0 and 1: offered by upstream's engine build; 2 and 3: further ones; 4: known by name, never callable. */
  readonly tier: 0 | 1 | 2 | 3 | 4
  /** Only in the v0 dialect. */
  readonly v0Only?: boolean
  readonly call: (args: readonly Value[], context: Context) => Value | undefined
}

/** A builtin cannot work with its arguments. The text names kinds, never values. */
export class BuiltinError extends Error {
  readonly details: Omit<BuiltinFault, 'name'>

  constructor(message: string, details: Omit<BuiltinFault, 'name'> = {}) {
    super(message)
    this.details = details
  }
}

/** Refuses argument `index` (from 0). */
export function wrongKind(index: number, expected: string, actual: Value | string): BuiltinError {
  const found = typeof actual === 'string' ? actual : kindOf(actual)
  return new BuiltinError(`argument ${index + 1} must be ${expected} but is ${found}`, {
    argument: index + 1,
    expected,
    actual: found,
  })
}

export function stringAt(args: readonly Value[], index: number): string {
  const v = args[index] as Value
  if (typeof v !== 'string') throw wrongKind(index, 'string', kindOf(v))
  return v
}

export function numberAt(args: readonly Value[], index: number): RegoNumber {
  const v = args[index] as Value
  if (!isNumber(v)) throw wrongKind(index, 'number', kindOf(v))
  return v
}

/** An integer of any size. */
export function integerAt(args: readonly Value[], index: number): bigint {
  const n = numberAt(args, index)
  if (!isInteger(n)) throw wrongKind(index, 'integer', 'floating-point number')
  return BigInt(n)
}

/** An integer that fits a `number`, clamped where it does not. */
export function indexAt(args: readonly Value[], index: number): number {
  const n = numberAt(args, index)
  if (!isInteger(n)) throw wrongKind(index, 'integer', 'floating-point number')
  return Number(n)
}

export function booleanAt(args: readonly Value[], index: number): boolean {
  const v = args[index] as Value
  if (typeof v !== 'boolean') throw wrongKind(index, 'boolean', kindOf(v))
  return v
}

export function arrayAt(args: readonly Value[], index: number): RegoArray {
  const v = args[index] as Value
  if (!isArray(v)) throw wrongKind(index, 'array', kindOf(v))
  return v
}

export function objectAt(args: readonly Value[], index: number): RegoObject {
  const v = args[index] as Value
  if (!(v instanceof RegoObject)) throw wrongKind(index, 'object', kindOf(v))
  return v
}

export function setAt(args: readonly Value[], index: number): RegoSet {
  const v = args[index] as Value
  if (!(v instanceof RegoSet)) throw wrongKind(index, 'set', kindOf(v))
  return v
}

/** Members of an array or a set. */
export function listAt(args: readonly Value[], index: number): readonly Value[] {
  const v = args[index] as Value
  if (isArray(v)) return v
  if (v instanceof RegoSet) return v.members()
  throw wrongKind(index, 'array or set', kindOf(v))
}

/** Strings of an array or a set. */
export function stringListAt(args: readonly Value[], index: number): readonly string[] {
  const list = listAt(args, index)
  for (const item of list) {
    if (typeof item !== 'string')
      throw wrongKind(index, 'collection of strings', `collection with ${kindOf(item)}`)
  }
  return list as readonly string[]
}
