/** From modules to a compiled unit: rule tree, resolution, checks, planning (spec 05 §7, §16). */
import type { Builtin } from '../builtins/builtin.ts'
import type { PolicyDiagnostic } from '../errors.ts'
import type { CompileLimits } from '../limits.ts'
import type { Body, Dialect, Module, Reference, Rule, Term, Variable } from '../syntax/ast.ts'
import { parseModule } from '../syntax/parser.ts'
import { DiagnosticError, Source } from '../syntax/source.ts'
import type { Value } from '../values/value.ts'
import { compileDefinition } from './definition.ts'
import { checkRecursion, markReachingExternals } from './dependencies.ts'
import { externalReach } from './external-reach.ts'
import type { CompiledDefinition } from './plan-types.ts'
import type { PlanningContext } from './planner.ts'
import { type CompiledQuery, compileQuery } from './query.ts'
import type { ExternalFunction, MockKey, ResolvedDefinition } from './resolved.ts'
import { type ModuleNames, type Names, Resolver } from './resolver.ts'
import { type GroupKind, type RuleGroup, RuleTree } from './rule-tree.ts'
import { constantOf } from './term-compiler.ts'
import { TraceSites } from './trace-sites.ts'

/** Elements of a package path or of a rule head. */
const MAX_PATH = 64
/** Findings reported for one module. */
const MAX_DIAGNOSTICS = 20
/** Attempts to plan a literal or a part of one, in one compilation. */
const MAX_ATTEMPTS = 2_000_000

export interface UnitOptions {
  readonly dialect: Dialect
  readonly builtins: ReadonlyMap<string, Builtin>
  readonly externals: ReadonlyMap<string, ExternalFunction>
  readonly limits: CompileLimits
  /** Compiles for tracing. */
  readonly traceable?: boolean
}

export interface ExternalUse {
  readonly name: string
  readonly args: readonly (Value | undefined)[]
}

/** A definition of a rule after name resolution. */
export interface PendingRule {
  readonly group: RuleGroup
  readonly definition: ResolvedDefinition
  readonly isDefault: boolean
}

/** What a compilation produces. `errors` is empty when the unit can run. */
export class Unit {
  readonly tree = new RuleTree()
  readonly modules: Module[] = []
  readonly errors: PolicyDiagnostic[] = []
  readonly warnings: PolicyDiagnostic[] = []
  readonly externalUses: ExternalUse[] = []
  readonly options: UnitOptions
  readonly #moduleNames = new Map<Module, ModuleNames>()
  readonly #ruleNames = new Map<string, Set<string>>()
  readonly #pending: PendingRule[] = []
  readonly #mocked = new Set<MockKey>()
  readonly #forbidden: { name: string; diagnostic: PolicyDiagnostic }[] = []
  #dataIsReplaced = false
  readonly trace: TraceSites | undefined

  constructor(options: UnitOptions) {
    this.options = options
    this.trace = options.traceable ? new TraceSites() : undefined
  }

  /** All definitions after name resolution, for static checks. */
  get resolvedRules(): readonly PendingRule[] {
    return this.#pending
  }

