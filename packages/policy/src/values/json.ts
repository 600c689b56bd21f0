/** JSON text and JavaScript data to and from values, with all digits kept (spec 05 §5, §10). */
import { PolicyEvaluationError, PolicyLimitError } from '../errors.ts'
import { EVALUATION_LIMITS } from '../limits.ts'
import { normalizeDouble, normalizeInteger, parseNumber } from './number.ts'
import {
  isArray,
  type MapKey,
  mapKey,
  type RegoNumber,
  RegoObject,
  RegoSet,
  tooDeep,
  type Value,
} from './value.ts'

export interface JsonLimits {
  readonly depth?: number
  /** Length of the text in UTF-16 units. */
  readonly bytes?: number
}

/** JSON-like data as `toJs` returns it: integers beyond 2^53 are `bigint`, objects have no prototype. */
export type JsonLike = null | boolean | number | bigint | string | JsonLike[] | { [name: string]: JsonLike }

const MAX_DEPTH = 640

/** Replaces surrogates that stand alone by U+FFFD, so that every string is a sequence of code points. */
export function wellFormed(text: string): string {
  return text.isWellFormed() ? text : text.toWellFormed()
}

/**
 * Reads one JSON text. Duplicate member names: the last wins. Integers keep all digits.
 * Throws `PolicyEvaluationError` (`bad_input`) on malformed text and `PolicyLimitError` on depth or size.
 */
export function parseJson(text: string, limits: JsonLimits = {}): Value {
  const bytes = limits.bytes ?? EVALUATION_LIMITS.jsonBytes
  if (text.length > bytes) throw new PolicyLimitError('size', `JSON text is longer than ${bytes} bytes`)
  return new JsonReader(text, limits.depth ?? EVALUATION_LIMITS.jsonDepth).read()
}

class JsonReader {
  readonly #text: string
  readonly #maxDepth: number
  #pos = 0

  constructor(text: string, maxDepth: number) {
    this.#text = text
    this.#maxDepth = maxDepth
  }

  read(): Value {
    const value = this.#value(0)
    this.#space()
    if (this.#pos < this.#text.length) throw this.#fault('text after the value')
    return value
  }

  #fault(what: string): PolicyEvaluationError {
    return new PolicyEvaluationError('bad_input', `JSON: ${what} at position ${this.#pos}`)
  }

