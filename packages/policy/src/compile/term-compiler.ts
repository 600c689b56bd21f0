/** Compiles terms to closures that compute values (spec 05 §16). */
import type { Builtin } from '../builtins/builtin.ts'
import { chargeText } from '../builtins/encoding.ts'
import { PolicyEvaluationError, type SourceLocation } from '../errors.ts'
import type { Context } from '../evaluate/context.ts'
import {
  advance,
  type Cursor,
  callRule,
  completeRule,
  documentAtPath,
  finish,
  nodeDocument,
  rootCursor,
} from '../evaluate/documents.ts'
import type { Span } from '../syntax/source.ts'
import { toJsonText } from '../values/json.ts'
import { printValue, regoNotation } from '../values/print.ts'
import {
  isArray,
  kindOf,
  lookup,
  type MapKey,
  mapKey,
  ObjectBuilder,
  RegoObject,
  RegoSet,
  type Value,
} from '../values/value.ts'
import { isEntry, isMember, OPERATIONS, OPERATOR_NAMES, type Operation } from './operators.ts'
import type { Evaluator, Frame, Step } from './plan-types.ts'
import type { Bound, Planner, PlanningContext } from './planner.ts'
import { Blocked } from './planner.ts'
import type {
  ExternalFunction,
  FunctionTarget,
  Local,
  Resolved,
  ResolvedCall,
  ResolvedReference,
} from './resolved.ts'
import type { RuleGroup, RuleNode } from './rule-tree.ts'

function locationOf(span: Span): SourceLocation {
  return span.source.locate(span.start)
}

/** The value of a term that needs nothing to be known, else undefined. */
export function constantOf(term: Resolved): Value | undefined {
  if (term.kind === 'constant') return term.value
  if (term.kind === 'array') return constantsOf(term.items)
  if (term.kind === 'set') {
    const items = constantsOf(term.items)
    return items && RegoSet.of(items)
  }
  if (term.kind !== 'object') return undefined
  const builder = new ObjectBuilder()
  for (const [k, v] of term.items) {
    const key = constantOf(k)
    const value = constantOf(v)
    // two values for one key are an error when the term is evaluated
    if (key === undefined || value === undefined || builder.get(key) !== undefined) return undefined
    builder.set(key, value)
  }
  return builder.build()
}

function constantsOf(terms: readonly Resolved[]): Value[] | undefined {
  const values: Value[] = []
  for (const term of terms) {
    const value = constantOf(term)
    if (value === undefined) return undefined
    values.push(value)
  }
  return values
}

export class TermCompiler {
  readonly #shared: PlanningContext
  readonly #planner: Planner

  constructor(shared: PlanningContext, planner: Planner) {
    this.#shared = shared
    this.#planner = planner
  }

