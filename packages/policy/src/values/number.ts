/** Exact integers of any size and IEEE doubles, with one representation for each number (spec 05 §5). */
import type { RegoNumber } from './value.ts'

/** Decimal digits that 65 536 bits can need; longer literals are not read as exact integers. */
const MAX_DIGITS = 19_729

const NUMBER = /^(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?$/

/** The one representation of an integer: `number` when safe, else `bigint`. */
export function normalizeInteger(n: bigint): RegoNumber {
  return n >= -9007199254740991n && n <= 9007199254740991n ? Number(n) : n
}

/**
 * Reads a JSON number. Integral values stay exact, also those written with a fraction or an exponent.
 * Returns undefined when the text is no number or the number is out of range.
 */
export function parseNumber(text: string): RegoNumber | undefined {
  const match = NUMBER.exec(text)
  if (!match) return undefined
  const [, sign = '', whole = '', fraction = '', exponent = ''] = match
  if (fraction === '' && exponent === '') {
    if (whole.length > MAX_DIGITS) return undefined
    if (whole.length < 16) return sign ? 0 - Number(whole) : Number(whole)
    return normalizeInteger(BigInt(text))
  }
  return parseIntegral(sign, whole + fraction, Number(exponent) - fraction.length) ?? parseDouble(text)
}

/** `digits` x 10^`scale` when that is an integer of bearable size. */
function parseIntegral(sign: string, digits: string, scale: number): RegoNumber | undefined {
  const trimmed = digits.replace(/0+$/, '')
  const power = scale + digits.length - trimmed.length
  const significant = trimmed.replace(/^0+/, '')
  if (significant === '') return 0
  if (power < 0 || significant.length + power > MAX_DIGITS) return undefined
  const magnitude = BigInt(significant + '0'.repeat(power))
  const n = sign ? -magnitude : magnitude
  // beyond 2^53 such a literal is a double when that is the same number, else an exact integer
  const double = Number(n)
  return Number.isFinite(double) && BigInt(double) === n ? double : n
}

function parseDouble(text: string): number | undefined {
  const n = Number(text)
  if (!Number.isFinite(n)) return undefined
  return n === 0 ? 0 : n
}

/** Any integral value; of doubles beyond 2^53 too. */
export function isInteger(n: RegoNumber): boolean {
  return typeof n === 'bigint' || Number.isInteger(n)
}

/** An integer that is not a double beyond 2^53, of which the last digits mean nothing. */
export function isExactInteger(n: RegoNumber): boolean {
  return typeof n === 'bigint' || Number.isSafeInteger(n)
}

/** The integer as a bigint; only for numbers of which `isInteger` holds. */
export function toBigInt(n: RegoNumber): bigint {
  return BigInt(n)
}

/** A double in the one representation, or undefined for NaN and infinities. */
export function normalizeDouble(n: number): RegoNumber | undefined {
  if (!Number.isFinite(n)) return undefined
  return n === 0 ? 0 : n
}

export function add(a: RegoNumber, b: RegoNumber): RegoNumber | undefined {
  if (typeof a === 'number' && typeof b === 'number') {
    const sum = a + b
    if (Number.isSafeInteger(sum)) return sum === 0 ? 0 : sum
  }
  if (isInteger(a) && isInteger(b)) return normalizeInteger(BigInt(a) + BigInt(b))
  return normalizeDouble(Number(a) + Number(b))
}

export function subtract(a: RegoNumber, b: RegoNumber): RegoNumber | undefined {
  if (typeof a === 'number' && typeof b === 'number') {
    const difference = a - b
    if (Number.isSafeInteger(difference)) return difference === 0 ? 0 : difference
  }
  if (isInteger(a) && isInteger(b)) return normalizeInteger(BigInt(a) - BigInt(b))
  return normalizeDouble(Number(a) - Number(b))
}

export function multiply(a: RegoNumber, b: RegoNumber): RegoNumber | undefined {
  if (typeof a === 'number' && typeof b === 'number') {
    const product = a * b
    if (Number.isSafeInteger(product)) return product === 0 ? 0 : product
  }
  if (isInteger(a) && isInteger(b)) return normalizeInteger(BigInt(a) * BigInt(b))
  return normalizeDouble(Number(a) * Number(b))
}

/** Exact when the division is; `b` is not zero. */
export function divide(a: RegoNumber, b: RegoNumber): RegoNumber | undefined {
  if (isInteger(a) && isInteger(b) && (typeof a === 'bigint' || typeof b === 'bigint')) {
    const x = BigInt(a)
    const y = BigInt(b)
    if (x % y === 0n) return normalizeInteger(x / y)
  }
  return normalizeDouble(Number(a) / Number(b))
}

/** Remainder with the sign of the dividend; both are integers and `b` is not zero. */
export function remainder(a: RegoNumber, b: RegoNumber): RegoNumber {
  if (typeof a === 'number' && typeof b === 'number' && Number.isSafeInteger(a) && Number.isSafeInteger(b)) {
    const rest = a % b
    return rest === 0 ? 0 : rest
  }
  return normalizeInteger(BigInt(a) % BigInt(b))
}

/** Bits of an integer's magnitude, rounded up to a multiple of 4. */
export function bitLength(n: RegoNumber): number {
  if (typeof n === 'number') return 54
  return (n < 0n ? -n : n).toString(16).length * 4
}
