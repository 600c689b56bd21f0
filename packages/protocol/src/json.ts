/**
 * JSON as evidence needs it: exact integers, no duplicate member names, bounded depth.
 * `JSON.parse` gives neither exact 64-bit integers nor a refusal of duplicates (spec 03 §2.4).
 */

/**
 * A number token with a fraction or an exponent, kept as text so that `1.0` and `1` stay different. The integer token
 * `-0` is one too: it is no unsigned integer, and as the number 0 it would not be written back as it was read.
 */
export class JsonDecimal {
  readonly text: string
  constructor(text: string) {
    if (!decimalToken.test(text)) throw new TypeError('not a JSON number token')
    this.text = text
  }
  /** The nearest IEEE double. */
  toNumber(): number {
    return Number(this.text)
  }
}

const decimalToken = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/

/** Objects have a null prototype, so `__proto__` and the like are ordinary members. */
export interface JsonObject {
  [name: string]: JsonValue
}

/** Integers are `number` when safe and `bigint` beyond; other numbers are `JsonDecimal`. */
export type JsonValue = null | boolean | number | bigint | JsonDecimal | string | JsonValue[] | JsonObject

export interface JsonLimits {
  /** Arrays and objects inside each other; 32 unless told, never more than 512. */
  readonly maxDepth?: number
  /** Size of the text in UTF-8 bytes; unlimited unless told. */
  readonly maxBytes?: number
}

/** The text is not JSON, or not the strict JSON this house accepts. The message never repeats the text. */
export class JsonSyntaxError extends Error {
  override readonly name = 'JsonSyntaxError'
  /** What is wrong, without the position. */
  readonly reason: string
  /** Index of the UTF-16 unit where the parser stopped; 0 for faults of the whole text. */
  readonly offset: number
  constructor(reason: string, offset: number) {
    super(`${reason} at offset ${offset}`)
    this.reason = reason
    this.offset = offset
  }
}

const defaultDepth = 32
const deepest = 512
/** Longer number tokens are refused: making a `bigint` costs more than linear time. */
const longestNumber = 1024

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Parses strict JSON (RFC 8259 with the refusals of spec 03 §2.4.1): duplicate member names, lone surrogates (raw or
 * escaped), a byte order mark, invalid UTF-8, trailing content and nesting beyond the limit are refused.
 *
 * Members keep their order, except that JavaScript puts integer-like names first.
 * @throws JsonSyntaxError and nothing else.
 */
export function parseJson(text: string | Uint8Array, limits: JsonLimits = {}): JsonValue {
  const source = typeof text === 'string' ? checkedText(text, limits) : decodedText(text, limits)
  const depth = Math.min(limits.maxDepth ?? defaultDepth, deepest)
  return new Parser(source, depth).document()
}

/** True for a JSON object: neither null, array nor `JsonDecimal`. */
export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  return (
    typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof JsonDecimal)
  )
}

/** A JSON object with a null prototype and the members of `fields`, in order. */
export function jsonObject(fields: Readonly<Record<string, JsonValue>>): JsonObject {
  return Object.assign(Object.create(null) as JsonObject, fields)
}

function checkedText(text: string, { maxBytes }: JsonLimits): string {
  if (maxBytes !== undefined && text.length * 3 > maxBytes && Buffer.byteLength(text) > maxBytes) {
    throw new JsonSyntaxError('text too large', 0)
  }
  if (!text.isWellFormed()) throw new JsonSyntaxError('lone surrogate', 0)
  return text
}

function decodedText(bytes: Uint8Array, { maxBytes }: JsonLimits): string {
  if (maxBytes !== undefined && bytes.length > maxBytes) throw new JsonSyntaxError('text too large', 0)
  try {
    return utf8.decode(bytes)
  } catch {
    throw new JsonSyntaxError('not UTF-8', 0)
  }
}

const quote = 0x22
const backslash = 0x5c
const comma = 0x2c
const colon = 0x3a
const openBrace = 0x7b
const closeBrace = 0x7d
const openBracket = 0x5b
const closeBracket = 0x5d
const minus = 0x2d
const zero = 0x30
const nine = 0x39

const shortEscapes: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
}