  compile(sources: readonly { file: string; text: string }[]): this {
    const { limits, dialect } = this.options
    if (sources.length > limits.modules) {
      this.#report(
        new Source('', '').diagnostic(
          'source_limit',
          `more than ${limits.modules} modules in a compilation`,
          0,
        ),
      )
      return this
    }
    for (const { file, text } of sources) {
      const parsed = parseModule(new Source(file, text), dialect, limits)
      if ('errors' in parsed) for (const found of parsed.errors) this.#report(found)
      else this.modules.push(parsed.module)
    }
    if (this.errors.length === 0) this.#link()
    this.#sortErrors()
    return this
  }

  /** By module, then by place. */
  #sortErrors(): void {
    const order = new Map(this.modules.map(({ source }, i) => [source.file, i]))
    this.errors.sort(
      ({ location: a }, { location: b }) =>
        (order.get(a.file) ?? 0) - (order.get(b.file) ?? 0) || a.line - b.line || a.column - b.column,
    )
  }

  /** Keeps the first findings of each module, each once. */
  #report(diagnostic: PolicyDiagnostic): void {
    const { file, line, column } = diagnostic.location
    const own = this.errors.filter(({ location }) => location.file === file)
    const isKnown = own.some(({ code, location }) => {
      return code === diagnostic.code && location.line === line && location.column === column
    })
    if (own.length < MAX_DIAGNOSTICS && !isKnown) this.errors.push(diagnostic)
  }

  /** Rules with a fault of their own are left out, so that the others are checked to the end too. */
  #link(): void {
    this.#buildTree()
    if (this.errors.length > 0) return
    this.#checkTree()
    this.#resolve()
    checkRecursion(this.tree.groups, (diagnostic) => this.#report(diagnostic))
    markReachingExternals(this.tree)
    this.#guard(() => this.#plan())
  }

  #guard(run: () => void): void {
    try {
      run()
    } catch (error) {
      if (!(error instanceof DiagnosticError)) throw error
      this.#report(error.diagnostic)
    }
  }

  #buildTree(): void {
    let rules = 0
    for (const module of this.modules) {
      const { packagePath, rules: moduleRules, imports } = module
      for (let i = 0; i <= packagePath.length; i++) this.tree.make(packagePath.slice(0, i)).isPackage = true
      const key = JSON.stringify(packagePath)
      const ruleNames = this.#ruleNames.get(key) ?? new Set<string>()
      this.#ruleNames.set(key, ruleNames)
      this.#moduleNames.set(module, {
        packagePath,
        ruleNames,
        imports: new Map(imports.map(({ alias, path }) => [alias, path])),
        dialect: module.dialect,
      })
      rules += moduleRules.length
      for (const rule of moduleRules) this.#guard(() => this.#addRule(module, rule, ruleNames))
    }
    if (rules > this.options.limits.rules) {
      const { source } = this.modules[0] as Module
      this.#report(source.diagnostic('source_limit', `more than ${this.options.limits.rules} rules`, 0))
    }
  }

  #addRule(module: Module, rule: Rule, ruleNames: Set<string>): void {
    const { span } = rule
    const fault = (code: PolicyDiagnostic['code'], message: string) =>
      module.source.error(code, message, span.start)
    const { name, path } = headOf(rule)
    if (module.dialect === 'v1' && (name === 'input' || name === 'data')) {
      throw fault('shadowing', `\`${name}\` cannot be shadowed by a rule`)
    }
    if (name === '_') throw fault('syntax', '`_` cannot be the name of a rule')
    const ground = groundPrefix(path)
    const full: Value[] = [...module.packagePath, name, ...ground]
    if (full.length > MAX_PATH || path.length > MAX_PATH)
      throw fault('source_limit', 'the path of the rule is too long')
    const kind = kindOfRule(rule, ground.length < path.length)
    if (kind === 'dynamic' && (rule.isDefault || rule.args)) {
      throw fault(
        rule.isDefault ? 'bad_default' : 'syntax',
        'the head of this rule must not contain variables',
      )
    }
    ruleNames.add(name)
    const node = this.tree.make(full)
    const group = node.group ?? this.tree.addGroup(kind, node, rule.args?.length ?? 0)
    if (group.kind !== kind)
      throw fault('conflicting_rules', `\`${group.path}\` is defined as rules of different kinds`)
    if (group.kind === 'function' && group.arity !== rule.args?.length) {
      throw fault('conflicting_rules', `\`${group.path}\` is defined with different numbers of arguments`)
    }
    if (rule.args?.length === 0) group.isNullary = true
    if (!rule.isDefault) group.sources.push({ rule, module })
    else if (group.defaultSource) throw fault('conflicting_rules', `\`${group.path}\` has two defaults`)
    else group.defaultSource = { rule, module }
  }

  /** Rules must not lie below complete rules, sets or functions. */
  #checkTree(): void {
    for (const { group, children } of this.tree.nodes) {
      if (!group || group.kind === 'dynamic' || children.size === 0) continue
      const { source, start } = group.span
      const hasRules = [...children.values()].some(
        (child) => child.group || child.children.size > 0 || child.isPackage,
      )
      if (hasRules) {
        this.#report(
          source.diagnostic(
            'conflicting_rules',
            `\`${group.path}\` is a rule and also the path to other rules`,
            start,
          ),
        )
      }
    }
  }

  #names(): Names {
    return {
      tree: this.tree,
      builtins: this.options.builtins,
      externals: this.options.externals,
      report: (diagnostic) => this.#report(diagnostic),
      noteExternal: (target, args) =>
        this.externalUses.push({ name: target.name, args: args.map(constantOf) }),
      noteMock: (key) => this.#mocked.add(key),
      noteDataMock: () => {
        this.#dataIsReplaced = true
      },
      noteForbidden: (name, diagnostic) => this.#forbidden.push({ name, diagnostic }),
      noteComparison: (operator, left, right, span) => {
        const isBare = [left, right].some((side) => side.kind === 'call' && side.target.kind === 'external')
        if (!isBare || !/[=<>]/.test(operator)) return
        this.warnings.push(
          span.source.diagnostic(
            'null_comparison',
            `an unknown reference value is null, and null is less than everything else and equal to a null claim; ` +
              `use \`in\`, a type check, or bind the value and test \`!= null\` before \`${operator}\``,
            span.start,
          ),
        )
      },
    }
  }

  #resolve(): void {
    let faults = 0
    const own = this.#names()
    const names: Names = {
      ...own,
      report: (diagnostic) => {
        faults++
        own.report(diagnostic)
      },
    }
    for (const group of this.tree.groups) {
      const all = group.defaultSource ? [...group.sources, group.defaultSource] : group.sources
      for (const { rule, module } of all) {
        this.#guard(() => {
          const resolver = new Resolver(names, this.#moduleNames.get(module) as ModuleNames, group)
          if (rule.isDefault) checkDefault(rule)
          const suffixFrom = groundPrefix(headOf(rule).path).length
          const before = faults
          const definition = resolver.definition(rule, suffixFrom)
          if (faults > before) return
          this.#pending.push({ group, definition, isDefault: rule.isDefault })
        })
      }
    }
    for (const { name, diagnostic } of this.#forbidden) if (!this.#mocked.has(name)) this.#report(diagnostic)
  }

  #planningContext(): PlanningContext {
    let attempts = 0
    return {
      spend: () => {
        if (++attempts <= MAX_ATTEMPTS) return
        const [module] = this.modules
        const source = module?.source ?? new Source('', '')
        throw source.error('source_limit', 'the literals are too entangled to be put in order', 0)
      },
      tree: this.tree,
      mocked: this.#mocked,
      dataIsReplaced: this.#dataIsReplaced,
      report: (diagnostic) => this.#report(diagnostic),
      mayMiss: externalReach(this.tree, this.externalUses.length > 0),
      compiled: new Map(),
      conditions: new Map(),
      trace: this.trace,
    }
  }

  #plan(): void {
    const shared = this.#planningContext()
    const definitions = new Map<RuleGroup, CompiledDefinition[]>()
    for (const { group, definition, isDefault } of this.#pending) {
      shared.trace?.enterDefinition(group, isDefault)
      const compiled = compileDefinition(shared, group.kind, definition)
      if (isDefault) group.defaultDefinition = compiled
      else if (definitions.has(group)) definitions.get(group)?.push(compiled)
      else definitions.set(group, [compiled])
    }
    for (const [group, compiled] of definitions) group.definitions = compiled
  }

  /** Compiles a query against this unit. */
  query(body: Body): CompiledQuery {
    const errors: PolicyDiagnostic[] = []
    const mocked = new Set(this.#mocked)
    const names: Names = {
      ...this.#names(),
      report: (diagnostic) => errors.push(diagnostic),
      noteMock: (key) => mocked.add(key),
      noteExternal: () => {},
      noteForbidden: (_name, diagnostic) => errors.push(diagnostic),
      noteComparison: () => {},
    }
    const { dialect } = this.options
    const moduleNames = { packagePath: [], ruleNames: new Set<string>(), imports: new Map(), dialect }
    const resolved = new Resolver(names, moduleNames, undefined).query(body)
    const shared = {
      ...this.#planningContext(),
      mocked,
      report: (found: PolicyDiagnostic) => errors.push(found),
      trace: undefined,
    }
    return compileQuery(shared, resolved, errors)
  }
}

