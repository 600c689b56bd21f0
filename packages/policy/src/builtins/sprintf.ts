/** `sprintf` with Go's rules for verbs, flags, width and precision. */
import type { Context } from '../evaluate/context.ts'
import { isExactInteger } from '../values/number.ts'
import { regoNotation } from '../values/print.ts'
import { isNumber, type Value } from '../values/value.ts'
import { BuiltinError } from './builtin.ts'
import { chargeText } from './encoding.ts'

interface Spec {
  minus: boolean
  plus: boolean
  sharp: boolean
  space: boolean
  zero: boolean
  width: number | undefined
  precision: number | undefined
  readonly verb: string
}

/** Go sees an integer, a double, or a string; everything else comes in Rego notation. */
type Argument =
  | { readonly type: 'int'; readonly value: bigint }
  | { readonly type: 'float64'; readonly value: number }
  | { readonly type: 'string'; readonly value: string }

function argumentOf(v: Value, context: Context): Argument {
  if (isNumber(v)) {
    if (isExactInteger(v)) return { type: 'int', value: BigInt(v) }
    return { type: 'float64', value: Number(v) }
  }
  if (typeof v === 'string') return { type: 'string', value: v }
  chargeText(v, context)
  return { type: 'string', value: regoNotation(v) }
}

const MAX_WIDTH = 1_000_000

export function sprintf(format: string, values: readonly Value[], context: Context): string {
  return new Formatter(format, values, context).run()
}

class Formatter {
  readonly #format: string
  readonly #values: readonly Value[]
  readonly #context: Context
  #pos = 0
  #next = 0
  #reordered = false
  #text = ''

  constructor(format: string, values: readonly Value[], context: Context) {
    this.#format = format
    this.#values = values
    this.#context = context
  }

  run(): string {
    while (this.#pos < this.#format.length) {
      const percent = this.#format.indexOf('%', this.#pos)
      if (percent < 0) break
      this.#append(this.#format.slice(this.#pos, percent))
      this.#pos = percent + 1
      this.#directive()
    }
    this.#append(this.#format.slice(this.#pos))
    if (!this.#reordered && this.#next < this.#values.length) this.#append(this.#extra())
    return this.#text
  }

  #append(text: string): void {
    this.#context.charge(1)
    this.#context.growString(text.length)
    this.#text += text
    if (this.#text.length > this.#context.limits.stringLength) this.#context.growString(this.#text.length)
  }

  /** Values that no verb used. */
  #extra(): string {
    const rest = this.#values.slice(this.#next).map((v) => {
      const arg = argumentOf(v, this.#context)
      return `${arg.type}=${plain(arg)}`
    })
    return `%!(EXTRA ${rest.join(', ')})`
  }

  #directive(): void {
    const flags = this.#flags()
    this.#explicitIndex()
    flags.width = this.#star() ?? this.#digits()
    if (flags.width !== undefined && flags.width < 0) {
      flags.minus = true
      flags.width = -flags.width
    }
    if (this.#format[this.#pos] === '.') {
      this.#pos++
      this.#explicitIndex()
      flags.precision = this.#star() ?? this.#digits() ?? 0
    }
    this.#explicitIndex()
    const code = this.#format.codePointAt(this.#pos)
    if (code === undefined) {
      this.#append('%!(NOVERB)')
      return
    }
    const verb = String.fromCodePoint(code)
    this.#pos += verb.length
    if (verb === '%') {
      this.#append('%')
      return
    }
    const value = this.#values[this.#next++]
    if (value === undefined) {
      throw new BuiltinError(`no argument for the verb %${verb}`, { argument: 2 })
    }
    this.#append(formatOne({ ...flags, verb }, argumentOf(value, this.#context), this.#context))
  }

  #flags(): Omit<Spec, 'verb'> {
    const flags = {
      minus: false,
      plus: false,
      sharp: false,
      space: false,
      zero: false,
      width: undefined as number | undefined,
      precision: undefined as number | undefined,
    }
    for (; ; this.#pos++) {
      const c = this.#format[this.#pos]
      if (c === '-') flags.minus = true
      else if (c === '+') flags.plus = true
      else if (c === '#') flags.sharp = true
      else if (c === ' ') flags.space = true
      else if (c === '0') flags.zero = true
      else return flags
    }
  }

  #digits(): number | undefined {
    const match = /^[0-9]+/.exec(this.#format.slice(this.#pos, this.#pos + 8))
    if (!match) return undefined
    this.#pos += match[0].length
    const n = Number(match[0])
    if (n > MAX_WIDTH) throw new BuiltinError('the width or precision is too large', { argument: 1 })
    return n
  }

  #star(): number | undefined {
    if (this.#format[this.#pos] !== '*') return undefined
    this.#pos++
    const n = this.#values[this.#next++]
    if (typeof n !== 'number' || !Number.isInteger(n) || Math.abs(n) > MAX_WIDTH) {
      throw new BuiltinError('a width or precision from the arguments must be a small integer', {
        argument: 2,
      })
    }
    return n
  }

  /** `[n]` chooses the next argument. */
  #explicitIndex(): void {
    const match = /^\[([0-9]{1,7})\]/.exec(this.#format.slice(this.#pos, this.#pos + 9))
    if (!match) return
    this.#pos += match[0].length
    this.#next = Number(match[1]) - 1
    this.#reordered = true
  }
}

