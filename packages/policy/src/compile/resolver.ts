/** Gives every name its meaning: local, rule, import, document root, function (spec 05 §4, §7). */
import type { Builtin } from '../builtins/builtin.ts'
import type { PolicyDiagnostic } from '../errors.ts'
import type {
  Body,
  Equation,
  Literal,
  Module,
  Reference,
  Rule,
  RuleBranch,
  TemplateExpression,
  Term,
  Variable,
  WithModifier,
} from '../syntax/ast.ts'
import { DiagnosticError, type Span } from '../syntax/source.ts'
import type { Value } from '../values/value.ts'
import type {
  ExternalFunction,
  FunctionTarget,
  Local,
  MockKey,
  MockTarget,
  MockValue,
  Resolved,
  ResolvedBranch,
  ResolvedComprehension,
  ResolvedDefinition,
  ResolvedLiteral,
  ResolvedReference,
  ResolvedWith,
} from './resolved.ts'
import { placesRead, type RuleGroup, type RuleTree } from './rule-tree.ts'
import { collectPattern, Scope, SlotAllocator } from './scope.ts'

/** What a compilation knows about names outside of its modules. */
export interface Names {
  readonly tree: RuleTree
  readonly builtins: ReadonlyMap<string, Builtin>
  readonly externals: ReadonlyMap<string, ExternalFunction>
  readonly report: (diagnostic: PolicyDiagnostic) => void
  /** Calls of external builtins with their literal arguments. */
  readonly noteExternal: (target: ExternalFunction, args: readonly Resolved[]) => void
  readonly noteMock: (key: MockKey) => void
  readonly noteDataMock: () => void
  /** A call of a builtin that only a mock can make work. */
  readonly noteForbidden: (name: string, diagnostic: PolicyDiagnostic) => void
  readonly noteComparison: (operator: string, left: Resolved, right: Resolved, span: Span) => void
}

/** Where a module's names are looked up; a query has no package and no imports. */
export interface ModuleNames {
  readonly packagePath: readonly string[]
  /** First names of the rules of the package, in all its modules. */
  readonly ruleNames: ReadonlySet<string>
  readonly imports: ReadonlyMap<string, readonly string[]>
  readonly dialect: Module['dialect']
}

const FORBIDDEN =
  'reaches out to the network; a policy sees only its input, data and what the host answers. Mock it with `with`, or hand the facts in as input'

export class Resolver {
  readonly #names: Names
  readonly #module: ModuleNames
  readonly #group: RuleGroup | undefined

  constructor(names: Names, module: ModuleNames, group: RuleGroup | undefined) {
    this.#names = names
    this.#module = module
    this.#group = group
  }

  /** A rule with its argument patterns and `else` chain; `suffixFrom` is where the ground head ends. */
  definition(rule: Rule, suffixFrom: number): ResolvedDefinition {
    const slots = new SlotAllocator()
    const argScope = new Scope(undefined, slots)
    const argSlots = (rule.args ?? []).map(() => slots.next())
    const args = (rule.args ?? []).map((arg) => this.#argument(arg, argScope))
    const headPath = rule.head.kind === 'reference' ? rule.head.path : []
    const suffix = headPath.slice(suffixFrom)
    const branches = rule.branches.map((branch) => this.#branch(rule, branch, suffix, argScope, slots))
    return {
      args,
      argSlots,
      branches,
      isSet: rule.member !== undefined,
      slotCount: slots.count,
      span: rule.span,
    }
  }

  /** The body of a query and the variables that it binds. */
  query(body: Body): { literals: ResolvedLiteral[]; scope: Scope; slots: SlotAllocator; locals: Local[] } {
    const slots = new SlotAllocator()
    const locals: Local[] = []
    const scope = new Scope(undefined, slots, body)
    const literals = this.#body(body, scope)
    for (const name of [...scope.ownNames, ...scope.willDeclare]) {
      const local = scope.local(name)
      if (local) locals.push(local)
    }
    return { literals, scope, slots, locals }
  }

  #branch(
    rule: Rule,
    branch: RuleBranch,
    suffix: readonly Term[],
    argScope: Scope,
    slots: SlotAllocator,
  ): ResolvedBranch {
    const result = rule.member ?? branch.value
    const heads = result ? [...suffix, result] : suffix
    const scope = new Scope(argScope, slots, branch.body ?? [], heads)
    const body = this.#body(branch.body ?? [], scope)
    return {
      body,
      suffix: suffix.map((term) => this.#term(term, scope)),
      value: result ? this.#term(result, scope) : { kind: 'constant', value: true, span: branch.span },
      span: branch.span,
    }
  }

  #argument(arg: Term, scope: Scope): Resolved {
    const names = new Set<string>()
    collectPattern(arg, names)
    for (const name of names) {
      if (name === '_' || scope.local(name)) continue
      this.#refuseReservedName(name, arg.span)
      scope.declare(name, arg.span, false).bindable = true
    }
    return this.#term(arg, scope, true)
  }

  #fault(code: PolicyDiagnostic['code'], message: string, span: Span): DiagnosticError {
    return span.source.error(code, message, span.start)
  }