  #space(): void {
    for (;;) {
      const c = this.#text.charCodeAt(this.#pos)
      if (c !== 32 && c !== 10 && c !== 13 && c !== 9) return
      this.#pos++
    }
  }

  #value(depth: number): Value {
    if (depth > this.#maxDepth) {
      throw new PolicyLimitError('depth', `JSON nests deeper than ${this.#maxDepth} levels`)
    }
    this.#space()
    switch (this.#text[this.#pos]) {
      case '{':
        return this.#object(depth)
      case '[':
        return this.#array(depth)
      case '"':
        return this.#string()
      case 't':
        return this.#word('true', true)
      case 'f':
        return this.#word('false', false)
      case 'n':
        return this.#word('null', null)
      default:
        return this.#number()
    }
  }

  #word<T>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#pos)) throw this.#fault('unexpected text')
    this.#pos += word.length
    return value
  }

  #number(): RegoNumber {
    const pattern = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y
    pattern.lastIndex = this.#pos
    const match = pattern.exec(this.#text)
    if (!match) throw this.#fault('unexpected text')
    this.#pos = pattern.lastIndex
    const n = parseNumber(match[0])
    if (n === undefined) throw this.#fault('number out of range before')
    return n
  }

  #string(): string {
    const start = ++this.#pos
    for (;;) {
      const c = this.#text.charCodeAt(this.#pos)
      if (c === 34) break
      if (c === 92) return this.#escapedString(start)
      if (Number.isNaN(c) || c < 32) throw this.#fault('unterminated string')
      this.#pos++
    }
    return wellFormed(this.#text.slice(start, this.#pos++))
  }

  #escapedString(start: number): string {
    for (;;) {
      const c = this.#text.charCodeAt(this.#pos)
      if (c === 34) break
      if (Number.isNaN(c) || c < 32) throw this.#fault('unterminated string')
      this.#pos += c === 92 ? 2 : 1
    }
    const raw = this.#text.slice(start - 1, ++this.#pos)
    try {
      return wellFormed(JSON.parse(raw) as string)
    } catch {
      throw this.#fault('bad escape in the string before')
    }
  }

  #array(depth: number): Value {
    const items: Value[] = []
    this.#pos++
    this.#space()
    if (this.#text[this.#pos] === ']') {
      this.#pos++
      return items
    }
    for (;;) {
      items.push(this.#value(depth + 1))
      this.#space()
      const c = this.#text[this.#pos++]
      if (c === ']') return items
      if (c !== ',') throw this.#fault('expected "," or "]"')
    }
  }

  #object(depth: number): Value {
    const entries = new Map<MapKey, Value>()
    this.#pos++
    this.#space()
    if (this.#text[this.#pos] === '}') {
      this.#pos++
      return new RegoObject(entries)
    }
    for (;;) {
      this.#space()
      if (this.#text[this.#pos] !== '"') throw this.#fault('expected a member name')
      const name = this.#string()
      this.#space()
      if (this.#text[this.#pos++] !== ':') throw this.#fault('expected ":"')
      entries.set(mapKey(name), this.#value(depth + 1))
      this.#space()
      const c = this.#text[this.#pos++]
      if (c === '}') return new RegoObject(entries)
      if (c !== ',') throw this.#fault('expected "," or "}"')
    }
  }
}

/** A decimal kept as text by another reader, such as `JsonDecimal` of the protocol package. */
interface DecimalText {
  readonly text: string
  toNumber(): number
}

function isDecimalText(x: object): x is DecimalText {
  return 'text' in x && typeof x.text === 'string' && 'toNumber' in x && typeof x.toNumber === 'function'
}

/**
 * A value from JSON-like JavaScript data: null, booleans, finite numbers, bigints, strings, arrays, plain or
 * null-prototype objects, `Map`s (keys of any kind), `Set`s, and decimals kept as text. Values pass through.
 * Members that are `undefined` are left out. Throws `PolicyEvaluationError` (`bad_input`) on anything else.
 */
export function fromJs(x: unknown): Value {
  return convert(x, 0)
}

function badInput(what: string): PolicyEvaluationError {
  return new PolicyEvaluationError('bad_input', `${what} is not JSON-like data`)
}

function convert(x: unknown, depth: number): Value {
  switch (typeof x) {
    case 'string':
      return wellFormed(x)
    case 'boolean':
      return x
    case 'number':
      return normalizeDouble(x) ?? fail('a number that is not finite')
    case 'bigint':
      return normalizeInteger(x)
    case 'object':
      break
    default:
      throw badInput(`a ${typeof x}`)
  }
  if (x === null) return null
  if (depth > MAX_DEPTH) throw tooDeep()
  if (Array.isArray(x)) return x.map((item) => convert(item, depth + 1))
  if (x instanceof RegoObject || x instanceof RegoSet) return x
  if (x instanceof Set) return RegoSet.of([...x].map((member) => convert(member, depth + 1)))
  return convertObject(x, depth)
}

function fail(what: string): never {
  throw badInput(what)
}

function convertObject(x: object, depth: number): Value {
  if (isDecimalText(x)) return parseNumber(x.text) ?? fail('a decimal out of range')
  const prototype: unknown = Object.getPrototypeOf(x)
  if (x instanceof Map) {
    const entries = new Map<MapKey, Value>()
    const originals = new Map<string, Value>()
    for (const [k, v] of x) {
      const key = convert(k, depth + 1)
      const at = mapKey(key)
      if (typeof key === 'object' && key !== null) originals.set(at as string, key)
      entries.set(at, convert(v, depth + 1))
    }
    return new RegoObject(entries, originals)
  }
  if (prototype !== Object.prototype && prototype !== null) throw badInput('an instance of a class')
  const entries = new Map<MapKey, Value>()
  for (const name of Object.keys(x)) {
    const member: unknown = (x as Record<string, unknown>)[name]
    if (member !== undefined) entries.set(mapKey(wellFormed(name)), convert(member, depth + 1))
  }
  return new RegoObject(entries)
}

/** The member name of a key in JSON: strings as they are, others as their compact JSON text. */
export function memberName(key: Value): string {
  return typeof key === 'string' ? key : toJsonText(key)
}

function coincidence(): PolicyEvaluationError {
  return new PolicyEvaluationError('conflict', 'two keys of an object have the same JSON text')
}

/** JSON-like data: sets become arrays in value order, objects have a null prototype. */
export function toJs(v: Value): JsonLike {
  return expand(v, 0)
}

function expand(v: Value, depth: number): JsonLike {
  if (typeof v !== 'object' || v === null) return v
  if (depth > MAX_DEPTH) throw tooDeep()
  if (isArray(v)) return v.map((item) => expand(item, depth + 1))
  if (v instanceof RegoSet) return v.members().map((item) => expand(item, depth + 1))
  const object = Object.create(null) as { [name: string]: JsonLike }
  for (const [key, member] of v.entries()) {
    const name = memberName(key)
    if (name in object) throw coincidence()
    object[name] = expand(member, depth + 1)
  }
  return object
}

/** Compact JSON text: integers with all digits, doubles in the shortest form that reads back. */
export function toJsonText(v: Value): string {
  return print(v, 0)
}

/** Equal numbers have equal texts, so integral doubles are written with all digits too. */
export function printNumber(n: number): string {
  return Number.isInteger(n) && !Number.isSafeInteger(n) ? String(BigInt(n)) : String(n)
}

function print(v: Value, depth: number): string {
  if (typeof v === 'string') return JSON.stringify(v)
  if (typeof v === 'number') return printNumber(v)
  if (typeof v !== 'object' || v === null) return String(v)
  if (depth > MAX_DEPTH) throw tooDeep()
  if (isArray(v)) return `[${v.map((item) => print(item, depth + 1)).join(',')}]`
  if (v instanceof RegoSet) {
    return `[${v
      .members()
      .map((item) => print(item, depth + 1))
      .join(',')}]`
  }
  const seen = new Set<string>()
  const members: string[] = []
  for (const [key, member] of v.entries()) {
    const name = typeof key === 'string' ? key : print(key, depth + 1)
    if (seen.has(name)) throw coincidence()
    seen.add(name)
    members.push(`${JSON.stringify(name)}:${print(member, depth + 1)}`)
  }
  return `{${members.join(',')}}`
}
