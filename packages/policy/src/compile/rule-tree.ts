/** The tree of rules by path: what is defined where below `data` (spec 05 §4 item 2, §6 item 9). */
import type { Module, Rule } from '../syntax/ast.ts'
import type { Span } from '../syntax/source.ts'
import type { CompiledDefinition } from './plan-types.ts'
import { type MapKey, mapKey, toDisplayPath, type Value } from './rule-path.ts'

export type GroupKind = 'complete' | 'function' | 'set' | 'dynamic'

export interface RuleSource {
  readonly rule: Rule
  readonly module: Module
}

/** All definitions of one rule; `dynamic` rules have variables in their head reference. */
export class RuleGroup {
  readonly id: number
  readonly kind: GroupKind
  readonly node: RuleNode
  readonly sources: RuleSource[] = []
  defaultSource: RuleSource | undefined
  readonly arity: number
  readonly dependencies = new Set<RuleGroup>()
  /** An external builtin is called here or in a rule that this one needs. */
  reachesExternal = false
  /** A function without arguments: a complete rule that can be called too. */
  isNullary = false
  definitions: readonly CompiledDefinition[] = []
  defaultDefinition: CompiledDefinition | undefined

  constructor(id: number, kind: GroupKind, node: RuleNode, arity: number) {
    this.id = id
    this.kind = kind
    this.node = node
    this.arity = arity
  }

  get path(): string {
    return toDisplayPath(this.node.path)
  }

  get span(): Span {
    return ((this.sources[0] ?? this.defaultSource) as RuleSource).rule.span
  }
}

/** A place below `data`; plain when it only has children. */
export class RuleNode {
  readonly id: number
  readonly path: readonly Value[]
  readonly children = new Map<MapKey, RuleNode>()
  group: RuleGroup | undefined
  isPackage = false
  #sortedChildren: readonly RuleNode[] | undefined

  constructor(id: number, path: readonly Value[]) {
    this.id = id
    this.path = path
  }

  get key(): Value {
    return this.path.at(-1) as Value
  }

  child(key: Value): RuleNode | undefined {
    return this.children.get(mapKey(key))
  }

  /** Nothing but a step on the way to rules. */
  get isPlain(): boolean {
    return this.group === undefined
  }

  sortedChildren(compare: (a: Value, b: Value) => number): readonly RuleNode[] {
    this.#sortedChildren ??= [...this.children.values()].sort((a, b) => compare(a.key, b.key))
    return this.#sortedChildren
  }
}

export class RuleTree {
  readonly root: RuleNode
  readonly groups: RuleGroup[] = []
  readonly nodes: RuleNode[] = []

  constructor() {
    this.root = this.#node([])
  }

  #node(path: readonly Value[]): RuleNode {
    const node = new RuleNode(this.nodes.length, path)
    this.nodes.push(node)
    return node
  }

  /** The node at a path, made where it is missing. */
  make(path: readonly Value[]): RuleNode {
    let node = this.root
    for (let i = 0; i < path.length; i++) {
      const key = mapKey(path[i] as Value)
      let child = node.children.get(key)
      if (!child) {
        child = this.#node(path.slice(0, i + 1))
        node.children.set(key, child)
      }
      node = child
    }
    return node
  }

  find(path: readonly Value[]): RuleNode | undefined {
    let node: RuleNode | undefined = this.root
    for (const key of path) node = node?.child(key)
    return node
  }

  addGroup(kind: GroupKind, node: RuleNode, arity: number): RuleGroup {
    const group = new RuleGroup(this.groups.length, kind, node, arity)
    this.groups.push(group)
    node.group = group
    return group
  }
}

/** All groups at and below a node, without functions. */
export function* documentsBelow(node: RuleNode): Generator<RuleGroup> {
  const stack = [node]
  for (let next = stack.pop(); next; next = stack.pop()) {
    if (next.group && next.group.kind !== 'function') yield next.group
    stack.push(...next.children.values())
  }
}

/** All rules whose documents a path under `data` can touch; what is not constant matches every child. */
export function reachableRules(
  tree: RuleTree,
  path: readonly { kind: string; value?: unknown }[],
): Set<RuleGroup> {
  const found = new Set<RuleGroup>()
  let frontier: RuleNode[] = [tree.root]
  for (const part of path) {
    const next: RuleNode[] = []
    for (const node of frontier) {
      if (node.group && node.group.kind !== 'function')
        for (const group of documentsBelow(node)) found.add(group)
      else if (part.kind !== 'constant') next.push(...node.children.values())
      else next.push(...[node.child(part.value as Value)].filter((child) => child !== undefined))
    }
    frontier = next
  }
  for (const node of frontier) for (const group of documentsBelow(node)) found.add(group)
  return found
}