  /** Literals of a body; a literal with a fault is reported and left out. */
  #body(body: Body, scope: Scope): ResolvedLiteral[] {
    const literals: ResolvedLiteral[] = []
    for (const literal of body) {
      try {
        const resolved = this.#literal(literal, scope)
        if (resolved) literals.push(resolved)
      } catch (error) {
        if (!(error instanceof DiagnosticError)) throw error
        this.#names.report(error.diagnostic)
      }
    }
    return literals
  }

  #literal(literal: Literal, scope: Scope): ResolvedLiteral | undefined {
    const withs = literal.withs.map((modifier) => this.#with(modifier, scope))
    switch (literal.kind) {
      case 'some':
        for (const { name, span } of literal.names) this.#declare(name, span, scope)
        return undefined
      case 'someIn':
        return this.#someIn(literal, withs, scope)
      case 'every':
        return this.#every(literal, withs, scope)
      case 'expression':
        return this.#expression(literal, withs, scope)
    }
  }

  #expression(
    literal: Extract<Literal, { kind: 'expression' }>,
    withs: readonly ResolvedWith[],
    scope: Scope,
  ): ResolvedLiteral {
    const { negated, span, expression } = literal
    // a negated expression is a closure of its own: its wildcards stay inside
    const inner = negated ? new Scope(scope, scope.slots) : scope
    const common = { negated, withs, span, free: inner.free }
    if (expression.kind === 'equation') {
      const [left, right] = this.#equation(expression, inner)
      return { kind: 'unify', left, right, ...common }
    }
    const mocked = this.#mockedNames(withs)
    const output = this.#callWithOutput(expression, inner, mocked)
    if (output) return { kind: 'unify', left: output.call, right: output.result, ...common }
    return { kind: 'test', term: this.#term(expression, inner, false, mocked), ...common }
  }

  #mockedNames(withs: readonly ResolvedWith[]): ReadonlySet<MockKey> {
    const keys = new Set<MockKey>()
    for (const { target } of withs) if (target.kind === 'function') keys.add(target.key)
    return keys
  }

  #equation(equation: Equation, scope: Scope): [Resolved, Resolved] {
    if (equation.operator === '=') {
      const left = this.#term(equation.left, scope, true)
      return [left, this.#term(equation.right, scope, true)]
    }
    const right = this.#term(equation.right, scope)
    this.#declarePattern(equation.left, scope, ':=')
    return [this.#term(equation.left, scope, true), right]
  }

  #declarePattern(pattern: Term, scope: Scope, where: string): void {
    this.#checkPattern(pattern, where)
    const names = new Set<string>()
    collectPattern(pattern, names)
    if (where === ':=' && names.size === 0 && pattern.kind !== 'array' && pattern.kind !== 'object') {
      throw this.#fault('syntax', '`:=` needs a variable or a pattern on its left', pattern.span)
    }
    for (const name of names) if (name !== '_') this.#declare(name, pattern.span, scope)
  }

  #checkPattern(pattern: Term, where: string): void {
    if (pattern.kind === 'array') for (const item of pattern.items) this.#checkPattern(item, where)
    else if (pattern.kind === 'object')
      for (const [, value] of pattern.items) this.#checkPattern(value, where)
    else if (where === ':=' && pattern.kind !== 'variable' && pattern.kind !== 'constant') {
      throw this.#fault(
        'syntax',
        `cannot assign to this term; \`:=\` binds variables, arrays and objects`,
        pattern.span,
      )
    }
  }

  #declare(name: string, span: Span, scope: Scope): void {
    if (name === '_') return
    this.#refuseReservedName(name, span)
    if (scope.wasUsed(name)) {
      throw this.#fault(
        'unsafe_variable',
        `\`${name}\` is used before it is declared; move the declaration up`,
        span,
      )
    }
    // a branch stands directly below the scope of the arguments
    const isArgument =
      this.#group !== undefined && scope.depth === 1 && scope.parent?.local(name) !== undefined
    if (scope.local(name) || isArgument) {
      throw this.#fault('shadowing', `\`${name}\` is declared twice in one scope`, span)
    }
    scope.declare(name, span, false).bindable = true
  }

  #refuseReservedName(name: string, span: Span): void {
    if (this.#module.dialect === 'v1' && (name === 'input' || name === 'data')) {
      throw this.#fault('shadowing', `\`${name}\` cannot be shadowed`, span)
    }
  }

  #someIn(
    literal: Extract<Literal, { kind: 'someIn' }>,
    withs: readonly ResolvedWith[],
    scope: Scope,
  ): ResolvedLiteral {
    const collection = this.#term(literal.collection, scope)
    this.#refuseHopelessIteration(literal, literal.collection)
    if (literal.key) this.#declarePattern(literal.key, scope, 'some')
    this.#declarePattern(literal.value, scope, 'some')
    const key = literal.key && this.#term(literal.key, scope, true)
    const value = this.#term(literal.value, scope, true)
    return { kind: 'someIn', key, value, collection, withs, span: literal.span }
  }

  /** A scalar cannot be iterated, and an array pattern cannot fit arrays that all have another length. */
  #refuseHopelessIteration(literal: Extract<Literal, { kind: 'someIn' }>, collection: Term): void {
    if (collection.kind === 'constant') {
      throw this.#fault('syntax', '`some … in` needs an array, an object or a set', collection.span)
    }
    const { value } = literal
    if (value.kind !== 'array' || collection.kind !== 'array' || collection.items.length === 0) return
    const fits = collection.items.some(
      (item) => item.kind !== 'array' || item.items.length === value.items.length,
    )
    if (!fits) throw this.#fault('syntax', 'the pattern has another length than every element', value.span)
  }

  #every(
    literal: Extract<Literal, { kind: 'every' }>,
    withs: readonly ResolvedWith[],
    scope: Scope,
  ): ResolvedLiteral {
    const domain = this.#term(literal.domain, scope)
    const names = literal.key ? [literal.key, literal.value] : [literal.value]
    const loop = new Scope(scope, scope.slots)
    const [first, second] = names.map(({ name, span }) => {
      if (name === '_') return loop.declare('_', span, false, true)
      this.#refuseReservedName(name, span)
      if (loop.local(name)) throw this.#fault('shadowing', `\`${name}\` is declared twice in one scope`, span)
      const local = loop.declare(name, span, false)
      local.bindable = true
      return local
    }) as [Local, Local | undefined]
    const bodyScope = new Scope(loop, scope.slots, literal.body)
    const body = this.#body(literal.body, bodyScope)
    const key = literal.key ? first : undefined
    const value = literal.key ? (second as Local) : first
    return { kind: 'every', key, value, domain, body, free: loop.free, withs, span: literal.span }
  }

  #with(modifier: WithModifier, scope: Scope): ResolvedWith {
    const { span } = modifier
    const target = this.#mockTarget(modifier, scope)
    const value = this.#mockValue(target, modifier.value, scope)
    if (value.kind === 'function') this.#checkReplacement(modifier, value.target)
    return { target, value, span }
  }

  #mockTarget({ target, span }: WithModifier, scope: Scope): MockTarget {
    const path = constantPath(target)
    const name = target.kind === 'variable' ? target.name : (target.head as Variable).name
    if (name === 'input') {
      const parts = target.kind === 'reference' ? target.path.map((part) => this.#term(part, scope)) : []
      return { kind: 'input', path: parts }
    }
    if (!path) throw this.#fault('syntax', '`with` needs a path of constants', span)
    const dataPath = name === 'data' ? path : undefined
    const group = dataPath ? this.#names.tree.find(dataPath)?.group : undefined
    if (group?.kind === 'function') return this.#functionMock(group)
    if (dataPath) {
      for (let i = 1; i < dataPath.length; i++) {
        const above = this.#names.tree.find(dataPath.slice(0, i))?.group
        if (above) throw this.#fault('syntax', '`with` cannot replace a part of a rule', span)
      }
      this.#names.noteDataMock()
      return { kind: 'data', path: dataPath }
    }
    const callee = this.#findFunction(target)
    if (callee?.kind === 'rule') return this.#functionMock(callee.group)
    if (callee?.kind === 'builtin') return this.#functionMock(callee.builtin.name)
    if (callee) return this.#functionMock(callee.name)
    const rulePath = this.#globalPath(name)
    if (rulePath) {
      this.#names.noteDataMock()
      return { kind: 'data', path: [...rulePath, ...path] }
    }
    throw this.#fault('undefined_name', '`with` replaces `input`, `data`, a function or a builtin', span)
  }

  #functionMock(key: MockKey): MockTarget {
    this.#names.noteMock(key)
    return { kind: 'function', key }
  }

  /** Only a function that takes as many arguments can stand for another. */
  #checkReplacement({ target, span }: WithModifier, replacement: FunctionTarget): void {
    const replaced = this.#findFunction(target)
    if (!replaced || isPrint(replaced) || arityOf(replaced) === arityOf(replacement)) return
    const text = `\`${nameOf(replaced)}\` takes ${arityOf(replaced)} arguments, \`${nameOf(replacement)}\` ${arityOf(replacement)}`
    throw this.#fault('arity', text, span)
  }

  #mockValue(target: MockTarget, value: Term, scope: Scope): MockValue {
    if (target.kind === 'function' && (value.kind === 'variable' || value.kind === 'reference')) {
      const isLocal = value.kind === 'variable' && this.#findLocal(value.name, scope) !== undefined
      const replacement = isLocal ? undefined : this.#findFunction(value)
      if (replacement) {
        this.#note(replacement)
        return { kind: 'function', target: replacement }
      }
    }
    return { kind: 'value', term: this.#term(value, scope) }
  }

  #findLocal(name: string, scope: Scope): Local | undefined {
    for (let s: Scope | undefined = scope; s; s = s.parent) {
      const local = s.local(name)
      if (local) return local
    }
    return undefined
  }

  /** A call as a literal of its own may have one more argument, which is unified with the result. */
  #callWithOutput(
    term: Term,
    scope: Scope,
    mocked: ReadonlySet<MockKey>,
  ): { call: Resolved; result: Resolved } | undefined {
    if (term.kind !== 'call') return undefined
    const target = this.#callee(term, scope, mocked)
    if (!target || isPrint(target) || term.args.length !== arityOf(target) + 1) return undefined
    const args = term.args.map((arg) => this.#term(arg, scope, arg === term.args.at(-1)))
    const result = args.pop() as Resolved
    this.#noteCall(target, args)
    return { call: { kind: 'call', target, args, span: term.span }, result }
  }

  /** `isPattern`: the term stands where unbound variables get bound. */
  #term(term: Term, scope: Scope, isPattern = false, mocked: ReadonlySet<MockKey> = NO_MOCKS): Resolved {
    const { span } = term
    switch (term.kind) {
      case 'constant':
        return { kind: 'constant', value: term.value, span }
      case 'variable':
        return this.#noted(this.#variable(term, scope, isPattern))
      case 'reference':
        return this.#reference(term, scope)
      case 'array':
        return { kind: 'array', items: term.items.map((item) => this.#term(item, scope, isPattern)), span }
      case 'set':
        return { kind: 'set', items: term.items.map((item) => this.#term(item, scope)), span }
      case 'object': {
        const items = term.items.map(
          ([key, value]) => [this.#term(key, scope), this.#term(value, scope, isPattern)] as const,
        )
        return { kind: 'object', items, span }
      }
      case 'comprehension':
        return this.#comprehension(term, scope)
      case 'call':
        return this.#call(term, scope, mocked)
      case 'binary': {
        const left = this.#term(term.left, scope)
        const right = this.#term(term.right, scope)
        this.#names.noteComparison(term.operator, left, right, span)
        return { kind: 'binary', operator: term.operator, left, right, span }
      }
      case 'negative':
        return { kind: 'negative', operand: this.#term(term.operand, scope), span }
      case 'membership': {
        const key = term.key && this.#term(term.key, scope)
        const value = this.#term(term.value, scope)
        return { kind: 'membership', key, value, collection: this.#term(term.collection, scope), span }
      }
      case 'template': {
        const parts = term.parts.map((part) =>
          typeof part === 'string' ? part : this.#templatePart(part, scope),
        )
        return { kind: 'template', parts, span }
      }
    }
  }

  /** `[x | x = term]`: what a template or `print` shows, also when the term is undefined. */
  #allValues(term: Term, scope: Scope): ResolvedComprehension {
    const inner = new Scope(scope, scope.slots)
    const value = this.#term(term, inner)
    return {
      kind: 'comprehension',
      of: 'array',
      key: undefined,
      value,
      body: [],
      free: inner.free,
      span: term.span,
    }
  }

  #templatePart({ term, withs }: TemplateExpression, scope: Scope): ResolvedComprehension {
    if (withs.length === 0) return this.#allValues(term, scope)
    const inner = new Scope(scope, scope.slots)
    const { span } = term
    const local = inner.declare('_', span, false, true)
    const modifiers = withs.map((modifier) => this.#with(modifier, inner))
    const right = this.#term(term, inner)
    const left = { kind: 'local', local, span } as const
    const literal = {
      kind: 'unify',
      negated: false,
      left,
      right,
      free: inner.free,
      withs: modifiers,
      span,
    } as const
    return {
      kind: 'comprehension',
      of: 'array',
      key: undefined,
      value: left,
      body: [literal],
      free: inner.free,
      span,
    }
  }

  #comprehension(term: Extract<Term, { kind: 'comprehension' }>, scope: Scope): ResolvedComprehension {
    const heads = term.key ? [term.key, term.value] : [term.value]
    const inner = new Scope(scope, scope.slots, term.body, heads)
    const body = this.#body(term.body, inner)
    const key = term.key && this.#term(term.key, inner)
    const value = this.#term(term.value, inner)
    return { kind: 'comprehension', of: term.of, key, value, body, free: inner.free, span: term.span }
  }

  #variable({ name, span }: Variable, scope: Scope, isPattern: boolean): Resolved {
    if (name === '_') return { kind: 'local', local: scope.declare('_', span, true, true), span }
    const local = this.#lookup(name, span, scope)
    if (local) {
      if (isPattern) local.bindable = true
      return { kind: 'local', local, span }
    }
    return this.#globalReference(name, span) as ResolvedReference
  }

  /** The local of that name; undefined when the name is global. */
  #lookup(name: string, span: Span, scope: Scope): Local | undefined {
    let isDeclaredLater = false
    for (let s: Scope | undefined = scope; s; s = s.parent) {
      const local = s.local(name)
      if (local) {
        for (let below: Scope | undefined = scope; below !== s; below = below?.parent) below?.free.add(local)
        return local
      }
      if (s.willDeclare.has(name)) {
        if (s === scope) {
          throw this.#fault(
            'unsafe_variable',
            `\`${name}\` is used before it is declared; move the declaration up`,
            span,
          )
        }
        isDeclaredLater = true
      }
    }
    if (!isDeclaredLater && this.#globalReference(name, span)) return undefined
    return this.#implicit(name, span, scope)
  }

  /** A name that is used without a declaration belongs to the outermost body that uses it. */
  #implicit(name: string, span: Span, scope: Scope): Local {
    let owner = scope
    for (let s: Scope | undefined = scope; s; s = s.parent) if (s.ownNames.has(name)) owner = s
    const local = owner.declare(name, span, true)
    owner.markUsed(name)
    for (let s: Scope | undefined = scope; s !== owner; s = s?.parent) s?.free.add(local)
    return local
  }

  #globalReference(name: string, span: Span): ResolvedReference | undefined {
    const { ruleNames, dialect } = this.#module
    const isRule = ruleNames.has(name)
    if (name === 'input' && !(dialect === 'v0' && isRule))
      return { kind: 'reference', base: 'input', path: [], span }
    if (name === 'data' && !(dialect === 'v0' && isRule)) return this.#data([], span)
    const path = this.#globalPath(name)
    if (path)
      return this.#data(
        path.map((value) => ({ kind: 'constant', value, span })),
        span,
      )
    const imported = this.#module.imports.get(name)
    if (!imported) return undefined
    const [root, ...rest] = imported
    const parts = rest.map((value): Resolved => ({ kind: 'constant', value, span }))
    return root === 'input'
      ? { kind: 'reference', base: 'input', path: parts, span }
      : this.#data(parts, span)
  }

  /** The path of a rule of the module's own package. */
  #globalPath(name: string): readonly Value[] | undefined {
    return this.#module.ruleNames.has(name) ? [...this.#module.packagePath, name] : undefined
  }

  #data(path: readonly Resolved[], span: Span): ResolvedReference {
    return { kind: 'reference', base: 'data', path, span }
  }

  #reference(term: Reference, scope: Scope): Resolved {
    const path = term.path.map((part) => this.#term(part, scope, true))
    // the path as a whole says which rules are needed, not the name that it starts with
    const head =
      term.head.kind === 'variable' ? this.#variable(term.head, scope, false) : this.#term(term.head, scope)
    const reference: ResolvedReference =
      head.kind === 'reference'
        ? { kind: 'reference', base: head.base, path: [...head.path, ...path], span: term.span }
        : { kind: 'reference', base: head, path, span: term.span }
    return this.#noted(reference)
  }

  #noted(term: Resolved): Resolved {
    if (term.kind === 'reference' && term.base === 'data') this.#noteDataReference(term.path)
    return term
  }

  /** Records which rules a path under `data` can reach. */
  #noteDataReference(path: readonly Resolved[]): void {
    if (!this.#group) return
    for (const place of placesRead(this.#names.tree, path)) {
      if (place.group?.kind !== 'function') this.#group.dependencies.add(place)
    }
  }

  #call(term: Extract<Term, { kind: 'call' }>, scope: Scope, mocked: ReadonlySet<MockKey>): Resolved {
    const target = this.#callee(term, scope, mocked)
    const { span } = term
    if (isPrint(target)) {
      return { kind: 'call', target, args: term.args.map((arg) => this.#allValues(arg, scope)), span }
    }
    const arity = arityOf(target)
    if (term.args.length !== arity) {
      throw this.#fault(
        'arity',
        `\`${nameOf(target)}\` takes ${arity} arguments, not ${term.args.length}`,
        span,
      )
    }
    const args = term.args.map((arg) => this.#term(arg, scope))
    this.#noteCall(target, args)
    return { kind: 'call', target, args, span }
  }

  #noteCall(target: FunctionTarget, args: readonly Resolved[]): void {
    this.#note(target)
    if (target.kind === 'external') this.#names.noteExternal(target, args)
  }

  #note(target: FunctionTarget): void {
    if (target.kind === 'rule') this.#group?.dependencies.add(target.group)
    if (target.kind === 'external' && this.#group) this.#group.reachesExternal = true
  }

  #callee(term: Extract<Term, { kind: 'call' }>, scope: Scope, mocked: ReadonlySet<MockKey>): FunctionTarget {
    const head = term.callee.kind === 'variable' ? term.callee : (term.callee.head as Variable)
    const target = this.#findLocal(head.name, scope) ? undefined : this.#findFunction(term.callee)
    if (!target) {
      throw this.#fault('unknown_function', `there is no function \`${calleeText(term.callee)}\``, term.span)
    }
    if (target.kind === 'builtin' && target.builtin.tier === 4 && !mocked.has(target.builtin.name)) {
      this.#refuseForbidden(target.builtin, term.span)
    }
    return target
  }

  /** Forbidden builtins can only be called where some `with` may replace them. */
  #refuseForbidden(builtin: Builtin, span: Span): void {
    this.#names.noteForbidden(
      builtin.name,
      this.#fault('forbidden_builtin', `\`${builtin.name}\` ${FORBIDDEN}`, span).diagnostic,
    )
  }

  #findFunction(callee: Variable | Reference): FunctionTarget | undefined {
    const first = callee.kind === 'variable' ? callee.name : (callee.head as Variable).name
    const rest = constantPath(callee)
    if (!rest) return undefined
    const imported = this.#module.imports.get(first)
    if (imported && imported[0] === 'data') return this.#functionAt([...imported.slice(1), ...rest])
    const local =
      this.#module.ruleNames.has(first) && this.#functionAt([...this.#module.packagePath, first, ...rest])
    if (local) return local
    if (first === 'data') return this.#functionAt(rest)
    const name = [first, ...rest].join('.')
    const external = this.#names.externals.get(name)
    if (external) return external
    const builtin = this.#names.builtins.get(name)
    return builtin && { kind: 'builtin', builtin }
  }

  #functionAt(path: readonly Value[]): FunctionTarget | undefined {
    const group = this.#names.tree.find(path)?.group
    return group?.kind === 'function' || group?.isNullary ? { kind: 'rule', group } : undefined
  }
}

const NO_MOCKS: ReadonlySet<MockKey> = new Set()

function constantPath(callee: Variable | Reference): Value[] | undefined {
  if (callee.kind === 'variable') return []
  const path: Value[] = []
  for (const part of callee.path) {
    if (part.kind !== 'constant') return undefined
    path.push(part.value)
  }
  return path
}

function calleeText(callee: Variable | Reference): string {
  return [
    callee.kind === 'variable' ? callee.name : (callee.head as Variable).name,
    ...(constantPath(callee) ?? []),
  ].join('.')
}

/** `print` takes any number of arguments, and has no result that one more of them could stand for. */
function isPrint(target: FunctionTarget): boolean {
  return target.kind === 'builtin' && target.builtin.name === 'print'
}

export function arityOf(target: FunctionTarget): number {
  if (target.kind === 'rule') return target.group.arity
  return target.kind === 'builtin' ? target.builtin.arity : target.arity
}

export function nameOf(target: FunctionTarget): string {
  if (target.kind === 'rule') return target.group.path
  return target.kind === 'builtin' ? target.builtin.name : target.name
}
