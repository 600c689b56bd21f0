/** Parser of bodies, literals and terms (spec 05 §4 items 3–7). */
import type {
  BinaryOperator,
  Body,
  Dialect,
  Equation,
  Literal,
  Reference,
  TemplateExpression,
  Term,
  Variable,
  WithModifier,
} from './ast.ts'
import { type Token, tokenize } from './lexer.ts'
import { DiagnosticError, type Source, type Span } from './source.ts'

const RESERVED = new Set([
  'as',
  'default',
  'else',
  'false',
  'import',
  'not',
  'null',
  'package',
  'some',
  'true',
  'with',
])
const V1_KEYWORDS = ['if', 'in', 'contains', 'every']

/** How deep the tree of one expression may get, chains of operators included. */
const MAX_TREE_DEPTH = 400

const COMPARISONS = ['==', '!=', '<', '<=', '>', '>=']
/** Binary operators from loose to tight. */
const LEVELS: readonly (readonly string[])[] = [COMPARISONS, ['|'], ['&'], ['+', '-'], ['*', '/', '%']]

export class ExpressionParser {
  readonly source: Source
  readonly #tokens: readonly Token[]
  readonly #maxNesting: number
  readonly #keywords = new Set<string>()
  /** Positions of `|` where a comprehension was tried in vain. */
  readonly #notComprehensions = new Set<number>()
  readonly #depths = new WeakMap<object, number>()
  #dialect: Dialect
  #pos = 0
  #nesting = 0

  constructor(source: Source, tokens: readonly Token[], maxNesting: number, dialect: Dialect) {
    this.source = source
    this.#tokens = tokens
    this.#maxNesting = maxNesting
    this.#dialect = dialect
    if (dialect === 'v1') this.switchToV1()
  }

  get dialect(): Dialect {
    return this.#dialect
  }

  get position(): number {
    return this.#pos
  }

  switchToV1(): void {
    this.#dialect = 'v1'
    for (const name of V1_KEYWORDS) this.#keywords.add(name)
  }

  enableKeyword(name: string): void {
    this.#keywords.add(name)
  }

  isActive(keyword: string): boolean {
    return this.#keywords.has(keyword)
  }

  isReserved(name: string): boolean {
    return RESERVED.has(name) || this.#keywords.has(name)
  }

  peek(ahead = 0): Token {
    return this.#tokens[Math.min(this.#pos + ahead, this.#tokens.length - 1)] as Token
  }

  advance(): Token {
    const token = this.peek()
    if (token.kind !== 'end') this.#pos++
    return token
  }

  skipToEnd(): void {
    this.#pos = this.#tokens.length - 1
  }

  atEnd(): boolean {
    return this.peek().kind === 'end'
  }

  /** As upstream NUL ends the tokens; a module must not hide text behind it. */
  refuseTrailingText(): void {
    const end = this.peek()
    if (end.kind !== 'end') throw this.fault(`unexpected \`${end.text}\``, end.start)
    if (this.source.text.charCodeAt(end.start) === 0) throw this.fault('invalid character', end.start)
  }

  isWord(word: string): boolean {
    const token = this.peek()
    return token.kind === 'name' && token.text === word
  }

  acceptWord(word: string): boolean {
    if (!this.isWord(word)) return false
    this.#pos++
    return true
  }

  isSymbol(symbol: string): boolean {
    const token = this.peek()
    return token.kind === 'symbol' && token.text === symbol
  }

  acceptSymbol(symbol: string): boolean {
    if (!this.isSymbol(symbol)) return false
    this.#pos++
    return true
  }

