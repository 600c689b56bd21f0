/** Evaluates rules and the documents below `data`, once for each set of replacements (spec 05 §6). */
import type { CompiledDefinition } from '../compile/plan-types.ts'
import { Frame } from '../compile/plan-types.ts'
import type { RuleGroup, RuleNode } from '../compile/rule-tree.ts'
import { PolicyEvaluationError } from '../errors.ts'
import {
  canonicalText,
  compareValues,
  EMPTY_OBJECT,
  equalValues,
  lookup,
  type MapKey,
  mapKey,
  ObjectBuilder,
  RegoObject,
  RegoSet,
  sortValues,
  type Value,
} from '../values/value.ts'
import { type Context, UNDEFINED } from './context.ts'
import type { Overrides } from './overrides.ts'

/** The value of a complete rule. */
export function completeRule(context: Context, group: RuleGroup): Value | undefined {
  const cache = context.level.rules
  const known = cache[group.id]
  if (known !== undefined) return known === UNDEFINED ? undefined : (known as Value)
  context.enter()
  const misses = context.misses
  let result: Value | undefined
  for (const definition of group.definitions)
    result = agree(result, runDefinition(context, definition, []), definition)
  if (result === undefined && context.misses === misses && group.defaultDefinition) {
    result = runDefinition(context, group.defaultDefinition, [])
  }
  context.leave()
  cache[group.id] = result === undefined ? UNDEFINED : result
  return result
}

function agree(
  a: Value | undefined,
  b: Value | undefined,
  definition: CompiledDefinition,
): Value | undefined {
  if (a === undefined) return b
  if (b === undefined || equalValues(a, b)) return a
  throw new PolicyEvaluationError('conflict', 'complete rules and functions must not have different values', {
    location: definition.location,
  })
}

/** The first branch of the `else` chain that succeeds counts. */
function runDefinition(
  context: Context,
  definition: CompiledDefinition,
  args: readonly Value[],
): Value | undefined {
  if (definition.constant !== undefined) return definition.constant
  const frame = new Frame(context, definition.slotCount)
  for (let i = 0; i < args.length; i++) frame.slots[i] = args[i]
  const misses = context.misses
  for (const branch of definition.branches) {
    branch.run(frame)
    if (frame.result !== undefined) return frame.result as Value
    if (context.misses !== misses) return undefined
  }
  return undefined
}

/** The value of a function for its arguments. */
export function callRule(context: Context, group: RuleGroup, args: readonly Value[]): Value | undefined {
  if (group.isNullary) return completeRule(context, group)
  const level = context.level
  let cache = level.functions[group.id]
  if (!cache) {
    cache = new Map()
    level.functions[group.id] = cache
  }
  const key = args.length === 1 ? mapKey(args[0] as Value) : canonicalText(args)
  if (typeof key === 'string') context.charge(key.length / 256)
  const known = cache.get(key)
  if (known !== undefined) return known === UNDEFINED ? undefined : (known as Value)
  context.enter()
  const misses = context.misses
  let result: Value | undefined
  for (const definition of group.definitions) {
    result = agree(result, runDefinition(context, definition, args), definition)
  }
  if (result === undefined && context.misses === misses && group.defaultDefinition) {
    result = runDefinition(context, group.defaultDefinition, args)
  }
  context.leave()
  context.grow(64 + (typeof key === 'string' ? key.length : 0))
  cache.set(key, result === undefined ? UNDEFINED : result)
  return result
}

/** The set of a partial rule with a ground head. */
function partialSet(context: Context, group: RuleGroup): RegoSet {
  const cache = context.level.rules
  const known = cache[group.id]
  if (known !== undefined) return known as RegoSet
  context.enter()
  const members = new Map<MapKey, Value>()
  for (const definition of group.definitions) {
    const frame = new Frame(context, definition.slotCount)
    frame.result = members
    for (const branch of definition.branches) branch.run(frame)
  }
  context.leave()
  const set = new RegoSet(members)
  cache[group.id] = set
  return set
}

/** Gathers what rules with general reference heads say about one document. */
export class DocumentBuilder {
  #children: Map<MapKey, { key: Value; document: DocumentBuilder }> | undefined
  #members: Map<MapKey, Value> | undefined
  #value: Value | undefined