function headOf(rule: Rule): { name: string; path: readonly Term[] } {
  const { head } = rule
  if (head.kind === 'variable') return { name: head.name, path: [] }
  return { name: ((head as Reference).head as Variable).name, path: head.path }
}

function groundPrefix(path: readonly Term[]): Value[] {
  const ground: Value[] = []
  for (const part of path) {
    if (part.kind !== 'constant') break
    ground.push(part.value)
  }
  return ground
}

function kindOfRule(rule: Rule, hasVariables: boolean): GroupKind {
  if (hasVariables) return 'dynamic'
  if (rule.args && rule.args.length > 0) return 'function'
  return rule.member ? 'set' : 'complete'
}

/** A default is known without evaluating anything but comprehensions. */
function checkDefault(rule: Rule): void {
  const [branch] = rule.branches
  for (const arg of rule.args ?? []) {
    if (arg.kind !== 'variable') {
      throw arg.span.source.error(
        'bad_default',
        'arguments of a default function must be variables',
        arg.span.start,
      )
    }
  }
  const names = (rule.args ?? []).map((arg) => (arg as Variable).name).filter((name) => name !== '_')
  if (new Set(names).size !== names.length) {
    const { source, start } = rule.span
    throw source.error('bad_default', 'arguments of a default function must differ', start)
  }
  if (branch?.value) checkDefaultValue(branch.value)
}

function checkDefaultValue(term: Term): void {
  switch (term.kind) {
    case 'constant':
    case 'comprehension':
      return
    case 'array':
    case 'set':
      for (const item of term.items) checkDefaultValue(item)
      return
    case 'object':
      for (const [key, value] of term.items) {
        checkDefaultValue(key)
        checkDefaultValue(value)
      }
      return
    default: {
      const { source, start } = term.span
      throw source.error(
        'bad_default',
        `a default value must not contain a ${term.kind}; only constants and comprehensions`,
        start,
      )
    }
  }
}
