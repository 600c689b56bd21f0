import { JsonDecimal, type JsonValue } from './json.ts'

const deepest = 512

/**
 * The canonical text of a JSON value: RFC 8785 (JCS). Guest and server hash its UTF-8 bytes (spec 01 §2.6).
 *
 * Integers that ECMAScript's number form would round are refused: two different values would have one digest.
 * @throws TypeError for lone surrogates and for numbers without a canonical form, RangeError for nesting beyond 512.
 */
export function canonicalJson(value: JsonValue): string {
  return canonical(value, 0)
}

function canonical(value: JsonValue, depth: number): string {
  if (typeof value === 'string') return canonicalString(value)
  if (typeof value === 'number') return canonicalNumber(value)
  if (typeof value === 'bigint') return canonicalInteger(value)
  if (value === null || typeof value === 'boolean') return String(value)
  if (typeof value !== 'object') throw new TypeError(`JSON has no ${typeof value}`)
  if (value instanceof JsonDecimal) return canonicalNumber(value.toNumber())
  if (depth >= deepest) throw new RangeError('JSON nested too deeply')
  if (Array.isArray(value)) return `[${value.map((element) => canonical(element, depth + 1)).join(',')}]`
  const members = Object.entries(value)
    // the default order of strings in JavaScript is that of UTF-16 code units, which RFC 8785 §3.2.3 demands
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, member]) => `${canonicalString(name)}:${canonical(member, depth + 1)}`)
  return `{${members.join(',')}}`
}

function canonicalString(text: string): string {
  if (!text.isWellFormed()) throw new TypeError('lone surrogate')
  return JSON.stringify(text)
}

function canonicalNumber(number: number): string {
  if (!Number.isFinite(number)) throw new TypeError('number beyond the range of a double')
  return String(number)
}

function canonicalInteger(integer: bigint): string {
  const text = String(Number(integer))
  if (text !== String(integer)) throw new TypeError('integer that ECMAScript would write with other digits')
  return text
}
