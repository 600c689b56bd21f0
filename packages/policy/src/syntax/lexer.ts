/** Tokens of Rego (spec 05 §4). Keywords are identifiers here; the parser decides what they mean. */

import { wellFormed } from '../values/json.ts'
import { parseNumber } from '../values/number.ts'
import type { RegoNumber } from '../values/value.ts'
import type { Source } from './source.ts'

export type TokenKind = 'name' | 'number' | 'string' | 'rawString' | 'template' | 'symbol' | 'end'

export interface Token {
  readonly kind: TokenKind
  /** Spelling of names, numbers and symbols; content of strings. */
  readonly text: string
  readonly start: number
  readonly end: number
  /** White space or a comment stands before the token. */
  readonly spaceBefore: boolean
  /** A line break stands before the token. */
  readonly newlineBefore: boolean
  readonly number?: RegoNumber
  /** For a template: literal texts and the spans of the expressions between them. */
  readonly parts?: readonly TemplatePart[]
}

export type TemplatePart = { readonly text: string } | { readonly start: number; readonly end: number }

const NUMBER = /(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y
const NAME = /[A-Za-z_][A-Za-z0-9_]*/y
const MAX_TEMPLATE_DEPTH = 16
const TWO_CHARACTER_SYMBOLS = new Set([':=', '==', '!=', '<=', '>='])
const ONE_CHARACTER_SYMBOLS = new Set('+-*/%()[]{},;:=<>|&.')

/** Reads all tokens from `start` to `end`; the last one has kind `end`. Throws `DiagnosticError`. */
export function tokenize(source: Source, start = 0, end = source.text.length): Token[] {
  const lexer = new Lexer(source, start, end)
  const tokens: Token[] = []
  for (;;) {
    const token = lexer.next()
    tokens.push(token)
    if (token.kind === 'end') return tokens
  }
}

class Lexer {
  readonly #source: Source
  readonly #text: string
  readonly #end: number
  readonly #templateDepth: number
  #pos: number
  #space = false
  #newline = false

  constructor(source: Source, start: number, end: number, templateDepth = 0) {
    if (templateDepth > MAX_TEMPLATE_DEPTH) {
      throw source.error('source_limit', 'template strings nest too deep', start)
    }
    this.#templateDepth = templateDepth
    this.#source = source
    this.#text = end === source.text.length ? source.text : source.text.slice(0, end)
    this.#pos = start
    this.#end = end
  }

  next(): Token {
    this.#skipSpace()
    const start = this.#pos
    const c = this.#text.charCodeAt(start)
    // as upstream, NUL ends the text; the parser refuses a module that has anything after it
    if (start >= this.#end || c === 0) return this.#token('end', '', start)
    if (c === 34) return this.#string(start)
    if (c === 96) return this.#rawString(start)
    if (c === 36) return this.#template(start)
    if (c >= 48 && c <= 57) return this.#number(start)
    NAME.lastIndex = start
    const name = NAME.exec(this.#text)
    if (name) {
      this.#pos = NAME.lastIndex
      if (this.#text.charCodeAt(this.#pos) > 127) throw this.#error('invalid character', this.#pos)
      return this.#token('name', name[0], start)
    }
    return this.#symbol(start)
  }

  #error(message: string, position: number) {
    return this.#source.error('syntax', message, position)
  }

  #token(kind: TokenKind, text: string, start: number, more: Partial<Token> = {}): Token {
    return {
      kind,
      text,
      start,
      end: this.#pos,
      spaceBefore: this.#space,
      newlineBefore: this.#newline,
      ...more,
    }
  }

  #skipSpace(): void {
    const before = this.#pos
    this.#newline = false
    for (; this.#pos < this.#end; this.#pos++) {
      const c = this.#text.charCodeAt(this.#pos)
      if (c === 10) this.#newline = true
      else if (c === 13) {
        if (this.#text.charCodeAt(this.#pos + 1) !== 10) {
          throw this.#error('a carriage return must be followed by a line feed', this.#pos)
        }
      } else if (c === 35) {
        const lineEnd = this.#text.indexOf('\n', this.#pos)
        this.#pos = (lineEnd < 0 ? this.#end : lineEnd) - 1
      } else if (c !== 32 && c !== 9) break
    }
    this.#space = this.#pos > before || before === 0
  }

  #number(start: number): Token {
    NUMBER.lastIndex = start
    const match = NUMBER.exec(this.#text) as RegExpExecArray
    this.#pos = NUMBER.lastIndex
    const after = this.#text[this.#pos] ?? ''
    if (/[A-Za-z0-9_.]/.test(after)) throw this.#error(`invalid number ${match[0]}${after}`, start)
    const number = parseNumber(match[0])
    if (number === undefined) throw this.#error('the number is out of range', start)
    return this.#token('number', match[0], start, { number })
  }

  #symbol(start: number): Token {
    const two = this.#text.slice(start, start + 2)
    if (TWO_CHARACTER_SYMBOLS.has(two)) {
      this.#pos += 2
      return this.#token('symbol', two, start)
    }
    const one = two[0] as string
    if (!ONE_CHARACTER_SYMBOLS.has(one)) throw this.#error('invalid character', start)
    if (one === '.' && /[0-9]/.test(two[1] ?? '')) throw this.#error('invalid number', start)
    this.#pos += 1
    return this.#token('symbol', one, start)
  }

  #string(start: number): Token {
    const close = this.#closingQuote(start)
    const raw = this.#text.slice(start, close + 1)
    this.#pos = close + 1
    return this.#token('string', this.#unescape(raw, start), start)
  }

  #closingQuote(start: number): number {
    for (let i = start + 1; i < this.#end; i++) {
      const c = this.#text.charCodeAt(i)
      if (c === 34) return i
      if (c < 32) throw this.#error('invalid character in string', i)
      if (c === 92) i++
    }
    throw this.#error('unmatched "', start)
  }

  #unescape(raw: string, start: number): string {
    if (!raw.includes('\\')) return wellFormed(raw.slice(1, -1))
    try {
      return wellFormed(JSON.parse(raw) as string)
    } catch {
      const bad = /\\(?:[^"\\/bfnrtu]|u(?![0-9A-Fa-f]{4}))/.exec(raw.replace(/\\\\/g, '  '))
      throw this.#error('invalid escape sequence in string', start + (bad?.index ?? 0))
    }
  }

  #rawString(start: number): Token {
    const close = this.#text.indexOf('`', start + 1)
    if (close < 0 || close >= this.#end) throw this.#error('unmatched `', start)
    this.#pos = close + 1
    return this.#token('rawString', wellFormed(this.#text.slice(start + 1, close)), start)
  }

  /** `$"text {expression} text"` and the raw form; braces are escaped as `\{`. */
  #template(start: number): Token {
    const quote = this.#text[start + 1]
    if (quote !== '"' && quote !== '`') throw this.#error('invalid character', start)
    const parts: TemplatePart[] = []
    let text = ''
    let i = start + 2
    for (;;) {
      const c = this.#text[i]
      if (c === undefined || i >= this.#end) throw this.#error(`unmatched ${quote}`, start)
      if (c === quote) break
      if (c === '{') {
        parts.push({ text: this.#templateText(text, quote, start) })
        text = ''
        const close = this.#templateExpressionEnd(i + 1, start)
        parts.push({ start: i + 1, end: close })
        i = close + 1
      } else if (c === '\\' && this.#text[i + 1] === '{') {
        text += '{'
        i += 2
      } else if (c === '\\' && quote === '"') {
        text += this.#text.slice(i, i + 2)
        i += 2
      } else {
        if (quote === '"' && c < ' ') throw this.#error('invalid character in string', i)
        text += c
        i++
      }
    }
    parts.push({ text: this.#templateText(text, quote, start) })
    this.#pos = i + 1
    return this.#token('template', '', start, { parts })
  }

  #templateText(text: string, quote: string, start: number): string {
    return quote === '"' ? this.#unescape(`"${text}"`, start) : wellFormed(text)
  }

  /** Finds the brace that closes an expression by reading tokens, so that strings and sets may hold braces. */
  #templateExpressionEnd(start: number, templateStart: number): number {
    const inner = new Lexer(this.#source, start, this.#end, this.#templateDepth + 1)
    let depth = 0
    for (;;) {
      const token = inner.next()
      if (token.kind === 'end') throw this.#error('unmatched { in template string', templateStart)
      if (token.kind !== 'symbol') continue
      if (token.text === '{') depth++
      else if (token.text === '}' && depth-- === 0) return token.start
    }
  }
}
