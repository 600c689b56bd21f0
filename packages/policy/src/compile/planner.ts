/** Orders the literals of a body and compiles them to closures (spec 05 §6 items 11, §16). */

import type { PolicyDiagnostic } from '../errors.ts'
import { PolicyEvaluationError } from '../errors.ts'
import type { Context } from '../evaluate/context.ts'
import { advance, type Cursor, keysAt } from '../evaluate/documents.ts'
import type { Span } from '../syntax/source.ts'
import { equalValues, isArray, lookup, mapKey, RegoObject, RegoSet, type Value } from '../values/value.ts'
import { compileMocks } from './mocks.ts'
import type { Continuation, Evaluator, Frame, Step } from './plan-types.ts'
import type { Local, MockKey, Resolved, ResolvedComprehension, ResolvedLiteral } from './resolved.ts'
import type { RuleTree } from './rule-tree.ts'
import type { SlotAllocator } from './scope.ts'
import { assign, chain, iterate, test, tolerant, truth } from './steps.ts'
import { TermCompiler } from './term-compiler.ts'
import type { TraceSites } from './trace-sites.ts'

/** Thrown while planning when a variable that is needed is not bound yet. */
export class Blocked {
  readonly local: Local

  constructor(local: Local) {
    this.local = local
  }
}

/** The locals that are bound at a point of a body; layers can be dropped. */
export class Bound {
  readonly #parent: Bound | undefined
  readonly #own = new Set<Local>()

  constructor(parent?: Bound) {
    this.#parent = parent
  }

  has(local: Local): boolean {
    for (let b: Bound | undefined = this; b; b = b.#parent) if (b.#own.has(local)) return true
    return false
  }

  add(local: Local): void {
    this.#own.add(local)
  }

  /** Keeps what a layer above this one has bound; returns it. */
  absorb(layer: Bound): Iterable<Local> {
    for (const local of layer.#own) this.#own.add(local)
    return layer.#own
  }
}

/** What all bodies of one compilation share. */
export interface PlanningContext {
  readonly tree: RuleTree
  /** Functions that some `with` replaces. */
  readonly mocked: ReadonlySet<MockKey>
  /** Some `with` replaces a document under `data`. */
  readonly dataIsReplaced: boolean
  readonly report: (diagnostic: PolicyDiagnostic) => void
  /** Counts an attempt to plan something; throws when there were too many. */
  readonly spend: () => void
  /** The literal may reach an external builtin. */
  readonly mayMiss: (literal: ResolvedLiteral | Resolved) => boolean
  /** Comprehensions compile once however often planning is retried. */
  readonly compiled: Map<object, Evaluator>
  /** Closures of negations and `every` bodies. */
  readonly conditions: Map<object, Continuation>
  /** Only where the policy is compiled for tracing. */
  readonly trace?: TraceSites | undefined
}

const succeed: Continuation = () => true

export class Planner {
  readonly #shared: PlanningContext
  readonly #slots: SlotAllocator
  readonly #terms: TermCompiler

  constructor(shared: PlanningContext, slots: SlotAllocator) {
    this.#shared = shared
    this.#slots = slots
    this.#terms = new TermCompiler(shared, this)
  }

  newSlot(): number {
    return this.#slots.next()
  }

  /** Plans a whole body; variables that stay unbound are reported, and the body then has no steps. */
  body(literals: readonly ResolvedLiteral[], bound: Bound): Step[] {
    const steps: Step[] = []
    const ready = new IndexHeap(literals.length)
    const waiting = new Map<Local, number[]>()
    for (let i = ready.pop(); i >= 0; i = ready.pop()) {
      const literal = literals[i] as ResolvedLiteral
      const blocked = this.attempt(
        steps,
        bound,
        (layer, own) => this.#tracedLiteral(literal, layer, own),
        (local) => {
          for (const woken of waiting.get(local) ?? []) ready.push(woken)
          waiting.delete(local)
        },
      )
      if (!blocked) continue
      const others = waiting.get(blocked)
      if (others) others.push(i)
      else waiting.set(blocked, [i])
    }
    for (const local of waiting.keys()) this.reportUnbound(local)
    return waiting.size > 0 ? [] : steps
  }

  reportUnbound(local: Local): void {
    const { span, name } = local
    const isUnknown = local.implicit && !local.bindable
    const message = isUnknown
      ? `\`${name}\` is not defined: no variable, rule, import or builtin has this name`
      : `the variable \`${name}\` is unsafe: nothing binds it`
    this.#shared.report(
      span.source.diagnostic(isUnknown ? 'undefined_name' : 'unsafe_variable', message, span.start),
    )
  }

  /** Runs a planning function on a layer; keeps its work, or drops it and returns what blocked it. */
  attempt(
    steps: Step[],
    bound: Bound,
    plan: (layer: Bound, steps: Step[]) => void,
    onBound?: (local: Local) => void,
  ): Local | undefined {
    const layer = new Bound(bound)
    const own: Step[] = []
    this.#shared.spend()
    try {
      plan(layer, own)
    } catch (error) {
      if (error instanceof Blocked) return error.local
      throw error
    }
    for (const step of own) steps.push(step)
    for (const local of bound.absorb(layer)) onBound?.(local)
    return undefined
  }

  #tracedLiteral(literal: ResolvedLiteral, bound: Bound, steps: Step[]): void {
    const { trace } = this.#shared
    if (!trace) this.#literal(literal, bound, steps)
    else trace.literal(literal, steps, () => this.#literal(literal, bound, steps))
  }

  #literal(literal: ResolvedLiteral, bound: Bound, steps: Step[]): void {
    const own: Step[] = []
    if ((literal.kind === 'test' || literal.kind === 'unify') && literal.negated) {
      this.#negation(literal, bound, own)
    } else if (literal.withs.length > 0) {
      this.#replaced(literal, bound, own)
    } else {
      this.#plain(literal, bound, own)
    }
    const mayMiss = this.#shared.mayMiss(literal)
    for (const step of own) steps.push(mayMiss ? tolerant(step, this.newSlot()) : step)
  }