function plain(arg: Argument): string {
  return arg.type === 'float64' ? formatFloat(arg.value, 'v', undefined, false) : String(arg.value)
}

function badVerb(verb: string, arg: Argument): string {
  return `%!${verb}(${arg.type}=${plain(arg)})`
}

function formatOne(spec: Spec, arg: Argument, context: Context): string {
  if (spec.verb === 'T') return pad(spec, arg.type, false)
  if (arg.type === 'int') return formatInt(spec, arg.value, arg)
  if (arg.type === 'float64') return formatDouble(spec, arg.value, arg)
  context.charge(arg.value.length / 64)
  return formatString(spec, arg.value, arg)
}

function pad(spec: Spec, text: string, zeros: boolean): string {
  const missing = (spec.width ?? 0) - [...text].length
  if (missing <= 0) return text
  if (spec.minus) return text + ' '.repeat(missing)
  if (!zeros || !spec.zero) return ' '.repeat(missing) + text
  const sign = /^[+\- ]/.exec(text)?.[0] ?? ''
  return sign + '0'.repeat(missing) + text.slice(sign.length)
}

const RADIX: Readonly<Record<string, number>> = { d: 10, v: 10, b: 2, o: 8, O: 8, x: 16, X: 16 }
const PREFIX: Readonly<Record<string, string>> = { b: '0b', o: '0', x: '0x', X: '0X' }

function formatInt(spec: Spec, n: bigint, arg: Argument): string {
  const { verb } = spec
  if (verb === 'c') return pad(spec, isCodePoint(n) ? String.fromCodePoint(Number(n)) : '\uFFFD', false)
  if (verb === 'q')
    return pad(spec, quoted(isCodePoint(n) ? String.fromCodePoint(Number(n)) : '\uFFFD', "'"), false)
  if (verb === 'U')
    return pad(
      spec,
      `U+${n
        .toString(16)
        .toUpperCase()
        .padStart(spec.precision ?? 4, '0')}`,
      false,
    )
  const radix = RADIX[verb]
  if (radix === undefined) return badVerb(verb, arg)
  let digits = (n < 0n ? -n : n).toString(radix)
  if (verb === 'X') digits = digits.toUpperCase()
  if (spec.precision !== undefined)
    digits = n === 0n && spec.precision === 0 ? '' : digits.padStart(spec.precision, '0')
  if (verb === 'O') digits = `0o${digits}`
  else if (spec.sharp) digits = (PREFIX[verb] ?? '') + digits
  const sign = n < 0n ? '-' : spec.plus ? '+' : spec.space ? ' ' : ''
  // a precision says how many zeros there are, so the flag does not count
  return pad(spec, sign + digits, spec.precision === undefined)
}

function isCodePoint(n: bigint): boolean {
  return n >= 0n && n <= 0x10ffffn && !(n >= 0xd800n && n <= 0xdfffn)
}

function formatDouble(spec: Spec, n: number, arg: Argument): string {
  const { verb } = spec
  if (!/[vbeEfFgG]/.test(verb) || verb === 'b') return badVerb(verb, arg)
  const magnitude = formatFloat(Math.abs(n), verb, spec.precision, spec.sharp)
  const sign = n < 0 ? '-' : spec.plus ? '+' : spec.space ? ' ' : ''
  return pad(spec, sign + magnitude, true)
}

/** `%v` is `%g` with the fewest digits that read back. */
function formatFloat(n: number, verb: string, precision: number | undefined, sharp: boolean): string {
  if (n < 0) return `-${formatFloat(-n, verb, precision, sharp)}`
  switch (verb) {
    case 'f':
    case 'F':
      return toFixed(n, precision ?? 6)
    case 'e':
    case 'E': {
      const text = exponent(toExponential(n, Math.min(precision ?? 6, MAX_PRECISION)))
      return verb === 'E' ? text.toUpperCase() : text
    }
    default: {
      const text = general(n, precision)
      return verb === 'G' ? text.toUpperCase() : text
    }
  }
}

/** A double is `mantissa` x 2^`exponent`, exactly. */
function partsOf(n: number): { mantissa: bigint; exponent: number } {
  const view = new DataView(new ArrayBuffer(8))
  view.setFloat64(0, n)
  const bits = view.getBigUint64(0)
  const biased = Number((bits >> 52n) & 0x7ffn)
  const fraction = bits & 0xfffffffffffffn
  return biased === 0
    ? { mantissa: fraction, exponent: -1074 }
    : { mantissa: fraction | (1n << 52n), exponent: biased - 1075 }
}

