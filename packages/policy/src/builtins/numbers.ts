/** Numbers, bits, ranges. */
import type { Context } from '../evaluate/context.ts'
import { bitLength, isInteger, normalizeInteger, parseNumber } from '../values/number.ts'
import { isNumber, kindOf, type RegoNumber, type Value } from '../values/value.ts'
import { type Builtin, BuiltinError, integerAt, numberAt, stringAt, wrongKind } from './builtin.ts'

type Call = Builtin['call']

function rounding(round: (n: number) => number): Call {
  return (args) => {
    const n = numberAt(args, 0)
    if (isInteger(n)) return n
    const rounded = round(Number(n))
    return rounded === 0 ? 0 : rounded
  }
}

/** Half away from zero. */
function roundHalfAway(n: number): number {
  return n < 0 ? -Math.floor(-n + 0.5) : Math.floor(n + 0.5)
}

const abs: Call = (args) => {
  const n = numberAt(args, 0)
  return n < 0 ? -n : n
}

function range(args: readonly Value[], step: bigint, context: Context): Value {
  const from = integerAt(args, 0)
  const to = integerAt(args, 1)
  const distance = to >= from ? to - from : from - to
  context.growCollection(Number(distance / step) + 1)
  const items: RegoNumber[] = []
  const stride = to >= from ? step : -step
  for (let n = from; to >= from ? n <= to : n >= to; n += stride) items.push(normalizeInteger(n))
  return items
}

const rangeStep: Call = (args, context) => {
  integerAt(args, 0)
  integerAt(args, 1)
  const step = integerAt(args, 2)
  if (step <= 0n) throw new BuiltinError('step must be a positive integer', { argument: 3 })
  return range(args, step, context)
}

const randomInteger: Call = (args, context) => {
  const seed = stringAt(args, 0)
  // as upstream, a fraction is no bound, which is not an error
  if (!isInteger(numberAt(args, 1))) return undefined
  const n = integerAt(args, 1)
  const bound = n < 0n ? -n : n
  if (bound === 0n) return 0
  context.growInteger(bitLength(bound))
  return context.remember(`rand.intn ${bound} ${seed}`, () => {
    let random = 0n
    // 64 bits more than needed make the bias negligible
    for (const byte of context.randomBytes(Math.ceil(bitLength(bound) / 8) + 8))
      random = random * 256n + BigInt(byte)
    return normalizeInteger(random % bound)
  })
}

function bits(apply: (a: bigint, b: bigint) => bigint): Call {
  return (args, context) => {
    const a = integerAt(args, 0)
    const b = integerAt(args, 1)
    context.growInteger(Math.max(bitLength(a), bitLength(b)))
    return normalizeInteger(apply(a, b))
  }
}

function shiftAmount(args: readonly Value[]): bigint {
  const shift = integerAt(args, 1)
  if (shift < 0n) throw wrongKind(1, 'unsigned integer', 'negative integer')
  return shift
}

const shiftLeft: Call = (args, context) => {
  const n = integerAt(args, 0)
  const shift = shiftAmount(args)
  if (n === 0n) return 0
  context.growInteger(bitLength(n) + Number(shift))
  return normalizeInteger(n << shift)
}

const shiftRight: Call = (args) => {
  const n = integerAt(args, 0)
  const shift = shiftAmount(args)
  if (shift > 1n << 32n) return n < 0n ? -1 : 0
  return normalizeInteger(n >> shift)
}

const formatInteger: Call = (args, context) => {
  const n = numberAt(args, 0)
  const base = numberAt(args, 1)
  if (base !== 2 && base !== 8 && base !== 10 && base !== 16) {
    throw new BuiltinError('the base must be one of 2, 8, 10, 16', { argument: 2 })
  }
  const integer = typeof n === 'bigint' ? n : BigInt(Math.trunc(n))
  context.growString(bitLength(integer))
  return integer.toString(base)
}

/** What Go's number parser takes, without infinities, NaN and hexadecimal forms. */
const NUMERIC = /^([+-]?)([0-9]*)(?:(\.)([0-9]*))?(?:[eE]([+-]?[0-9]+))?$/

const toNumber: Call = (args) => {
  const [v] = args
  if (v === null) return 0
  if (typeof v === 'boolean') return v ? 1 : 0
  if (isNumber(v)) return v
  if (typeof v !== 'string') throw wrongKind(0, 'null, boolean, number or string', kindOf(v as Value))
  const n = parseNumeric(v)
  if (n === undefined) throw new BuiltinError('invalid syntax of a number', { argument: 1 })
  return n
}

/** Reads decimal text with an optional sign and leading zeros. */
export function parseNumeric(text: string): RegoNumber | undefined {
  const match = NUMERIC.exec(text)
  if (!match) return undefined
  const [, sign = '', whole = '', , fraction = '', exponent = ''] = match
  if (whole === '' && fraction === '') return undefined
  const digits = whole.replace(/^0+(?=.)/, '') || '0'
  const tail = `${fraction === '' ? '' : `.${fraction}`}${exponent === '' ? '' : `e${exponent}`}`
  return parseNumber(`${sign === '-' ? '-' : ''}${digits}${tail}`)
}

export const numberBuiltins: readonly Builtin[] = [
  { name: 'abs', arity: 1, tier: 1, call: abs },
  { name: 'ceil', arity: 1, tier: 1, call: rounding(Math.ceil) },
  { name: 'floor', arity: 1, tier: 1, call: rounding(Math.floor) },
  { name: 'round', arity: 1, tier: 1, call: rounding(roundHalfAway) },
  { name: 'numbers.range', arity: 2, tier: 1, call: (args, context) => range(args, 1n, context) },
  { name: 'numbers.range_step', arity: 3, tier: 1, call: rangeStep },
  { name: 'rand.intn', arity: 2, tier: 1, call: randomInteger },
  { name: 'bits.and', arity: 2, tier: 1, call: bits((a, b) => a & b) },
  { name: 'bits.or', arity: 2, tier: 1, call: bits((a, b) => a | b) },
  { name: 'bits.xor', arity: 2, tier: 1, call: bits((a, b) => a ^ b) },
  { name: 'bits.negate', arity: 1, tier: 1, call: (args) => normalizeInteger(~integerAt(args, 0)) },
  { name: 'bits.lsh', arity: 2, tier: 1, call: shiftLeft },
  { name: 'bits.rsh', arity: 2, tier: 1, call: shiftRight },
  { name: 'format_int', arity: 2, tier: 1, call: formatInteger },
  { name: 'to_number', arity: 1, tier: 1, call: toNumber },
]