  #plain(literal: ResolvedLiteral, bound: Bound, steps: Step[]): void {
    switch (literal.kind) {
      case 'test':
        steps.push(truth(this.term(literal.term, bound, steps)))
        break
      case 'unify':
        this.unify(literal.left, literal.right, bound, steps)
        break
      case 'someIn':
        this.#someIn(literal, bound, steps)
        break
      case 'every':
        steps.push(this.#every(literal, bound, steps))
    }
  }

  /** Blocks until all free variables of a closure are bound. */
  requireBound(free: Iterable<Local>, bound: Bound): void {
    for (const local of free) if (!bound.has(local)) throw new Blocked(local)
  }

  #negation(literal: ResolvedLiteral & { kind: 'test' | 'unify' }, bound: Bound, steps: Step[]): void {
    this.requireBound(literal.free, bound)
    for (const { value, target } of literal.withs) {
      if (value.kind === 'value') this.#requireTermBound(value.term, bound)
      if (target.kind === 'input') for (const part of target.path) this.#requireTermBound(part, bound)
    }
    let condition = this.#shared.conditions.get(literal)
    if (!condition) {
      const inner: Step[] = []
      const layer = new Bound(bound)
      if (literal.withs.length > 0) this.#replaced(literal, layer, inner)
      else this.#plain(literal, layer, inner)
      condition = chain(inner, succeed)
      this.#shared.conditions.set(literal, condition)
    }
    const holds = condition
    steps.push(
      test((f) => {
        f.context.tick()
        return !holds(f)
      }),
    )
  }

  #requireTermBound(term: Resolved, bound: Bound): void {
    this.term(term, new Bound(bound), [])
  }

  #every(literal: ResolvedLiteral & { kind: 'every' }, bound: Bound, steps: Step[]): Step {
    const domain = this.term(literal.domain, bound, steps)
    this.requireBound(literal.free, bound)
    const { key, value } = literal
    let condition = this.#shared.conditions.get(literal)
    if (!condition) {
      const layer = new Bound(bound)
      if (key) layer.add(key)
      layer.add(value)
      condition = chain(this.body(literal.body, layer), succeed)
      this.#shared.conditions.set(literal, condition)
    }
    const holds = condition
    // stops, that is succeeds as a search, at the first entry for which the body does not hold
    const domainSlot = this.newSlot()
    const search = iterate((f) => f.slots[domainSlot] as Value, key ? key.slot : -1, value.slot)
    const findCounterexample = (search as Extract<Step, { kind: 'branch' }>).bind((f) => !holds(f))
    return test((f) => {
      f.context.tick()
      const c = domain(f)
      if (!isArray(c) && !(c instanceof RegoObject) && !(c instanceof RegoSet)) return false
      f.slots[domainSlot] = c
      return !findCounterexample(f)
    })
  }

  #someIn(literal: ResolvedLiteral & { kind: 'someIn' }, bound: Bound, steps: Step[]): void {
    const collection = this.term(literal.collection, bound, steps)
    const key = literal.key && this.#target(literal.key, bound)
    const value = this.#target(literal.value, bound)
    steps.push(iterate(collection, key ? key.slot : -1, value.slot))
    if (key?.pattern) this.#unifyWithSlot(key.pattern, key.slot, bound, steps)
    if (value.pattern) this.#unifyWithSlot(value.pattern, value.slot, bound, steps)
  }

  /** The slot that an iteration fills: an unbound local's own, or a fresh one with a pattern to unify. */
  #target(term: Resolved, bound: Bound): { slot: number; pattern?: Resolved } {
    if (term.kind === 'local' && !bound.has(term.local)) {
      bound.add(term.local)
      return { slot: term.local.isWildcard ? -1 : term.local.slot }
    }
    return { slot: this.newSlot(), pattern: term }
  }

  #unifyWithSlot(pattern: Resolved, slot: number, bound: Bound, steps: Step[]): void {
    this.#unifyValue(pattern, (f) => f.slots[slot] as Value | undefined, bound, steps)
  }

  /** A literal under `with`: its own steps run under the replacements, what follows does not. */
  #replaced(literal: ResolvedLiteral, bound: Bound, steps: Step[]): void {
    const replacements = literal.withs.map((modifier) =>
      compileMocks(modifier, (term) => this.term(term, bound, steps)),
    )
    const inner: Step[] = []
    this.#plain(literal, bound, inner)
    const outerSlot = this.newSlot()
    steps.push({
      kind: 'branch',
      bind: (rest) => {
        const run = chain(inner, (f) => {
          const { context } = f
          const replaced = context.level
          context.level = f.slots[outerSlot] as typeof replaced
          const stop = rest(f)
          context.level = replaced
          return stop
        })
        return (f) => {
          const { context } = f
          context.tick()
          const outer = context.level
          let level: typeof outer | undefined = outer
          for (const replace of replacements) {
            level = replace(f, level)
            if (!level) return false
          }
          f.slots[outerSlot] = outer
          context.level = level
          const stop = run(f)
          context.level = outer
          return stop
        }
      },
    })
  }

  /** Unification: binds what is unbound on either side and compares the rest. */
  unify(left: Resolved, right: Resolved, bound: Bound, steps: Step[]): void {
    let pairs: (readonly [Resolved, Resolved])[] = [[left, right]]
    while (pairs.length > 0) {
      const later: (readonly [Resolved, Resolved])[] = []
      let blocked: Local | undefined
      for (const pair of pairs) {
        const more: (readonly [Resolved, Resolved])[] = []
        const waits = this.attempt(steps, bound, (layer, own) =>
          this.#unifyPair(pair[0], pair[1], layer, own, more),
        )
        if (waits) later.push(pair)
        else later.push(...more)
        blocked = waits ?? blocked
      }
      const isProgress = later.length !== pairs.length || later.some((pair, i) => pair !== pairs[i])
      if (!isProgress && blocked) throw new Blocked(blocked)
      pairs = later
    }
  }

  #unifyPair(
    left: Resolved,
    right: Resolved,
    bound: Bound,
    steps: Step[],
    more: (readonly [Resolved, Resolved])[],
  ): void {
    if (left.kind === 'array' && right.kind === 'array') {
      if (left.items.length !== right.items.length) this.#reportMismatch(left.span)
      else for (const [i, item] of left.items.entries()) more.push([item, right.items[i] as Resolved])
      if (left.items.length === 0 && right.items.length === 0) steps.push(truth(() => true))
      return
    }
    if (
      (left.kind === 'array' && right.kind === 'object') ||
      (left.kind === 'object' && right.kind === 'array')
    ) {
      this.#reportMismatch(left.span)
    }
    if (left.kind === 'object' && right.kind === 'object' && this.#unifyObjects(left, right, steps, more))
      return
    if (this.#bindsFrom(left, bound)) this.#unifyTerms(left, right, bound, steps)
    else if (this.#bindsFrom(right, bound)) this.#unifyTerms(right, left, bound, steps)
    else this.#compare(left, right, bound, steps)
  }

  /** Two patterns that cannot fit whatever the variables are. */
  #reportMismatch(span: Span): void {
    this.#shared.report(
      span.source.diagnostic('syntax', 'the two sides have different shapes and never unify', span.start),
    )
  }

  /** Two objects with constant keys are unified member by member. */
  #unifyObjects(
    left: Resolved & { kind: 'object' },
    right: Resolved & { kind: 'object' },
    steps: Step[],
    more: (readonly [Resolved, Resolved])[],
  ): boolean {
    const members = new Map<unknown, Resolved>()
    for (const [key, value] of right.items) {
      if (key.kind !== 'constant') return false
      members.set(mapKey(key.value), value)
    }
    const pairs: (readonly [Resolved, Resolved])[] = []
    for (const [key, value] of left.items) {
      if (key.kind !== 'constant') return false
      const other = members.get(mapKey(key.value))
      if (other) pairs.push([value, other])
    }
    if (pairs.length !== left.items.length || pairs.length !== members.size) steps.push(test(() => false))
    else more.push(...pairs)
    return true
  }

  /** The term is a pattern with something to bind. */
  #bindsFrom(term: Resolved, bound: Bound): boolean {
    if (term.kind === 'local') return !bound.has(term.local)
    if (term.kind === 'array') return term.items.some((item) => this.#bindsFrom(item, bound))
    if (term.kind === 'object') return term.items.some(([, value]) => this.#bindsFrom(value, bound))
    return false
  }

  #unifyTerms(pattern: Resolved, other: Resolved, bound: Bound, steps: Step[]): void {
    // what a variable is unified with may bind that variable, as in `i = xs[i]`
    const [target, source] =
      pattern.kind !== 'local' && other.kind === 'local' && this.#bindsFrom(other, bound)
        ? [other, pattern]
        : [pattern, other]
    this.#unifyValue(target, this.term(source, bound, steps), bound, steps)
  }

  #compare(left: Resolved, right: Resolved, bound: Bound, steps: Step[]): void {
    let a: Evaluator | undefined
    const waits = this.attempt(steps, bound, (layer, own) => {
      a = this.term(left, layer, own)
    })
    const b = this.term(right, bound, steps)
    a ??= this.term(left, bound, steps)
    if (waits && !a) throw new Blocked(waits)
    const first = a
    steps.push(
      test((f) => {
        f.context.tick()
        const x = first(f)
        if (x === undefined) return false
        const y = b(f)
        return y !== undefined && equalValues(x, y)
      }),
    )
  }

  /** Unifies a pattern with a value that is known when the step runs. */
  #unifyValue(pattern: Resolved, value: Evaluator, bound: Bound, steps: Step[]): void {
    if (pattern.kind === 'local' && !bound.has(pattern.local)) {
      bound.add(pattern.local)
      steps.push(assign(pattern.local.slot, value))
    } else if (pattern.kind === 'array' && this.#bindsFrom(pattern, bound)) {
      this.#unifyArray(pattern, value, bound, steps)
    } else if (pattern.kind === 'object' && this.#bindsFrom(pattern, bound)) {
      this.#unifyObject(pattern, value, bound, steps, true)
    } else {
      const expected = this.term(pattern, bound, steps)
      steps.push(
        test((f) => {
          f.context.tick()
          const x = value(f)
          if (x === undefined) return false
          const y = expected(f)
          return y !== undefined && equalValues(x, y)
        }),
      )
    }
  }

  #unifyArray(pattern: Resolved & { kind: 'array' }, value: Evaluator, bound: Bound, steps: Step[]): void {
    const slot = this.newSlot()
    const { length } = pattern.items
    steps.push(
      test((f) => {
        f.context.tick()
        const v = value(f)
        f.slots[slot] = v
        return isArray(v) && v.length === length
      }),
    )
    pattern.items.forEach((item, i) => {
      this.#unifyValue(item, (f) => (f.slots[slot] as readonly Value[] | undefined)?.[i], bound, steps)
    })
  }

  /** `isExact`: an object with further members does not fit. */
  #unifyObject(
    pattern: Resolved & { kind: 'object' },
    value: Evaluator,
    bound: Bound,
    steps: Step[],
    isExact: boolean,
  ): void {
    const slot = this.newSlot()
    const { length } = pattern.items
    steps.push(
      test((f) => {
        f.context.tick()
        const v = value(f)
        f.slots[slot] = v
        return v instanceof RegoObject && (isExact ? v.size === length : v.size >= length)
      }),
    )
    for (const [key, member] of pattern.items) {
      const keyOf = this.term(key, bound, steps)
      const at: Evaluator = (f) => {
        const k = keyOf(f)
        return k === undefined ? undefined : lookup(f.slots[slot] as Value, k)
      }
      if (!isExact) this.argument(member, at, bound, steps)
      else this.#unifyValue(member, at, bound, steps)
    }
  }

  /** An argument pattern; as upstream, object patterns fit objects with further members. */
  argument(pattern: Resolved, value: Evaluator, bound: Bound, steps: Step[]): void {
    if (pattern.kind === 'object') this.#unifyObject(pattern, value, bound, steps, false)
    else if (pattern.kind === 'array') this.#argumentArray(pattern, value, bound, steps)
    else this.#unifyValue(pattern, value, bound, steps)
  }

  #argumentArray(pattern: Resolved & { kind: 'array' }, value: Evaluator, bound: Bound, steps: Step[]): void {
    const { length } = pattern.items
    steps.push(
      test((f) => {
        f.context.tick()
        const v = value(f)
        return isArray(v) && v.length === length
      }),
    )
    pattern.items.forEach((item, i) => {
      this.argument(item, (f) => (value(f) as readonly Value[] | undefined)?.[i], bound, steps)
    })
  }

  /** Compiles a term for its value; references with unbound variables become iterations before it. */
  term(term: Resolved, bound: Bound, steps: Step[]): Evaluator {
    return this.#terms.compile(term, bound, steps)
  }

  /** The closure of a comprehension, compiled once all its free variables are bound. */
  comprehension(term: ResolvedComprehension, bound: Bound): Evaluator {
    this.requireBound(term.free, bound)
    let evaluate = this.#shared.compiled.get(term)
    if (!evaluate) {
      evaluate = this.#compileComprehension(term, bound)
      this.#shared.compiled.set(term, evaluate)
    }
    return evaluate
  }

  #compileComprehension(term: ResolvedComprehension, bound: Bound): Evaluator {
    const layer = new Bound(bound)
    const steps = this.body(term.body, layer)
    const key = term.key && this.result(term.key, layer, steps)
    const value = this.result(term.value, layer, steps)
    const slot = this.newSlot()
    if (term.of === 'array') return collectArray(steps, value, slot)
    if (term.of === 'set') return collectSet(steps, value, slot)
    return collectObject(steps, key as Evaluator, value, slot, term.span)
  }

  /** A term after a body: whatever is still unbound in it is reported. */
  result(term: Resolved, bound: Bound, steps: Step[]): Evaluator {
    let evaluate: Evaluator = () => undefined
    const blocked = this.attempt(steps, bound, (layer, own) => {
      evaluate = this.term(term, layer, own)
    })
    if (blocked) this.reportUnbound(blocked)
    return evaluate
  }

  /** A reference below `data` that meets an unbound variable while rules may still lie below. */
  cursorIteration(
    from: (f: Frame) => Cursor | Value | undefined,
    key: Resolved,
    bound: Bound,
    steps: Step[],
  ): (f: Frame) => Cursor | Value | undefined {
    const { slot: keySlot, pattern } = this.#target(key, bound)
    const slot = keySlot >= 0 ? keySlot : this.newSlot()
    const placeSlot = this.newSlot()
    steps.push({
      kind: 'branch',
      bind: (rest) => (f) => {
        const start = from(f)
        if (start === undefined) return false
        for (const k of keysAt(f.context, start)) {
          f.context.tick()
          const next = advance(f.context, start, k)
          if (next === undefined) continue
          f.slots[slot] = k
          f.slots[placeSlot] = next
          if (rest(f)) return true
        }
        return false
      },
    })
    if (pattern) this.#unifyWithSlot(pattern, slot, bound, steps)
    return (f) => f.slots[placeSlot] as Cursor | Value | undefined
  }

  /** Iterates over a collection at an unbound position of a reference. */
  iteration(collection: Evaluator, key: Resolved, bound: Bound, steps: Step[]): Evaluator {
    const { slot, pattern } = this.#target(key, bound)
    const valueSlot = this.newSlot()
    steps.push(iterate(collection, slot, valueSlot))
    if (pattern) this.#unifyWithSlot(pattern, slot, bound, steps)
    return (f) => f.slots[valueSlot] as Value | undefined
  }

  /** A builtin that is a relation: each element of what it returns is one of its values. */
  relation(all: Evaluator, steps: Step[]): Evaluator {
    const slot = this.newSlot()
    steps.push(iterate(all, -1, slot))
    return (f) => f.slots[slot] as Value | undefined
  }

  /** The position of a reference has a variable to bind. */
  binds(key: Resolved, bound: Bound): boolean {
    return this.#bindsFrom(key, bound)
  }
}