/** `n` x 10^`power` to the nearest integer, ties to even, as Go rounds and JavaScript does not. */
function scaled(n: number, power: number): bigint {
  const { mantissa, exponent } = partsOf(n)
  let numerator = mantissa
  let denominator = 1n
  if (exponent >= 0) numerator <<= BigInt(exponent)
  else denominator <<= BigInt(-exponent)
  if (power >= 0) numerator *= 10n ** BigInt(power)
  else denominator *= 10n ** BigInt(-power)
  const quotient = numerator / denominator
  const twice = 2n * (numerator % denominator)
  const isUp = twice > denominator || (twice === denominator && quotient % 2n === 1n)
  return isUp ? quotient + 1n : quotient
}

/** Digits beyond this are zeros of no meaning, since a double has no more. */
const MAX_PRECISION = 1_074

function toFixed(n: number, precision: number): string {
  if (precision > MAX_PRECISION) return toFixed(n, MAX_PRECISION) + '0'.repeat(precision - MAX_PRECISION)
  const digits = scaled(n, precision)
    .toString()
    .padStart(precision + 1, '0')
  const point = digits.length - precision
  return precision === 0 ? digits : `${digits.slice(0, point)}.${digits.slice(point)}`
}

function toExponential(n: number, precision: number): string {
  if (n === 0) return `0${precision > 0 ? `.${'0'.repeat(precision)}` : ''}e+0`
  let power = Number(n.toExponential().split('e')[1])
  let digits = scaled(n, precision - power).toString()
  if (digits.length > precision + 1) digits = scaled(n, precision - ++power).toString()
  const fraction = precision > 0 ? `.${digits.slice(1)}` : ''
  return `${digits[0]}${fraction}e${power < 0 ? '-' : '+'}${Math.abs(power)}`
}

/** Go writes at least two digits of an exponent. */
function exponent(text: string): string {
  return text.replace(/e([+-])([0-9])$/, 'e$10$2')
}

/** Scientific notation for exponents below -4 and from the precision on, which counts as 6 when there is none. */
function general(n: number, precision: number | undefined): string {
  if (n === 0) return '0'
  const digits = precision === undefined ? undefined : Math.max(precision, 1)
  const scientific =
    digits === undefined ? n.toExponential() : toExponential(n, Math.min(digits, MAX_PRECISION) - 1)
  const [mantissa = '', power = '0'] = scientific.split('e')
  const exp = Number(power)
  const limit = digits ?? 6
  if (exp < -4 || exp >= limit) {
    const short = digits === undefined ? mantissa : mantissa.replace(/\.?0+$/, '')
    return exponent(`${short}e${exp < 0 ? '-' : '+'}${Math.abs(exp)}`)
  }
  const text = plainDigits(mantissa.replace('.', ''), exp)
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text
}

/** Digits with the point after `exp` + 1 of them. */
function plainDigits(digits: string, exp: number): string {
  if (exp < 0) return `0.${'0'.repeat(-exp - 1)}${digits}`
  const padded = digits.padEnd(exp + 1, '0')
  return padded.length === exp + 1 ? padded : `${padded.slice(0, exp + 1)}.${padded.slice(exp + 1)}`
}

function formatString(spec: Spec, text: string, arg: Argument): string {
  const cut = spec.precision === undefined ? text : [...text].slice(0, spec.precision).join('')
  switch (spec.verb) {
    case 's':
    case 'v':
      return pad(spec, spec.verb === 'v' && spec.sharp ? quoted(cut, '"') : cut, true)
    case 'q':
      return pad(spec, quoted(cut, '"'), true)
    case 'x':
    case 'X': {
      const hex = hexOf(text, spec)
      return pad(spec, spec.verb === 'X' ? hex.toUpperCase() : hex, true)
    }
    default:
      return badVerb(spec.verb, arg)
  }
}

/** Bytes in hexadecimal; a precision counts bytes, and a space stands between them where the flag asks for it. */
function hexOf(text: string, { precision, space, sharp }: Spec): string {
  const hex = Buffer.from(text).subarray(0, precision).toString('hex')
  const prefix = sharp && hex !== '' ? '0x' : ''
  return prefix + (space ? hex.replace(/..(?=.)/g, `$& ${prefix}`) : hex)
}

const ESCAPES: Readonly<Record<string, string>> = {
  '\x07': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
  '\\': '\\\\',
}

/** In quotes as Go's `strconv` writes them: what cannot be printed is escaped. */
function quoted(text: string, quote: '"' | "'"): string {
  let result = quote as string
  for (const c of text) {
    if (c === quote) result += `\\${c}`
    else result += ESCAPES[c] ?? (/[^\p{L}\p{M}\p{N}\p{P}\p{S} ]/u.test(c) ? escapedPoint(c) : c)
  }
  return result + quote
}

function escapedPoint(c: string): string {
  const point = c.codePointAt(0) as number
  const hex = point.toString(16)
  if (point < 0x80) return `\\x${hex.padStart(2, '0')}`
  return point > 0xffff ? `\\U${hex.padStart(8, '0')}` : `\\u${hex.padStart(4, '0')}`
}