  expectSymbol(symbol: string): Token {
    const token = this.peek()
    if (!this.isSymbol(symbol)) {
      throw this.fault(`expected \`${symbol}\`${token.text ? `, found \`${token.text}\`` : ''}`, token.start)
    }
    return this.advance()
  }

  /** The token `ahead` is that symbol and touches the one before it. */
  nextIs(ahead: number, symbol: string): boolean {
    const token = this.peek(ahead)
    return token.kind === 'symbol' && token.text === symbol && !token.spaceBefore
  }

  fault(message: string, position: number): DiagnosticError {
    return this.source.error('syntax', message, position)
  }

  spanFrom(start: number): Span {
    const last = this.#tokens[Math.max(0, this.#pos - 1)] as Token
    return { source: this.source, start, end: Math.max(start, last.end) }
  }

  /** Tries one reading and then another; when both fail, the error that came further counts. */
  attempt<T>(first: () => T, second: () => T): T {
    const start = this.#pos
    try {
      return first()
    } catch (error) {
      if (!(error instanceof DiagnosticError) || error.diagnostic.code === 'source_limit') throw error
      const reached = this.#pos
      this.#pos = start
      try {
        return second()
      } catch (other) {
        throw other instanceof DiagnosticError && this.#pos <= reached ? error : other
      }
    }
  }

  /** Literals up to a closing token, one a line or separated by `;`. */
  parseBody(isClosed: () => boolean): Body {
    const literals: Literal[] = []
    for (;;) {
      literals.push(this.parseLiteral())
      const separated = this.acceptSymbol(';')
      if (isClosed()) return literals
      const token = this.peek()
      if (token.kind === 'end' || (!separated && !token.newlineBefore)) {
        throw this.fault(
          `unexpected ${token.text ? `\`${token.text}\`` : 'end of text'} after the expression`,
          token.start,
        )
      }
    }
  }

  parseLiteral(): Literal {
    const token = this.peek()
    const start = token.start
    if (token.kind === 'name' && !this.nextIs(1, '.')) {
      if (token.text === 'some') return this.#some(start)
      if (token.text === 'every' && this.isActive('every')) return this.#every(start)
      if (token.text === 'not') {
        this.advance()
        return this.#expressionLiteral(start, true)
      }
    }
    return this.#expressionLiteral(start, false)
  }

  #expressionLiteral(start: number, negated: boolean): Literal {
    const left = this.parseKeyedExpression()
    let expression: Term | Equation = left
    const operator = this.peek().text
    if (this.acceptSymbol(':=') || this.acceptSymbol('=')) {
      if (negated && operator === ':=') throw this.fault('`not` cannot be used with `:=`', start)
      const right = this.parseKeyedExpression()
      const span = this.spanFrom(left.span.start)
      expression = { kind: 'equation', operator: operator as ':=' | '=', left, right, span }
    }
    const withs = this.#withs()
    return { kind: 'expression', negated, expression, withs, span: this.spanFrom(start) }
  }

  /** An expression, or `k, v in xs`. */
  parseKeyedExpression(): Term {
    const first = this.parseExpression()
    return this.isSymbol(',') && this.isActive('in') ? this.#keyedMembership(first) : first
  }

  #keyedMembership(key: Term): Term {
    this.expectSymbol(',')
    return this.#nested(() => {
      const value = this.#binary(0)
      if (!this.acceptWord('in')) throw this.fault('expected `in`', this.peek().start)
      const collection = this.#binary(0)
      const span = this.spanFrom(key.span.start)
      const node: Term = { kind: 'membership', key, value, collection, span }
      return this.#membershipTail(this.#sized(node, [key, value, collection]))
    })
  }

  #some(start: number): Literal {
    this.advance()
    const first = this.#binary(0)
    if (this.#isIn()) return this.#someIn(start, undefined, first)
    const names = [first]
    while (this.acceptSymbol(',')) {
      names.push(this.#binary(0))
      if (names.length === 2 && this.#isIn()) return this.#someIn(start, names[0], names[1] as Term)
    }
    if (this.#isIn()) throw this.fault('at most a key and a value may stand before `in`', start)
    for (const name of names) {
      if (name.kind !== 'variable') throw this.fault('expected an identifier after `some`', name.span.start)
    }
    const withs = this.#withs()
    return { kind: 'some', names: names as Variable[], withs, span: this.spanFrom(start) }
  }

  #isIn(): boolean {
    return this.isActive('in') && this.isWord('in') && !this.nextIs(1, '.')
  }

  #someIn(start: number, key: Term | undefined, value: Term): Literal {
    this.advance()
    const collection = this.parseExpression()
    const withs = this.#withs()
    return { kind: 'someIn', key, value, collection, withs, span: this.spanFrom(start) }
  }

  #every(start: number): Literal {
    this.advance()
    const first = this.#everyName()
    const second = this.acceptSymbol(',') ? this.#everyName() : undefined
    if (!this.acceptWord('in')) throw this.fault('expected `in`', this.peek().start)
    const domain = this.parseExpression()
    const brace = this.expectSymbol('{')
    if (this.isSymbol('}')) throw this.fault('the body of `every` must not be empty', brace.start)
    const body = this.#nested(() => this.parseBody(() => this.isSymbol('}')))
    this.expectSymbol('}')
    const withs = this.#withs()
    const key = second ? first : undefined
    return { kind: 'every', key, value: second ?? first, domain, body, withs, span: this.spanFrom(start) }
  }

  #everyName(): Variable {
    const token = this.advance()
    if (token.kind !== 'name' || this.isReserved(token.text)) {
      throw this.fault('expected an identifier', token.start)
    }
    return { kind: 'variable', name: token.text, span: this.spanFrom(token.start) }
  }

  #withs(): WithModifier[] {
    const withs: WithModifier[] = []
    while (this.isWord('with') && !this.nextIs(1, '.')) {
      const start = this.advance().start
      const target = this.parseReferenceTerm(false)
      if (target.kind !== 'variable' && target.kind !== 'reference') {
        throw this.fault('expected `input`, a path under `input` or `data`, or a function', start)
      }
      if (!this.acceptWord('as')) throw this.fault('expected `as`', this.peek().start)
      const value = this.parseExpression()
      withs.push({ target, value, span: this.spanFrom(start) })
    }
    return withs
  }

  /** One expression with `in` but without a key before it. */
  parseExpression(): Term {
    return this.#nested(() => this.#membershipTail(this.#binary(0)))
  }

  #nested<T>(parse: () => T): T {
    if (++this.#nesting > this.#maxNesting) {
      throw this.source.error('source_limit', 'the expression nests too deep', this.peek().start)
    }
    try {
      return parse()
    } finally {
      this.#nesting--
    }
  }

  #sized<T extends Term>(term: T, children: Iterable<Term>): T {
    let depth = 0
    for (const child of children) depth = Math.max(depth, this.#depths.get(child) ?? 0)
    if (depth >= MAX_TREE_DEPTH) {
      throw this.source.error('source_limit', 'the expression has too many operators', term.span.start)
    }
    this.#depths.set(term, depth + 1)
    return term
  }

  #membershipTail(left: Term): Term {
    let term = left
    while (this.#isIn()) {
      this.advance()
      const collection = this.#binary(0)
      const span = this.spanFrom(left.span.start)
      const node: Term = { kind: 'membership', key: undefined, value: term, collection, span }
      term = this.#sized(node, [term, collection])
    }
    return term
  }

  /** Binary operators of `level` and tighter; `first` is an operand that has been read already. */
  #binary(level: number, first?: Term): Term {
    const operators = LEVELS[level]
    if (!operators) return first ?? this.#factor()
    let left = this.#binary(level + 1, first)
    for (;;) {
      const token = this.peek()
      if (token.kind !== 'symbol' || !operators.includes(token.text)) return left
      this.advance()
      const right = this.#binary(level + 1)
      const operator = token.text as BinaryOperator
      const span = this.spanFrom(left.span.start)
      left = this.#sized({ kind: 'binary', operator, left, right, span }, [left, right])
    }
  }

  /** An operand with an optional minus. */
  #factor(): Term {
    if (!this.isSymbol('-')) return this.parseReferenceTerm(true)
    const start = this.advance().start
    const number = this.peek()
    if (number.kind === 'number') {
      this.advance()
      const n = number.number as number | bigint
      return { kind: 'constant', value: n === 0 ? 0 : -n, span: this.spanFrom(start) }
    }
    if (this.isSymbol('-')) throw this.fault('unary - can only be used once', start)
    return this.#nested(() => {
      const operand = this.#factor()
      return this.#sized({ kind: 'negative', operand, span: this.spanFrom(start) }, [operand])
    })
  }

  /** A term with all that touches it: `.name`, `[…]` and, where allowed, `(…)`. */
  parseReferenceTerm(callsAllowed: boolean): Term {
    const start = this.peek().start
    let head = this.#primary()
    let path: Term[] = []
    const close = (): Term => {
      if (path.length === 0) return head
      const node: Reference = { kind: 'reference', head, path, span: this.spanFrom(start) }
      return this.#sized(node, [head, ...path])
    }
    for (;;) {
      const token = this.peek()
      if (token.kind !== 'symbol' || token.spaceBefore) return close()
      if (token.text === '.') {
        path.push(this.#field())
      } else if (token.text === '[') {
        this.advance()
        path.push(this.parseExpression())
        this.expectSymbol(']')
      } else if (token.text === '(' && callsAllowed) {
        const callee = close()
        this.#checkCallee(callee, token.start)
        this.advance()
        const args = this.parseList(')')
        const call: Term = { kind: 'call', callee, args, span: this.spanFrom(start) }
        head = this.#sized(call, args)
        path = []
      } else return close()
    }
  }

  #checkCallee(callee: Term, position: number): asserts callee is Variable | Reference {
    const isName =
      callee.kind === 'variable' ||
      (callee.kind === 'reference' &&
        callee.head.kind === 'variable' &&
        callee.path.every((part) => part.kind === 'constant' && typeof part.value === 'string'))
    if (!isName) throw this.fault('only a function can be called', position)
  }

  #field(): Term {
    this.advance()
    const name = this.advance()
    if (name.kind !== 'name') throw this.fault('expected an identifier after the dot', name.start)
    if (name.spaceBefore) throw this.fault('invalid white space between . and identifier', name.start)
    return { kind: 'constant', value: name.text, span: this.spanFrom(name.start) }
  }

  #primary(): Term {
    const token = this.advance()
    switch (token.kind) {
      case 'number':
        return { kind: 'constant', value: token.number as number | bigint, span: this.spanFrom(token.start) }
      case 'string':
      case 'rawString':
        return { kind: 'constant', value: token.text, span: this.spanFrom(token.start) }
      case 'template':
        return this.#template(token)
      case 'name':
        return this.#name(token)
      case 'symbol':
        if (token.text === '[') return this.#array(token)
        if (token.text === '{') return this.#braces(token)
        if (token.text === '(') return this.#parentheses()
        break
      default:
        throw this.fault('unexpected end of text, expected an expression', token.start)
    }
    this.#pos--
    throw this.fault(`unexpected \`${token.text}\`, expected an expression`, token.start)
  }

