/** The graph of which rule needs which: recursion, and what reaches an external builtin (spec 05 §7). */
import type { PolicyDiagnostic } from '../errors.ts'
import type { RuleGroup } from './rule-tree.ts'

/** Reports one diagnostic for each cycle of rules (Tarjan's components, without recursion). */
export function checkRecursion(
  groups: readonly RuleGroup[],
  report: (diagnostic: PolicyDiagnostic) => void,
): void {
  const index = new Map<RuleGroup, number>()
  const low = new Map<RuleGroup, number>()
  const onStack = new Set<RuleGroup>()
  const stack: RuleGroup[] = []
  const visit = (root: RuleGroup): void => {
    const work = [open(root)]
    for (let top = work.at(-1); top; top = work.at(-1)) {
      const next = top.dependencies.next()
      if (!next.done) {
        const seen = index.get(next.value)
        if (seen === undefined) work.push(open(next.value))
        else if (onStack.has(next.value)) lower(top.group, seen)
        continue
      }
      work.pop()
      const caller = work.at(-1)
      if (caller) lower(caller.group, low.get(top.group) as number)
      if (low.get(top.group) === index.get(top.group)) close(top.group)
    }
  }
  const open = (group: RuleGroup) => {
    index.set(group, index.size)
    low.set(group, index.get(group) as number)
    stack.push(group)
    onStack.add(group)
    return { group, dependencies: group.dependencies.values() }
  }
  const lower = (group: RuleGroup, to: number): void => {
    low.set(group, Math.min(low.get(group) as number, to))
  }
  const close = (group: RuleGroup): void => {
    const members: RuleGroup[] = []
    let member: RuleGroup | undefined
    do {
      member = stack.pop() as RuleGroup
      onStack.delete(member)
      members.push(member)
    } while (member !== group)
    if (members.length === 1 && !group.dependencies.has(group)) return
    const { source, start } = group.span
    const names = members.slice(0, 5).map(({ path }) => `\`${path}\``)
    report(source.diagnostic('recursion', `rules must not depend on themselves: ${names.join(', ')}`, start))
  }
  for (const group of groups) if (!index.has(group)) visit(group)
}

/** Spreads `reachesExternal` from each rule to all rules that need it. */
export function markReachingExternals(groups: readonly RuleGroup[]): void {
  const dependents = new Map<RuleGroup, RuleGroup[]>()
  for (const group of groups) {
    for (const needed of group.dependencies) {
      const known = dependents.get(needed)
      if (known) known.push(group)
      else dependents.set(needed, [group])
    }
  }
  const work = groups.filter((group) => group.reachesExternal)
  for (let group = work.pop(); group; group = work.pop()) {
    for (const dependent of dependents.get(group) ?? []) {
      if (dependent.reachesExternal) continue
      dependent.reachesExternal = true
      work.push(dependent)
    }
  }
}
