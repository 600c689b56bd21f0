/** Amounts with decimal and binary suffixes. */
import { normalizeInteger, parseNumber } from '../values/number.ts'
import type { RegoNumber, Value } from '../values/value.ts'
import { type Builtin, BuiltinError, stringAt } from './builtin.ts'

/** Powers of ten of decimal suffixes; `m` is milli, `M` mega, the rest in either case. */
const DECIMAL: Readonly<Record<string, number>> = {
  '': 0,
  Q: 30,
  R: 27,
  Y: 24,
  Z: 21,
  E: 18,
  e: 18,
  P: 15,
  p: 15,
  T: 12,
  t: 12,
  G: 9,
  g: 9,
  M: 6,
  K: 3,
  k: 3,
  h: 2,
  da: 1,
  d: -1,
  c: -2,
  m: -3,
  μ: -6,
  µ: -6,
  n: -9,
  f: -15,
  a: -18,
  z: -21,
  y: -24,
  r: -27,
  q: -30,
}
const POWERS = 'kmgtpezyrq'

/** `amount` x 10^`tens` x 2^`twos`, exact when it is an integer. */
function scale(amount: string, tens: number, twos: number): RegoNumber | undefined {
  const match = /^([+-]?)([0-9]*)\.?([0-9]*)(?:[eE]([+-]?[0-9]+))?$/.exec(amount)
  if (!match) return undefined
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = match
  if (whole === '' && fraction === '') return undefined
  const power = Number(exponent) + tens
  const digits = `${whole}${fraction}`.replace(/^0+(?=.)/, '')
  if (twos === 0) return parseNumber(`${sign === '-' ? '-' : ''}${digits}e${power - fraction.length}`)
  const exact = power - fraction.length
  if (Math.abs(exact) > 400 || digits.length > 400) return undefined
  const n = BigInt(digits) * (1n << BigInt(twos)) * (sign === '-' ? -1n : 1n)
  if (exact >= 0) return normalizeInteger(n * 10n ** BigInt(exact))
  const divisor = 10n ** BigInt(-exact)
  return n % divisor === 0n ? normalizeInteger(n / divisor) : Number(n) / Number(divisor)
}

interface Amount {
  readonly number: string
  readonly suffix: string
}

function readAmount(args: readonly Value[]): Amount {
  const text = stringAt(args, 0).replaceAll('"', '')
  if (/ /.test(text)) throw new BuiltinError('spaces not allowed in resource strings', { argument: 1 })
  const match = /^([+-]?[0-9.]*(?:(?<=[0-9.])[eE][+-]?[0-9]+)?)(.*)$/s.exec(text)
  const number = match?.[1] ?? ''
  if (!/[0-9.]/.test(number)) throw new BuiltinError('no amount provided', { argument: 1 })
  return { number, suffix: match?.[2] ?? '' }
}

function amountOf(number: string, tens: number, twos: number): RegoNumber {
  const n = scale(number, tens, twos)
  if (n === undefined) throw new BuiltinError('could not parse amount to a number', { argument: 1 })
  return n
}

/** An unknown suffix gives no value. */
const parse: Builtin['call'] = (args) => {
  const { number, suffix } = readAmount(args)
  const binary = /^(.)i$/i.exec(suffix)
  const power = binary ? POWERS.indexOf((binary[1] as string).toLowerCase()) : -1
  if (power >= 0) return amountOf(number, 0, 10 * (power + 1))
  const tens = Object.hasOwn(DECIMAL, suffix) ? DECIMAL[suffix] : undefined
  if (tens === undefined) {
    amountOf(number, 0, 0)
    return undefined
  }
  return amountOf(number, tens, 0)
}

/** Bytes: suffixes in any case, with or without `b`; fractions of bytes are cut off. */
const parseBytes: Builtin['call'] = (args) => {
  const { number, suffix } = readAmount(args)
  const match = /^(?:([kmgtpezyrq])(i?))?b?$/.exec(suffix.toLowerCase())
  if (!match) {
    amountOf(number, 0, 0)
    return undefined
  }
  const power = match[1] ? POWERS.indexOf(match[1]) + 1 : 0
  const n = match[2] ? amountOf(number, 0, 10 * power) : amountOf(number, 3 * power, 0)
  return typeof n === 'number' ? Math.trunc(n) : n
}

export const unitBuiltins: readonly Builtin[] = [
  { name: 'units.parse', arity: 1, tier: 1, call: parse },
  { name: 'units.parse_bytes', arity: 1, tier: 1, call: parseBytes },
]