  compile(term: Resolved, bound: Bound, steps: Step[]): Evaluator {
    const constant = constantOf(term)
    if (constant !== undefined) return () => constant
    switch (term.kind) {
      case 'constant': {
        const { value } = term
        return () => value
      }
      case 'local': {
        if (!bound.has(term.local)) throw new Blocked(term.local)
        const { slot } = term.local
        return (f) => f.slots[slot] as Value | undefined
      }
      case 'reference':
        return this.#tracedReference(term, bound, steps)
      case 'array':
        return makeArray(this.#all(term.items, bound, steps))
      case 'set':
        return makeSet(this.#all(term.items, bound, steps))
      case 'object':
        return this.#object(term, bound, steps)
      case 'comprehension':
        return this.#planner.comprehension(term, bound)
      case 'call':
        return this.#call(term, bound, steps)
      case 'binary': {
        const [left, right] = this.#all([term.left, term.right], bound, steps) as [Evaluator, Evaluator]
        return operate(OPERATIONS[term.operator], OPERATOR_NAMES[term.operator], left, right, term.span)
      }
      case 'negative': {
        const operand = this.compile(term.operand, bound, steps)
        return operate(OPERATIONS['-'], 'minus', () => 0, operand, term.span)
      }
      case 'membership':
        return this.#membership(term, bound, steps)
      case 'template':
        return this.#template(term, bound)
    }
  }

  #all(terms: readonly Resolved[], bound: Bound, steps: Step[]): Evaluator[] {
    const compiled = new Array<Evaluator | undefined>(terms.length)
    // a term may need what another one binds, as in `x == xs[x]`
    let waiting = terms.map((_, i) => i)
    while (waiting.length > 0) {
      const blocked: { index: number; local: Local }[] = []
      for (const index of waiting) {
        const local = this.#planner.attempt(steps, bound, (layer, own) => {
          compiled[index] = this.compile(terms[index] as Resolved, layer, own)
        })
        if (local) blocked.push({ index, local })
      }
      const retry = blocked.filter(({ local }) => bound.has(local))
      const [stuck] = blocked
      if (stuck && retry.length === 0) throw new Blocked(stuck.local)
      waiting = blocked.map(({ index }) => index)
    }
    return compiled as Evaluator[]
  }

  #object(term: Resolved & { kind: 'object' }, bound: Bound, steps: Step[]): Evaluator {
    const all = this.#all(term.items.flat(), bound, steps)
    const keys = all.filter((_, i) => i % 2 === 0)
    const values = all.filter((_, i) => i % 2 === 1)
    return makeObject(keys, values, term.span)
  }

  #membership(term: Resolved & { kind: 'membership' }, bound: Bound, steps: Step[]): Evaluator {
    const key = term.key && this.compile(term.key, bound, steps)
    const value = this.compile(term.value, bound, steps)
    const constant = constantOf(term.collection)
    if (!key && isArray(constant) && constant.length > 4) {
      const members = RegoSet.of(constant)
      return (f) => {
        const v = value(f)
        return v === undefined ? undefined : members.has(v)
      }
    }
    const collection = this.compile(term.collection, bound, steps)
    return (f) => {
      const k = key ? key(f) : null
      const v = value(f)
      const c = collection(f)
      if (k === undefined || v === undefined || c === undefined) return undefined
      return key ? isEntry(k, v, c) : isMember(v, c, f.context)
    }
  }

  #template(term: Resolved & { kind: 'template' }, bound: Bound): Evaluator {
    const parts = term.parts.map((part) =>
      typeof part === 'string' ? part : this.#planner.comprehension(part, bound),
    )
    const location = locationOf(term.span)
    return (f) => {
      let text = ''
      for (const part of parts) {
        const shown =
          typeof part === 'string' ? part : templateText(part(f) as readonly Value[], f.context, location)
        f.context.growString(text.length + shown.length)
        text += shown
      }
      return text
    }
  }

  #tracedReference(term: ResolvedReference, bound: Bound, steps: Step[]): Evaluator {
    const evaluate = this.#reference(term, bound, steps)
    return this.#shared.trace?.reference(term, term.span, evaluate) ?? evaluate
  }

  #reference(term: ResolvedReference, bound: Bound, steps: Step[]): Evaluator {
    if (term.base === 'data') return this.#dataReference(term, bound, steps)
    const base: Evaluator =
      term.base === 'input' ? (f) => f.context.level.input : this.compile(term.base, bound, steps)
    return this.#path(base, term.path, bound, steps, term)
  }

  /** Follows a path into a value. */
  #path(
    base: Evaluator,
    path: readonly Resolved[],
    bound: Bound,
    steps: Step[],
    whole?: ResolvedReference,
  ): Evaluator {
    let at = base
    for (let i = 0; i < path.length; ) {
      const keys: Value[] = []
      for (; i < path.length; i++) {
        const key = constantOf(path[i] as Resolved)
        if (key === undefined) break
        keys.push(key)
      }
      if (keys.length > 0) at = followConstants(at, keys)
      else {
        const key = path[i++] as Resolved
        at = this.#planner.binds(key, bound)
          ? this.#planner.iteration(this.#tracedPart(at, key, whole), key, bound, steps)
          : follow(at, this.compile(key, bound, steps))
      }
    }
    return at
  }

  /** An iteration hides that what it goes over is undefined. */
  #tracedPart(at: Evaluator, key: Resolved, whole: ResolvedReference | undefined): Evaluator {
    const { trace } = this.#shared
    if (!trace || !whole) return at
    const part = whole.path.slice(0, whole.path.indexOf(key))
    const span = { ...whole.span, end: part.at(-1)?.span.end ?? whole.span.start }
    return trace.reference({ ...whole, path: part, span }, span, at)
  }

  #dataReference(term: ResolvedReference, bound: Bound, steps: Step[]): Evaluator {
    const { path } = term
    let node: RuleNode = this.#shared.tree.root
    const prefix: Value[] = []
    for (const part of path) {
      const key = part.kind === 'constant' ? part.value : undefined
      const child = node.isPlain && key !== undefined ? node.child(key) : undefined
      if (!child) break
      prefix.push(key as Value)
      node = child
    }
    const rest = path.slice(prefix.length)
    const [next] = rest
    if (!node.isPlain || !next) return this.#path(this.#document(node, prefix), rest, bound, steps)
    if (next.kind === 'constant') return this.#baseReference(prefix, rest, bound, steps)
    if (node.children.size === 0) return this.#path(this.#document(node, prefix), rest, bound, steps)
    return this.#throughRules(node, prefix, rest, bound, steps)
  }

  /** The document of a place that the path reaches with constants only. */
  #document(node: RuleNode, prefix: readonly Value[]): Evaluator {
    const group = node.group
    const direct: Evaluator =
      group?.kind === 'complete'
        ? (f) => completeRule(f.context, group)
        : (f) => nodeDocument(f.context, node, baseAt(f.context, prefix), undefined)
    if (!this.#shared.dataIsReplaced) return direct
    return (f) => (f.context.level.overrides ? documentAtPath(f.context, prefix) : direct(f))
  }

  /** A path that leaves the rules at a constant: only base data can be there. */
  #baseReference(
    prefix: readonly Value[],
    rest: readonly Resolved[],
    bound: Bound,
    steps: Step[],
  ): Evaluator {
    const keys = [...prefix]
    let i = 0
    for (; i < rest.length; i++) {
      const part = rest[i] as Resolved
      if (part.kind !== 'constant') break
      keys.push(part.value)
    }
    return this.#path((f) => baseAt(f.context, keys), rest.slice(i), bound, steps)
  }

  /** A path with a variable at a place where rules lie below: decided when it runs. */
  #throughRules(
    node: RuleNode,
    prefix: readonly Value[],
    rest: readonly Resolved[],
    bound: Bound,
    steps: Step[],
  ): Evaluator {
    let at = this.#cursor(node, prefix)
    for (const key of rest) {
      if (this.#planner.binds(key, bound)) at = this.#planner.cursorIteration(at, key, bound, steps)
      else {
        const from = at
        const keyOf = this.compile(key, bound, steps)
        at = (f) => {
          const start = from(f)
          if (start === undefined) return undefined
          const k = keyOf(f)
          f.context.tick()
          return k === undefined ? undefined : advance(f.context, start, k)
        }
      }
    }
    const last = at
    return (f) => finish(f.context, last(f))
  }

  #cursor(_node: RuleNode, prefix: readonly Value[]): (f: Frame) => Cursor | Value | undefined {
    return (f) => {
      let place: Cursor | Value | undefined = rootCursor(f.context)
      for (const key of prefix) {
        if (place === undefined) return undefined
        place = advance(f.context, place, key)
      }
      return place
    }
  }

  #call(term: ResolvedCall, bound: Bound, steps: Step[]): Evaluator {
    const { target, span } = term
    if (target.kind === 'builtin' && target.builtin.name === 'print') return this.#print(term, bound)
    const args = this.#all(term.args, bound, steps)
    const direct = callTarget(target, args, span)
    const key =
      target.kind === 'rule' ? target.group : target.kind === 'builtin' ? target.builtin.name : target.name
    if (key === 'walk') return this.#planner.relation(direct, steps)
    if (!this.#shared.mocked.has(key)) return direct
    return (f) => {
      const mock = f.context.level.mocks?.get(key)
      return mock ? callMock(f, mock, args, span) : direct(f)
    }
  }

  #print(term: ResolvedCall, bound: Bound): Evaluator {
    const args = term.args.map((arg) => {
      if (arg.kind !== 'comprehension')
        throw new TypeError('arguments of print are resolved as comprehensions')
      return this.#planner.comprehension(arg, bound)
    })
    const { file, line } = locationOf(term.span)
    return (f) => {
      const { context } = f
      context.tick()
      if (context.prints)
        printAll(
          context,
          `${file}:${line}:`,
          args.map((arg) => arg(f) as readonly Value[]),
        )
      return true
    }
  }
}