  #name(token: Token): Term {
    const span = this.spanFrom(token.start)
    const isReference = this.nextIs(0, '.')
    if (!isReference) {
      if (token.text === 'true' || token.text === 'false') {
        return { kind: 'constant', value: token.text === 'true', span }
      }
      if (token.text === 'null') return { kind: 'constant', value: null, span }
      if (token.text === 'set' && this.nextIs(0, '(') && this.peek(1).text === ')') {
        this.advance()
        this.advance()
        return { kind: 'set', items: [], span: this.spanFrom(token.start) }
      }
      if (this.isReserved(token.text) && !(token.text === 'contains' && this.nextIs(0, '('))) {
        this.#pos--
        throw this.fault(`unexpected keyword \`${token.text}\``, token.start)
      }
    }
    return { kind: 'variable', name: token.text, span }
  }

  #template(token: Token): Term {
    const parts = (token.parts ?? []).map((part): string | TemplateExpression => {
      if ('text' in part) return part.text
      const inner = new ExpressionParser(
        this.source,
        tokenize(this.source, part.start, part.end),
        0,
        this.#dialect,
      )
      return this.#nested(() => inner.#templateExpression(this.#maxNesting - this.#nesting, this.#keywords))
    })
    const terms = parts.flatMap((part) => (typeof part === 'string' ? [] : [part.term]))
    return this.#sized({ kind: 'template', parts, span: this.spanFrom(token.start) }, terms)
  }

  #templateExpression(nesting: number, keywords: ReadonlySet<string>): TemplateExpression {
    this.#nesting = -nesting
    for (const keyword of keywords) this.#keywords.add(keyword)
    const term = this.parseExpression()
    const withs = this.#withs()
    if (!this.atEnd()) throw this.fault(`unexpected \`${this.peek().text}\` in template`, this.peek().start)
    return { term, withs }
  }

  #parentheses(): Term {
    const inner = this.parseExpression()
    const term = this.isSymbol(',') && this.isActive('in') ? this.#keyedMembership(inner) : inner
    this.expectSymbol(')')
    // a parenthesized term is not a bare name any more, but nothing in the language depends on that
    return term
  }

  /** Items up to a closing symbol, which is consumed; a trailing comma is allowed. */
  parseList(closing: string): Term[] {
    return this.#listTail(closing, [])
  }

  #listTail(closing: string, items: Term[]): Term[] {
    while (!this.acceptSymbol(closing)) {
      if (items.length > 0) {
        this.expectSymbol(',')
        if (this.acceptSymbol(closing)) return items
      }
      items.push(this.parseExpression())
    }
    return items
  }

  #array(open: Token): Term {
    if (this.acceptSymbol(']')) return { kind: 'array', items: [], span: this.spanFrom(open.start) }
    const first = this.#nested(() => this.#factor())
    const comprehension = this.#comprehension('array', undefined, first, ']', open.start)
    if (comprehension) return comprehension
    const items = this.#listTail(']', [this.#continued(first)])
    return this.#sized({ kind: 'array', items, span: this.spanFrom(open.start) }, items)
  }

  /** Goes on with operators after an operand that has been read. */
  #continued(operand: Term): Term {
    return this.#nested(() => this.#membershipTail(this.#binary(0, operand)))
  }

  /** `head | body` up to `closing`; undefined when the text turns out to be something else. */
  #comprehension(
    of: 'array' | 'set' | 'object',
    key: Term | undefined,
    value: Term,
    closing: string,
    start: number,
  ): Term | undefined {
    const bar = this.#pos
    if (!this.isSymbol('|') || this.#notComprehensions.has(bar)) return undefined
    try {
      this.advance()
      const body = this.#nested(() => this.parseBody(() => this.isSymbol(closing)))
      this.expectSymbol(closing)
      const node: Term = { kind: 'comprehension', of, key, value, body, span: this.spanFrom(start) }
      return this.#sized(node, key ? [key, value] : [value])
    } catch (error) {
      if (!(error instanceof DiagnosticError) || error.diagnostic.code === 'source_limit') throw error
      this.#notComprehensions.add(bar)
      this.#pos = bar
      return undefined
    }
  }

  /** Object, set, or a comprehension of either. */
  #braces(open: Token): Term {
    if (this.acceptSymbol('}')) return { kind: 'object', items: [], span: this.spanFrom(open.start) }
    const first = this.#nested(() => this.#factor())
    const comprehension = this.#comprehension('set', undefined, first, '}', open.start)
    if (comprehension) return comprehension
    const key = this.#continued(first)
    if (!this.acceptSymbol(':')) {
      const items = this.#listTail('}', [key])
      return this.#sized({ kind: 'set', items, span: this.spanFrom(open.start) }, items)
    }
    const value = this.#nested(() => this.#factor())
    const objectComprehension = this.#comprehension('object', key, value, '}', open.start)
    return objectComprehension ?? this.#objectTail(open, [[key, this.#continued(value)]])
  }

  #objectTail(open: Token, items: [Term, Term][]): Term {
    while (!this.acceptSymbol('}')) {
      this.expectSymbol(',')
      if (this.acceptSymbol('}')) break
      const key = this.parseExpression()
      this.expectSymbol(':')
      items.push([key, this.parseExpression()])
    }
    return this.#sized({ kind: 'object', items, span: this.spanFrom(open.start) }, items.flat())
  }
}
