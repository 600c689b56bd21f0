/** The graph of which rule needs which: recursion, and what reaches an external builtin (spec 05 §7). */
import type { PolicyDiagnostic } from '../errors.ts'
import { type RuleGroup, RuleNode, type RuleTree } from './rule-tree.ts'

/** A rule, or a place that stands for all rules at and below it. */
type Vertex = RuleGroup | RuleNode

function needsOf(vertex: Vertex): Iterator<Vertex> {
  return vertex instanceof RuleNode ? vertex.dependenciesOfDocument() : vertex.dependencies.values()
}

/** Reports one diagnostic for each cycle of rules (Tarjan's components, without recursion). */
export function checkRecursion(
  groups: readonly RuleGroup[],
  report: (diagnostic: PolicyDiagnostic) => void,
): void {
  const index = new Map<Vertex, number>()
  const low = new Map<Vertex, number>()
  const onStack = new Set<Vertex>()
  const stack: Vertex[] = []
  const visit = (root: Vertex): void => {
    const work = [open(root)]
    for (let top = work.at(-1); top; top = work.at(-1)) {
      const next = top.needs.next()
      if (!next.done) {
        const seen = index.get(next.value)
        if (seen === undefined) work.push(open(next.value))
        else if (onStack.has(next.value)) lower(top.vertex, seen)
        continue
      }
      work.pop()
      const caller = work.at(-1)
      if (caller) lower(caller.vertex, low.get(top.vertex) as number)
      if (low.get(top.vertex) === index.get(top.vertex)) close(top.vertex)
    }
  }
  const open = (vertex: Vertex) => {
    index.set(vertex, index.size)
    low.set(vertex, index.get(vertex) as number)
    stack.push(vertex)
    onStack.add(vertex)
    return { vertex, needs: needsOf(vertex) }
  }
  const lower = (vertex: Vertex, to: number): void => {
    low.set(vertex, Math.min(low.get(vertex) as number, to))
  }
  const close = (vertex: Vertex): void => {
    const members: Vertex[] = []
    let member: Vertex | undefined
    do {
      member = stack.pop() as Vertex
      onStack.delete(member)
      members.push(member)
    } while (member !== vertex)
    const isCycle = members.length > 1 || (!(vertex instanceof RuleNode) && vertex.dependencies.has(vertex))
    if (isCycle) reportCycle(members, report)
  }
  for (const group of groups) if (!index.has(group)) visit(group)
}

function reportCycle(members: readonly Vertex[], report: (diagnostic: PolicyDiagnostic) => void): void {
  const rules = members.filter((member) => !(member instanceof RuleNode)).reverse() as RuleGroup[]
  const [first] = rules
  if (!first) return
  const names = rules.slice(0, 5).map(({ path }) => `\`${path}\``)
  const { source, start } = first.span
  report(source.diagnostic('recursion', `rules must not depend on themselves: ${names.join(', ')}`, start))
}

/** Spreads `reachesExternal` from each rule to all rules and places that need it. */
export function markReachingExternals(tree: RuleTree): void {
  const dependents = new Map<Vertex, Vertex[]>()
  for (const vertex of [...tree.groups, ...tree.nodes]) {
    const needs = needsOf(vertex)
    for (let next = needs.next(); !next.done; next = needs.next()) {
      const known = dependents.get(next.value)
      if (known) known.push(vertex)
      else dependents.set(next.value, [vertex])
    }
  }
  const work: Vertex[] = tree.groups.filter((group) => group.reachesExternal)
  for (let vertex = work.pop(); vertex; vertex = work.pop()) {
    for (const dependent of dependents.get(vertex) ?? []) {
      if (dependent.reachesExternal) continue
      dependent.reachesExternal = true
      work.push(dependent)
    }
  }
}