/** One line for each combination of the values of the arguments. */
function printAll(context: Context, start: string, args: readonly (readonly Value[])[]): void {
  let lines = [start]
  for (const values of args) {
    chargeText(values, context)
    const shown = values.length === 0 ? ['<undefined>'] : values.map(printValue)
    context.charge(lines.length * shown.length)
    lines = lines.flatMap((line) => shown.map((text) => `${line} ${text}`))
  }
  for (const line of lines) context.print(line)
}

function templateText(values: readonly Value[], context: Context, location: SourceLocation): string {
  chargeText(values, context)
  const [value, another] = values
  if (another !== undefined) {
    throw new PolicyEvaluationError(
      'conflict',
      'an expression in a template string has more than one value',
      { location },
    )
  }
  if (value === undefined) return '<undefined>'
  return typeof value === 'string' ? value : regoNotation(value)
}

function baseAt(context: Context, keys: readonly Value[]): Value | undefined {
  let v: Value | undefined = context.level.base
  for (const key of keys) {
    // as upstream, a number literal in a path of base data finds the member that is spelled like it
    const at: Value | undefined = lookup(v, key)
    v = at === undefined && typeof key === 'number' && v instanceof RegoObject ? v.get(String(key)) : at
    if (v === undefined) return undefined
  }
  return v
}

