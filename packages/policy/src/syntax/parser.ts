/** Module parser: package, imports and rules of both dialects (spec 05 §3, §4). */
import type { PolicyDiagnostic } from '../errors.ts'
import type { CompileLimits } from '../limits.ts'
import type { Body, Dialect, Import, Module, Reference, Rule, RuleBranch, Term, Variable } from './ast.ts'
import { ExpressionParser } from './expression-parser.ts'
import { tokenize } from './lexer.ts'
import { DiagnosticError, type Source } from './source.ts'

const MAX_DIAGNOSTICS = 20
const FUTURE_KEYWORDS = ['if', 'in', 'contains', 'every'] as const
const IMPORT_ROOTS = ['data', 'input', 'future', 'rego']

/** Parses one module, or returns up to 20 findings. */
export function parseModule(
  source: Source,
  dialect: Dialect,
  limits: CompileLimits,
): { module: Module } | { errors: PolicyDiagnostic[] } {
  try {
    source.checkLimits(limits)
    return new ModuleParser(source, dialect, limits).parse()
  } catch (error) {
    if (error instanceof DiagnosticError) return { errors: [error.diagnostic] }
    throw error
  }
}

/** Parses a query: the body of a rule without braces. Throws `DiagnosticError`. */
export function parseQuery(source: Source, dialect: Dialect, limits: CompileLimits): Body {
  source.checkLimits(limits)
  const parser = new ExpressionParser(source, tokenize(source), limits.nesting, dialect)
  const body = parser.parseBody(() => parser.atEnd())
  parser.refuseTrailingText()
  return body
}

type HeadValue = { readonly value: Term | undefined; readonly member: Term | undefined }

class ModuleParser extends ExpressionParser {
  readonly #limits: CompileLimits
  readonly #imports: Import[] = []
  readonly #rules: Rule[] = []
  readonly #errors: PolicyDiagnostic[] = []
  #regoV1Imported = false
  #futureImported = false

  constructor(source: Source, dialect: Dialect, limits: CompileLimits) {
    super(source, tokenize(source), limits.nesting, dialect)
    this.#limits = limits
  }