function collectArray(steps: readonly Step[], value: Evaluator, slot: number): Evaluator {
  const run = chain(steps, (f) => {
    const v = value(f)
    if (v === undefined) return false
    const { context } = f
    context.tick()
    context.grow(16)
    const items = f.slots[slot] as Value[]
    if (items.length >= context.limits.collectionSize) context.growCollection(items.length + 1)
    items.push(v)
    return false
  })
  return (f) => {
    const items: Value[] = []
    f.slots[slot] = items
    f.context.enter()
    run(f)
    f.context.leave()
    return items
  }
}

function collectSet(steps: readonly Step[], value: Evaluator, slot: number): Evaluator {
  const run = chain(steps, (f) => {
    const v = value(f)
    if (v === undefined) return false
    const members = f.slots[slot] as Map<unknown, Value>
    growMember(f.context, members.size)
    members.set(mapKey(v), v)
    return false
  })
  return (f) => {
    const members = new Map()
    f.slots[slot] = members
    f.context.enter()
    run(f)
    f.context.leave()
    return new RegoSet(members)
  }
}

export function growMember(context: Context, size: number): void {
  context.tick()
  context.grow(48)
  if (size >= context.limits.collectionSize) context.growCollection(size + 1)
}

function collectObject(
  steps: readonly Step[],
  key: Evaluator,
  value: Evaluator,
  slot: number,
  span: Span,
): Evaluator {
  const run = chain(steps, (f) => {
    const k = key(f)
    const v = value(f)
    if (k === undefined || v === undefined) return false
    const { entries, originals } = f.slots[slot] as {
      entries: Map<unknown, Value>
      originals: Map<string, Value>
    }
    const at = mapKey(k)
    const known = entries.get(at)
    if (known !== undefined && !equalValues(known, v)) {
      throw new PolicyEvaluationError('conflict', 'object keys must be unique', {
        location: span.source.locate(span.start),
      })
    }
    growMember(f.context, entries.size)
    if (typeof k === 'object' && k !== null) originals.set(at as string, k)
    entries.set(at, v)
    return false
  })
  return (f) => {
    const entries = new Map()
    const originals = new Map<string, Value>()
    f.slots[slot] = { entries, originals }
    f.context.enter()
    run(f)
    f.context.leave()
    return new RegoObject(entries, originals)
  }
}

/** Indices 0..n-1, taken smallest first; can be put back. */
class IndexHeap {
  readonly #heap: number[] = []
  #next = 0
  readonly #size: number

  constructor(size: number) {
    this.#size = size
  }

  push(index: number): void {
    const heap = this.#heap
    let i = heap.push(index) - 1
    while (i > 0) {
      const parent = (i - 1) >> 1
      if ((heap[parent] as number) <= index) break
      heap[i] = heap[parent] as number
      i = parent
    }
    heap[i] = index
  }

  /** The smallest index left, or -1. Those never taken come in order, those put back compete with them. */
  pop(): number {
    const top = this.#heap[0]
    if (top === undefined || (this.#next < this.#size && this.#next < top)) {
      return this.#next < this.#size ? this.#next++ : -1
    }
    this.#removeTop()
    return top
  }

  #removeTop(): void {
    const heap = this.#heap
    const last = heap.pop() as number
    if (heap.length === 0) return
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && (heap[child + 1] as number) < (heap[child] as number)) child++
      if ((heap[child] as number) >= last) break
      heap[i] = heap[child] as number
      i = child
    }
    heap[i] = last
  }
}