/** A mock runs without other mocks in force. */
function callMock(
  f: Frame,
  mock: { kind: 'value'; value: Value } | { kind: 'function'; target: FunctionTarget },
  args: readonly Evaluator[],
  span: Span,
): Value | undefined {
  const values = evaluateAll(f, args)
  if (!values) return undefined
  if (mock.kind === 'value') return mock.value
  const { context } = f
  const level = context.level
  context.level = level.unmocked()
  const result = applyTarget(context, mock.target, values, span)
  context.level = level
  return result
}

export function applyTarget(
  context: Context,
  target: FunctionTarget,
  values: readonly Value[],
  span: Span,
): Value | undefined {
  if (target.kind === 'rule') return callRule(context, target.group, values)
  if (target.kind === 'external') return callExternal(context, target, values, locationOf(span))
  return callBuiltin(context, target.builtin, values, locationOf(span))
}

function callBuiltin(
  context: Context,
  builtin: Builtin,
  values: readonly Value[],
  location: SourceLocation,
): Value | undefined {
  context.tick()
  try {
    return builtin.call(values, context)
  } catch (error) {
    return context.builtinFailed(error, builtin.name, location)
  }
}

function callExternal(
  context: Context,
  target: ExternalFunction,
  values: readonly Value[],
  location: SourceLocation,
): Value | undefined {
  context.tick()
  values.forEach((value, i) => {
    const expected = target.argumentKinds?.[i]
    const actual = kindOf(value)
    if (expected === undefined || expected === actual) return
    throw new PolicyEvaluationError(
      'builtin',
      `${target.name}: argument ${i + 1} must be ${expected} but is ${actual}`,
      {
        location,
        builtin: { name: target.name, argument: i + 1, expected, actual },
      },
    )
  })
  return context.askExternal(target.name, values, location)
}

