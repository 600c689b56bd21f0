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
  /** Rules that are called, and places whose documents are read. */
  readonly dependencies = new Set<RuleGroup | RuleNode>()
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
  /** A rule at or below this place reaches an external builtin. */
  reachesExternal = false
  #sortedChildren: readonly RuleNode[] | undefined

  constructor(id: number, path: readonly Value[]) {
    this.id = id
    this.path = path
  }

  get key(): Value {
    return this.path.at(-1) as Value
  }

  /** What the document of this place consists of: its own rule, unless that is a function, and what lies below. */
  *dependenciesOfDocument(): Generator<RuleGroup | RuleNode> {
    if (this.group && this.group.kind !== 'function') yield this.group
    yield* this.children.values()
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
  /** How often paths with variables were followed to a child. */
  expansions = 0

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

/** After so many steps a path with variables counts as reading all that lies below its constant start. */
const MAX_EXPANSIONS = 500_000

/**
 * The places whose documents a path under `data` reads; what is not constant matches every child. The places
 * stand for all rules at and below them.
 */
export function placesRead(
  tree: RuleTree,
  path: readonly { kind: string; value?: unknown }[],
): readonly RuleNode[] {
  const found: RuleNode[] = []
  let frontier: RuleNode[] = [tree.root]
  for (const [i, part] of path.entries()) {
    // a variable at the end reads the whole document before it
    if (part.kind !== 'constant' && i === path.length - 1) break
    const next: RuleNode[] = []
    for (const node of frontier) {
      if (node.group) found.push(node)
      else if (part.kind === 'constant')
        next.push(...[node.child(part.value as Value)].filter((c) => c !== undefined))
      else if (tree.expansions > MAX_EXPANSIONS) found.push(node)
      else {
        tree.expansions += node.children.size
        next.push(...node.children.values())
      }
    }
    frontier = next
  }
  return [...found, ...frontier]
}