  parse(): { module: Module } | { errors: PolicyDiagnostic[] } {
    const packageToken = this.peek()
    if (!this.acceptWord('package')) {
      throw this.fault(`expected \`package\` at the start of the module`, packageToken.start)
    }
    const packagePath = this.#path()
    this.#endOfStatement('package')
    const packageSpan = this.spanFrom(packageToken.start)
    while (!this.atEnd() && this.#errors.length < MAX_DIAGNOSTICS) this.#statement()
    if (this.#errors.length === 0) this.refuseTrailingText()
    if (this.#errors.length > 0) return { errors: this.#errors }
    const { source, dialect } = this
    return {
      module: { source, dialect, packagePath, packageSpan, imports: this.#imports, rules: this.#rules },
    }
  }

  #statement(): void {
    const start = this.position
    try {
      if (this.isWord('import') && !this.nextIs(1, '.')) this.#import()
      else for (const rule of this.#rule()) this.#rules.push(rule)
      if (this.#rules.length > this.#limits.rules) {
        throw this.source.error('source_limit', `more than ${this.#limits.rules} rules`, this.peek().start)
      }
    } catch (error) {
      if (!(error instanceof DiagnosticError)) throw error
      this.#errors.push(error.diagnostic)
      if (error.diagnostic.code === 'source_limit') this.skipToEnd()
      else this.#recover(start)
    }
  }

  /** Goes on at the next token that starts a line. */
  #recover(start: number): void {
    if (this.position === start) this.advance()
    while (!this.atEnd()) {
      const { newlineBefore, start: at, kind } = this.peek()
      if (newlineBefore && kind === 'name' && (at === 0 || this.source.text[at - 1] === '\n')) return
      this.advance()
    }
  }

  /** As upstream, statements need no line break between them; a semicolon is tolerated. */
  #endOfStatement(after: string): void {
    const token = this.peek()
    if (token.kind === 'end' || token.kind === 'name' || this.acceptSymbol(';')) return
    throw this.fault(`unexpected \`${token.text}\` after the ${after}`, token.start)
  }

  /** `a.b["c-d"]`: names and strings without white space between. */
  #path(): string[] {
    const first = this.advance()
    if (first.kind !== 'name') throw this.fault('expected an identifier', first.start)
    const path = [first.text]
    for (;;) {
      const token = this.peek()
      if (token.kind !== 'symbol' || (token.text !== '.' && token.text !== '[')) return path
      if (token.spaceBefore) {
        if (token.newlineBefore) return path
        throw this.fault(`invalid white space before ${token.text}`, token.start)
      }
      this.advance()
      const part = this.advance()
      if (token.text === '.') {
        if (part.kind !== 'name') throw this.fault('expected an identifier after the dot', part.start)
        if (part.spaceBefore) throw this.fault('invalid white space between . and identifier', part.start)
      } else {
        if (part.kind !== 'string' && part.kind !== 'rawString')
          throw this.fault('expected a string', part.start)
        this.expectSymbol(']')
      }
      path.push(part.text)
    }
  }

  #import(): void {
    this.advance()
    const { start } = this.peek()
    const path = this.#path()
    const [root = ''] = path
    if (!IMPORT_ROOTS.includes(root)) {
      throw this.fault(`an import must begin with one of: ${IMPORT_ROOTS.join(', ')}`, start)
    }
    const alias = this.acceptWord('as') ? this.#alias(root) : undefined
    this.#endOfStatement('import')
    if (root === 'rego') this.#importRego(path, start)
    else if (root === 'future') this.#importFuture(path, start)
    else this.#importDocument(path, alias, start)
  }