function callTarget(target: FunctionTarget, args: readonly Evaluator[], span: Span): Evaluator {
  if (target.kind === 'rule') return callGroup(target.group, args)
  const location = locationOf(span)
  if (target.kind === 'external') {
    return (f) => {
      const values = evaluateAll(f, args)
      return values && callExternal(f.context, target, values, location)
    }
  }
  const { builtin } = target
  const [first, second] = args as [Evaluator, Evaluator]
  if (args.length === 1) {
    return (f) => {
      const a = first(f)
      return a === undefined ? undefined : callBuiltin(f.context, builtin, [a], location)
    }
  }
  if (args.length === 2) {
    return (f) => {
      const a = first(f)
      if (a === undefined) return undefined
      const b = second(f)
      return b === undefined ? undefined : callBuiltin(f.context, builtin, [a, b], location)
    }
  }
  return (f) => {
    const values = evaluateAll(f, args)
    return values && callBuiltin(f.context, builtin, values, location)
  }
}

function callGroup(group: RuleGroup, args: readonly Evaluator[]): Evaluator {
  if (args.length === 0) return (f) => callRule(f.context, group, [])
  return (f) => {
    const values = evaluateAll(f, args)
    if (!values) return undefined
    f.context.tick()
    return callRule(f.context, group, values)
  }
}

function evaluateAll(f: Frame, evaluators: readonly Evaluator[]): Value[] | undefined {
  const values: Value[] = new Array(evaluators.length)
  let isDefined = true
  for (let i = 0; i < evaluators.length; i++) {
    const v = (evaluators[i] as Evaluator)(f)
    if (v !== undefined) values[i] = v
    // a round that lacks answers goes on so that it asks for all of them
    else if (f.context.misses === 0) return undefined
    else isDefined = false
  }
  return isDefined ? values : undefined
}

function operate(
  operation: Operation,
  name: string,
  left: Evaluator,
  right: Evaluator,
  span: Span,
): Evaluator {
  let location: SourceLocation | undefined
  return (f) => {
    const a = left(f)
    if (a === undefined && f.context.misses === 0) return undefined
    const b = right(f)
    if (a === undefined || b === undefined) return undefined
    try {
      return operation(a, b, f.context)
    } catch (error) {
      location ??= locationOf(span)
      return f.context.builtinFailed(error, name, location)
    }
  }
}

function follow(base: Evaluator, key: Evaluator): Evaluator {
  return (f) => {
    const v = base(f)
    if (v === undefined) return undefined
    const k = key(f)
    return k === undefined ? undefined : lookup(v, k)
  }
}

function followConstants(base: Evaluator, keys: readonly Value[]): Evaluator {
  const mapKeys = keys.map(mapKey)
  const step = (v: Value | undefined, i: number): Value | undefined =>
    v instanceof RegoObject ? v.getByMapKey(mapKeys[i] as MapKey) : lookup(v, keys[i] as Value)
  if (keys.length === 1) return (f) => step(base(f), 0)
  if (keys.length === 2) return (f) => step(step(base(f), 0), 1)
  if (keys.length === 3) return (f) => step(step(step(base(f), 0), 1), 2)
  return (f) => {
    let v = base(f)
    for (let i = 0; i < keys.length && v !== undefined; i++) v = step(v, i)
    return v
  }
}

function makeArray(items: readonly Evaluator[]): Evaluator {
  return (f) => {
    f.context.grow(16 * items.length + 16)
    return evaluateAll(f, items)
  }
}

function makeSet(items: readonly Evaluator[]): Evaluator {
  return (f) => {
    f.context.grow(48 * items.length + 48)
    const members = evaluateAll(f, items)
    return members && RegoSet.of(members)
  }
}

function makeObject(keys: readonly Evaluator[], values: readonly Evaluator[], span: Span): Evaluator {
  return (f) => {
    f.context.grow(64 * keys.length + 64)
    const ks = evaluateAll(f, keys)
    const vs = evaluateAll(f, values)
    if (!ks || !vs) return undefined
    const builder = new ObjectBuilder()
    for (let i = 0; i < ks.length; i++) {
      const key = ks[i] as Value
      const value = vs[i] as Value
      const known = builder.get(key)
      if (known !== undefined && toJsonText(known) !== toJsonText(value)) {
        throw new PolicyEvaluationError('conflict', 'object keys must be unique', {
          location: locationOf(span),
        })
      }
      builder.set(key, value)
    }
    return builder.build()
  }
}