  #conflict(definition: CompiledDefinition | undefined): PolicyEvaluationError {
    return new PolicyEvaluationError(
      'conflict',
      'object keys must be unique: two rules give different values to one key',
      {
        location: definition?.location,
      },
    )
  }

  #at(path: readonly Value[], definition: CompiledDefinition | undefined): DocumentBuilder {
    let document: DocumentBuilder = this
    for (const key of path) {
      if (document.#value !== undefined || document.#members) throw this.#conflict(definition)
      document.#children ??= new Map()
      const at = mapKey(key)
      let child = document.#children.get(at)
      if (!child) {
        child = { key, document: new DocumentBuilder() }
        document.#children.set(at, child)
      }
      document = child.document
    }
    return document
  }

  /** Puts a value at a path; nothing else may stand there, above or below. */
  put(path: readonly Value[], value: Value, definition?: CompiledDefinition): void {
    const document = this.#at(path, definition)
    if (document.#children || document.#members) throw this.#conflict(definition)
    if (document.#value === undefined) document.#value = value
    else if (!equalValues(document.#value, value)) throw this.#conflict(definition)
  }

  /** Adds a member to the set at a path. */
  add(path: readonly Value[], member: Value, definition?: CompiledDefinition): void {
    const document = this.#at(path, definition)
    if (document.#children || document.#value !== undefined) throw this.#conflict(definition)
    document.#members ??= new Map()
    document.#members.set(mapKey(member), member)
  }

  build(): Value {
    if (this.#value !== undefined) return this.#value
    if (this.#members) return new RegoSet(this.#members)
    const builder = new ObjectBuilder()
    for (const { key, document } of this.#children?.values() ?? []) builder.set(key, document.build())
    return builder.build()
  }
}

/** Where results of a rule with a general reference head go. */
export interface DocumentTarget {
  readonly builder: DocumentBuilder
  readonly prefix: readonly Value[]
  readonly definition: CompiledDefinition
  /** A branch has given a result, so the `else` branches after it do not count. */
  hasResult: boolean
}

function collect(context: Context, node: RuleNode, prefix: readonly Value[], builder: DocumentBuilder): void {
  const group = node.group
  if (group?.kind === 'complete') {
    const value = completeRule(context, group)
    if (value !== undefined) builder.put(prefix, value)
  } else if (group?.kind === 'set') {
    for (const member of partialSet(context, group).members()) builder.add(prefix, member)
  } else if (group?.kind === 'dynamic') {
    for (const definition of group.definitions) {
      const frame = new Frame(context, definition.slotCount)
      const target: DocumentTarget = { builder, prefix, definition, hasResult: false }
      frame.result = target
      for (const branch of definition.branches) if (!target.hasResult) branch.run(frame)
    }
  }
  for (const child of node.sortedChildren(compareValues))
    collect(context, child, [...prefix, child.key], builder)
}

function dynamicDocument(context: Context, node: RuleNode): Value {
  context.enter()
  const builder = new DocumentBuilder()
  collect(context, node, [], builder)
  context.leave()
  return builder.build()
}

/** A place below `data` that is not, or not only, a value: rules live at or below it. */
export class Cursor {
  readonly node: RuleNode
  readonly base: Value | undefined
  readonly overrides: Overrides | undefined

  constructor(node: RuleNode, base: Value | undefined, overrides: Overrides | undefined) {
    this.node = node
    this.base = base
    this.overrides = overrides
  }
}

export function rootCursor(context: Context): Cursor | Value {
  const { base, overrides } = context.level
  return place(context.tree.root, base, overrides) as Cursor | Value
}

/** A cursor as long as rules below may matter, else the value. */
function place(
  node: RuleNode | undefined,
  base: Value | undefined,
  overrides: Overrides | undefined,
): Cursor | Value | undefined {
  if (overrides?.value !== undefined) return overrides.value
  return node ? new Cursor(node, base, overrides) : base
}

/** One key further. */
export function advance(context: Context, from: Cursor | Value, key: Value): Cursor | Value | undefined {
  if (!(from instanceof Cursor)) return lookup(from, key)
  const { node, base, overrides } = from
  if (!node.isPlain) {
    const value = documentAt(context, from)
    return value === undefined ? undefined : lookup(value, key)
  }
  return place(node.child(key), lookup(base, key), overrides?.child(key))
}

/** The keys that `advance` may find something at, in order. */
export function keysAt(context: Context, from: Cursor | Value): readonly Value[] {
  const value = from instanceof Cursor && from.node.isPlain ? from.base : finish(context, from)
  const keys = collectionKeys(value)
  if (!(from instanceof Cursor) || !from.node.isPlain) return keys
  const all = new Map<MapKey, Value>()
  for (const key of keys) all.set(mapKey(key), key)
  for (const [at, child] of from.node.children) if (child.group?.kind !== 'function') all.set(at, child.key)
  return sortValues([...all.values()])
}

function collectionKeys(value: Value | undefined): readonly Value[] {
  if (value instanceof RegoObject) return value.keys()
  if (value instanceof RegoSet) return value.members()
  return Array.isArray(value) ? [...value.keys()] : []
}

/** The value of the place. */
export function finish(context: Context, from: Cursor | Value | undefined): Value | undefined {
  return from instanceof Cursor ? documentAt(context, from) : from
}

function documentAt(context: Context, at: Cursor): Value | undefined {
  return nodeDocument(context, at.node, at.base, at.overrides)
}

/** The document at a node: rules below it merged with base data. Functions are not part of it. */
export function nodeDocument(
  context: Context,
  node: RuleNode,
  base: Value | undefined,
  overrides: Overrides | undefined,
): Value | undefined {
  if (overrides?.value !== undefined) return overrides.value
  const kind = node.group?.kind
  if (kind === 'complete') return completeRule(context, node.group as RuleGroup)
  if (kind === 'set') return partialSet(context, node.group as RuleGroup)
  if (kind === 'function') return undefined
  const cache = context.level.nodes
  const known = cache[node.id]
  if (known !== undefined) return known as Value
  const document =
    kind === 'dynamic' ? dynamicDocument(context, node) : plainDocument(context, node, base, overrides)
  cache[node.id] = document
  return document
}

function plainDocument(
  context: Context,
  node: RuleNode,
  base: Value | undefined,
  overrides: Overrides | undefined,
): Value {
  const object = base instanceof RegoObject ? base : EMPTY_OBJECT
  if (node.children.size === 0) return object
  const builder = new ObjectBuilder(object)
  context.growCollection(object.size + node.children.size)
  for (const child of node.sortedChildren(compareValues)) {
    const key = child.key
    const value = nodeDocument(context, child, object.get(key), overrides?.child(key))
    if (value !== undefined) builder.set(key, value)
  }
  return builder.build()
}

/** The document at a ground path, replacements respected. */
export function documentAtPath(context: Context, path: readonly Value[]): Value | undefined {
  let place: Cursor | Value | undefined = rootCursor(context)
  for (const key of path) {
    if (place === undefined) return undefined
    place = advance(context, place, key)
  }
  return finish(context, place)
}