  #importDocument(path: readonly string[], alias: string | undefined, start: number): void {
    const name = alias ?? (path.at(-1) as string)
    if (this.#imports.some((other) => other.alias === name)) {
      throw this.source.error('shadowing', `import shadows the earlier import of \`${name}\``, start)
    }
    this.#imports.push({ path, alias: name, span: this.spanFrom(start) })
  }

  #alias(root: string): string {
    const token = this.advance()
    if (token.kind !== 'name') throw this.fault('expected an identifier after `as`', token.start)
    if (token.text === '_') throw this.fault('`_` cannot be used as alias', token.start)
    if (this.isReserved(token.text)) throw this.fault(`unexpected keyword \`${token.text}\``, token.start)
    if (root === 'future' || root === 'rego') {
      throw this.fault(`\`${root}\` imports cannot be aliased`, token.start)
    }
    return token.text
  }

  #importRego(path: readonly string[], start: number): void {
    if (path.length !== 2 || path[1] !== 'v1')
      throw this.fault('the only import from `rego` is `rego.v1`', start)
    if (this.#regoV1Imported || this.#futureImported) {
      throw this.source.error('shadowing', 'this import shadows a previous import of keywords', start)
    }
    this.#regoV1Imported = true
    this.switchToV1()
  }

  #importFuture(path: readonly string[], start: number): void {
    const names = path.length === 2 ? FUTURE_KEYWORDS : path.slice(2)
    const known = names.every((name) => (FUTURE_KEYWORDS as readonly string[]).includes(name))
    if (path[1] !== 'keywords' || path.length > 3 || !known) {
      throw this.fault(`unknown import; there are future.keywords.{${FUTURE_KEYWORDS.join(',')}}`, start)
    }
    if (this.#regoV1Imported) {
      throw this.source.error('shadowing', 'this import shadows the previous import of `rego.v1`', start)
    }
    this.#futureImported = true
    for (const name of names) this.enableKeyword(name)
    // `every … in` cannot be written without `in`
    if (names.includes('every')) this.enableKeyword('in')
  }

  #rule(): Rule[] {
    const start = this.peek().start
    const isDefault = !this.nextIs(1, '.') && this.acceptWord('default')
    const head = this.#head()
    const args = this.#arguments()
    if (isDefault) return [this.#defaultRule(head, args, start)]
    const { value, member } = this.#headValue(args)
    const branches: RuleBranch[] = []
    const hasIf = this.#acceptIf()
    const braces = this.isSymbol('{')
    let body: Body | undefined
    if (hasIf) body = this.#bodyAfterIf()
    else if (braces) body = this.#oldStyleBody()
    branches.push({ value, body, span: this.spanFrom(start) })
    if (body) this.#elseChain(branches, member !== undefined)
    else if (value === undefined && member === undefined) return [this.#bareHead(head, args, start)]
    this.#checkRuleEnd()
    const legacySet = this.#legacySetMember(head, args, value, member, hasIf)
    const rule: Rule = legacySet
      ? { kind: 'rule', isDefault, ...legacySet, args, branches, span: this.spanFrom(start) }
      : { kind: 'rule', isDefault, head, args, member, branches, span: this.spanFrom(start) }
    return braces ? [rule, ...this.#chainedBodies(rule)] : [rule]
  }

  #head(): Variable | Reference {
    const token = this.peek()
    if (token.kind !== 'name') throw this.fault('expected a rule', token.start)
    const isReference = this.nextIs(1, '.')
    if (this.isReserved(token.text) && !isReference) {
      throw this.fault(`unexpected keyword \`${token.text}\``, token.start)
    }
    const head = this.parseReferenceTerm(false)
    if (head.kind === 'variable') return head
    if (head.kind === 'reference' && head.head.kind === 'variable') return head as Reference
    throw this.fault('a rule head must be a name or a reference', token.start)
  }

  #arguments(): Term[] | undefined {
    if (!this.isSymbol('(') || this.peek().newlineBefore) return undefined
    this.advance()
    return this.parseList(')')
  }

  #defaultRule(head: Variable | Reference, args: Term[] | undefined, start: number): Rule {
    const operator = this.peek()
    if (!this.acceptSymbol(':=') && !this.acceptSymbol('=')) {
      throw this.fault('a default rule needs `:=` and a value', operator.start)
    }
    const value = this.parseExpression()
    const span = this.spanFrom(start)
    this.#endOfStatement('default rule')
    const branches = [{ value, body: undefined, span }]
    return { kind: 'rule', isDefault: true, head, args, member: undefined, branches, span }
  }

  #headValue(args: Term[] | undefined): HeadValue {
    if (!args && this.isWord('contains') && (this.isActive('contains') || !this.peek().newlineBefore)) {
      this.advance()
      return { value: undefined, member: this.parseExpression() }
    }
    if (this.acceptSymbol(':=') || this.acceptSymbol('=')) {
      return { value: this.parseKeyedExpression(), member: undefined }
    }
    return { value: undefined, member: undefined }
  }

  /** In v0 `if` is accepted on the line of the head even where it is not imported, as upstream does. */
  #acceptIf(): boolean {
    if (!this.isWord('if') || this.nextIs(1, '.')) return false
    if (!this.isActive('if') && this.peek().newlineBefore) return false
    this.advance()
    return true
  }

  #bodyAfterIf(): Body {
    if (!this.isSymbol('{')) return [this.parseLiteral()]
    this.#refuseEmptyBody()
    return this.attempt(
      () => this.#bracedBody(),
      () => [this.parseLiteral()],
    )
  }

  #oldStyleBody(): Body {
    if (this.dialect === 'v1') {
      throw this.source.error(
        'dialect',
        'Rego v1 needs `if` before the body of a rule (and `contains` in the head of a partial set); ' +
          'put `if` before the brace, or compile with the v0 dialect',
        this.peek().start,
      )
    }
    return this.#bracedBody()
  }

  #bracedBody(): Body {
    this.#refuseEmptyBody()
    this.expectSymbol('{')
    const body = this.parseBody(() => this.isSymbol('}'))
    this.expectSymbol('}')
    return body
  }

  #refuseEmptyBody(): void {
    const brace = this.peek()
    if (brace.text === '{' && this.peek(1).kind === 'symbol' && this.peek(1).text === '}') {
      throw this.fault('the body of a rule must not be empty', brace.start)
    }
  }

  #elseChain(branches: RuleBranch[], isSet: boolean): void {
    while (this.isWord('else') && !this.nextIs(1, '.')) {
      const start = this.advance().start
      if (isSet) throw this.fault('`else` cannot be used with partial rules', start)
      const value = this.acceptSymbol(':=') || this.acceptSymbol('=') ? this.parseExpression() : undefined
      let body: Body | undefined
      if (this.#acceptIf()) body = this.#bodyAfterIf()
      else if (this.isSymbol('{')) body = this.#oldStyleBody()
      else if (value === undefined) throw this.fault('`else` needs a value or a body', start)
      branches.push({ value, body, span: this.spanFrom(start) })
      if (!body) break
    }
    if (this.isWord('else') && !this.nextIs(1, '.')) {
      throw this.fault('unexpected keyword `else` after an `else` without a body', this.peek().start)
    }
  }

  #checkRuleEnd(): void {
    const token = this.peek()
    if (this.isWord('else') && !this.nextIs(1, '.')) {
      throw this.fault('unexpected keyword `else`: the rule before it has no body', token.start)
    }
    if (this.isWord('if') && this.isActive('if') && !this.nextIs(1, '.')) {
      throw this.fault('unexpected keyword `if`', token.start)
    }
    if (!this.isSymbol('{')) this.#endOfStatement('rule')
  }

  /** `p[x]` without value and body: a fact of a partial set in v0, refused in v1. */
  #bareHead(head: Variable | Reference, args: Term[] | undefined, start: number): Rule {
    if (head.kind !== 'reference' || args || this.dialect === 'v1') {
      const code = head.kind === 'reference' && !args ? 'dialect' : 'syntax'
      const cure =
        code === 'dialect'
          ? 'write `contains` for a partial set, or give the rule a value'
          : 'add `:= …` or `if …`'
      throw this.source.error(code, `the rule has neither a value nor a body; ${cure}`, start)
    }
    const legacy = this.#legacySetMember(head, args, undefined, undefined, false)
    if (!legacy) throw this.fault('the rule must have a body', start)
    const span = this.spanFrom(start)
    this.#checkRuleEnd()
    const branches = [{ value: undefined, body: undefined, span }]
    return { kind: 'rule', isDefault: false, ...legacy, args, branches, span }
  }

  /** In v0, `p[x] { … }` without `if` and without a value is a partial set. */
  #legacySetMember(
    head: Variable | Reference,
    args: Term[] | undefined,
    value: Term | undefined,
    member: Term | undefined,
    hasIf: boolean,
  ): { head: Variable; member: Term } | undefined {
    if (this.dialect === 'v1' || args || value || member || hasIf) return undefined
    if (head.kind !== 'reference' || head.path.length !== 1) return undefined
    return { head: head.head as Variable, member: head.path[0] as Term }
  }

  /** `{ … } { … }`: further bodies of the same head are further definitions. */
  #chainedBodies(rule: Rule): Rule[] {
    const more: Rule[] = []
    while (this.isSymbol('{')) {
      const start = this.peek().start
      const body = this.#bracedBody()
      const [first] = rule.branches
      const branches: RuleBranch[] = [{ value: first?.value, body, span: this.spanFrom(start) }]
      this.#elseChain(branches, rule.member !== undefined)
      more.push({ ...rule, branches, span: this.spanFrom(start) })
      this.#checkRuleEnd()
    }
    return more
  }
}
