/** Kinds of values, and the casts of the v0 dialect. */
import { isArray, kindOf, RegoSet, type Value, type ValueKind } from '../values/value.ts'
import { type Builtin, wrongKind } from './builtin.ts'

/** As upstream and OPA, a value of another kind gives false and not undefined. */
function isKind(kind: ValueKind): Builtin {
  return { name: `is_${kind}`, arity: 1, tier: 1, call: ([v]) => kindOf(v as Value) === kind }
}

function cast(kind: ValueKind): Builtin {
  const call: Builtin['call'] = ([v]) => {
    if (kindOf(v as Value) !== kind) throw wrongKind(0, kind, v as Value)
    return v
  }
  return { name: `cast_${kind}`, arity: 1, tier: 2, v0Only: true, call }
}

const castArray: Builtin['call'] = ([v]) => {
  if (isArray(v)) return v
  if (v instanceof RegoSet) return v.members()
  throw wrongKind(0, 'array or set', v as Value)
}

const castSet: Builtin['call'] = ([v]) => {
  if (v instanceof RegoSet) return v
  if (isArray(v)) return RegoSet.of(v)
  throw wrongKind(0, 'array or set', v as Value)
}

function quantifier(name: 'all' | 'any'): Builtin {
  const call: Builtin['call'] = ([v], context) => {
    if (!isArray(v) && !(v instanceof RegoSet)) throw wrongKind(0, 'array or set', v as Value)
    const items = isArray(v) ? v : v.members()
    context.charge(items.length)
    return name === 'all' ? items.every((item) => item === true) : items.includes(true)
  }
  return { name, arity: 1, tier: 2, v0Only: true, call }
}

const setDifference: Builtin['call'] = ([a, b], context) => {
  if (!(a instanceof RegoSet)) throw wrongKind(0, 'set', a as Value)
  if (!(b instanceof RegoSet)) throw wrongKind(1, 'set', b as Value)
  context.growCollection(a.size)
  return RegoSet.of(a.members().filter((member) => !b.has(member)))
}

const KINDS: readonly ValueKind[] = ['array', 'boolean', 'null', 'number', 'object', 'set', 'string']

export const typeBuiltins: readonly Builtin[] = [
  ...KINDS.map(isKind),
  { name: 'type_name', arity: 1, tier: 1, call: ([v]) => kindOf(v as Value) },
  { name: 'cast_array', arity: 1, tier: 2, v0Only: true, call: castArray },
  { name: 'cast_set', arity: 1, tier: 2, v0Only: true, call: castSet },
  cast('boolean'),
  cast('null'),
  cast('object'),
  cast('string'),
  quantifier('all'),
  quantifier('any'),
  { name: 'set_diff', arity: 2, tier: 2, v0Only: true, call: setDifference },
]