/** Recursive descent over well-formed UTF-16; recursion is bounded by the depth limit. */
class Parser {
  readonly #text: string
  readonly #maxDepth: number
  #at = 0
  #depth = 0

  constructor(text: string, maxDepth: number) {
    this.#text = text
    this.#maxDepth = maxDepth
  }

  document(): JsonValue {
    this.#skipSpace()
    const value = this.#value()
    this.#skipSpace()
    if (this.#at < this.#text.length) throw this.#error('content after the value')
    return value
  }

  #value(): JsonValue {
    const code = this.#text.charCodeAt(this.#at)
    if (code === quote) return this.#string()
    if (code === openBrace) return this.#object()
    if (code === openBracket) return this.#array()
    if (code === minus || (code >= zero && code <= nine)) return this.#number()
    if (code === 0x74) return this.#literal('true', true)
    if (code === 0x66) return this.#literal('false', false)
    if (code === 0x6e) return this.#literal('null', null)
    throw this.#error(this.#at < this.#text.length ? 'value expected' : 'unexpected end')
  }

  #literal<T>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) throw this.#error('value expected')
    this.#at += word.length
    return value
  }

  #object(): JsonObject {
    this.#enter()
    const object = Object.create(null) as JsonObject
    if (!this.#closes(closeBrace)) {
      do {
        this.#skipSpace()
        if (this.#text.charCodeAt(this.#at) !== quote) throw this.#error('member name expected')
        const start = this.#at
        const name = this.#string()
        if (name in object) throw new JsonSyntaxError('duplicate member name', start)
        this.#skipSpace()
        if (this.#text.charCodeAt(this.#at) !== colon) throw this.#error('":" expected')
        this.#at++
        this.#skipSpace()
        object[name] = this.#value()
      } while (this.#continues(closeBrace))
    }
    this.#depth--
    return object
  }

  #array(): JsonValue[] {
    this.#enter()
    const array: JsonValue[] = []
    if (!this.#closes(closeBracket)) {
      do {
        this.#skipSpace()
        array.push(this.#value())
      } while (this.#continues(closeBracket))
    }
    this.#depth--
    return array
  }

  /** Steps past the opening bracket, one level deeper. */
  #enter(): void {
    if (this.#depth >= this.#maxDepth) throw this.#error('nested too deeply')
    this.#depth++
    this.#at++
  }

  /** After the opening bracket: steps past the closing one if the collection is empty. */
  #closes(bracket: number): boolean {
    this.#skipSpace()
    if (this.#text.charCodeAt(this.#at) !== bracket) return false
    this.#at++
    return true
  }

  /** After an element: steps past "," (true) or the closing bracket (false). */
  #continues(bracket: number): boolean {
    this.#skipSpace()
    const code = this.#text.charCodeAt(this.#at)
    if (code !== comma && code !== bracket) {
      throw this.#error(this.#at < this.#text.length ? '"," or closing bracket expected' : 'unexpected end')
    }
    this.#at++
    return code === comma
  }

  #skipSpace(): void {
    const text = this.#text
    let at = this.#at
    for (;;) {
      const code = text.charCodeAt(at)
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) break
      at++
    }
    this.#at = at
  }

  /** Steps past a string that starts at its opening quote. */
  #string(): string {
    const text = this.#text
    let start = ++this.#at
    let read = ''
    let surrogateEscaped = false
    for (let at = start; ; at++) {
      const code = text.charCodeAt(at)
      if (code === quote) {
        this.#at = at + 1
        const string = read === '' ? text.slice(start, at) : read + text.slice(start, at)
        if (surrogateEscaped && !string.isWellFormed()) throw new JsonSyntaxError('lone surrogate', at)
        return string
      }
      if (code === backslash) {
        read += text.slice(start, at)
        this.#at = at + 1
        const unit = this.#escape()
        surrogateEscaped ||= unit >= '\ud800' && unit <= '\udfff'
        read += unit
        start = this.#at
        at = start - 1
      } else if (code < 0x20 || Number.isNaN(code)) {
        this.#at = at
        throw this.#error(at < text.length ? 'control character in a string' : 'unexpected end')
      }
    }
  }

  /** Steps past an escape that starts after its backslash. Returns one UTF-16 unit. */
  #escape(): string {
    const letter = this.#text.charAt(this.#at)
    if (letter === 'u') {
      const digits = this.#text.slice(this.#at + 1, this.#at + 5)
      if (!/^[0-9a-fA-F]{4}$/.test(digits)) throw this.#error('four hexadecimal digits expected')
      this.#at += 5
      return String.fromCharCode(Number.parseInt(digits, 16))
    }
    const unit = Object.hasOwn(shortEscapes, letter) ? shortEscapes[letter] : undefined
    if (unit === undefined) throw this.#error('unknown escape')
    this.#at++
    return unit
  }

  #number(): number | bigint | JsonDecimal {
    return this.#shortInteger() ?? this.#anyNumber()
  }

  /** The usual case, without making a string: up to 15 digits. Else undefined, and no step is made. */
  #shortInteger(): number | undefined {
    const text = this.#text
    const start = this.#at
    let at = start
    let value = 0
    let code = text.charCodeAt(at)
    while (code >= zero && code <= nine) {
      value = value * 10 + (code - zero)
      code = text.charCodeAt(++at)
    }
    const digits = at - start
    const isPlain = code !== 0x2e && code !== 0x65 && code !== 0x45
    if (digits === 0 || digits > 15 || !isPlain) return undefined
    if (digits > 1 && text.charCodeAt(start) === zero) return undefined
    this.#at = at
    return value
  }

  #anyNumber(): number | bigint | JsonDecimal {
    const text = this.#text
    const start = this.#at
    if (text.charCodeAt(this.#at) === minus) this.#at++
    if (text.charCodeAt(this.#at) === zero) this.#at++
    else this.#digits()
    let isInteger = true
    if (text.charCodeAt(this.#at) === 0x2e) {
      isInteger = false
      this.#at++
      this.#digits()
    }
    const exponent = text.charCodeAt(this.#at)
    if (exponent === 0x65 || exponent === 0x45) {
      isInteger = false
      this.#at++
      const sign = text.charCodeAt(this.#at)
      if (sign === minus || sign === 0x2b) this.#at++
      this.#digits()
    }
    if (this.#at - start > longestNumber) throw new JsonSyntaxError('number too long', start)
    const token = text.slice(start, this.#at)
    if (!isInteger || token === '-0') return new JsonDecimal(token)
    const number = Number(token)
    return Number.isSafeInteger(number) ? number : BigInt(token)
  }

  /** Steps past one or more decimal digits. */
  #digits(): void {
    const start = this.#at
    for (;;) {
      const code = this.#text.charCodeAt(this.#at)
      if (!(code >= zero && code <= nine)) break
      this.#at++
    }
    if (this.#at === start) throw this.#error('digit expected')
  }

  #error(reason: string): JsonSyntaxError {
    return new JsonSyntaxError(reason, this.#at)
  }
}

/**
 * Writes compact JSON; `bigint` and `JsonDecimal` keep all their digits. The inverse of `parseJson`.
 * @throws TypeError for what JSON cannot hold (NaN, undefined, functions), RangeError for nesting beyond 512.
 */
export function stringifyJson(value: JsonValue): string {
  return written(value, 0)
}

function written(value: JsonValue, depth: number): string {
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'number') return writtenNumber(value)
  if (value === null || typeof value === 'boolean' || typeof value === 'bigint') return String(value)
  if (typeof value !== 'object') throw new TypeError(`JSON has no ${typeof value}`)
  if (value instanceof JsonDecimal) return value.text
  if (depth >= deepest) throw new RangeError('JSON nested too deeply')
  let text = ''
  if (Array.isArray(value)) {
    for (const element of value) text += `${text === '' ? '' : ','}${written(element, depth + 1)}`
    return `[${text}]`
  }
  for (const [name, member] of Object.entries(value)) {
    text += `${text === '' ? '' : ','}${JSON.stringify(name)}:${written(member, depth + 1)}`
  }
  return `{${text}}`
}

function writtenNumber(value: number): string {
  if (!Number.isFinite(value)) throw new TypeError('not a JSON number')
  // for finite numbers the same text as JSON.stringify, minus zero included
  return String(value)
}
