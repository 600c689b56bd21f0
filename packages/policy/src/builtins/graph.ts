/** Reachability in graphs given as objects from node to neighbours. */
import type { Context } from '../evaluate/context.ts'
import { isArray, type MapKey, mapKey, type RegoObject, RegoSet, type Value } from '../values/value.ts'
import { type Builtin, listAt, objectAt } from './builtin.ts'

type Call = Builtin['call']

/** Neighbours of a node; undefined when the graph does not know the node. */
function neighbours(graph: RegoObject, node: Value): readonly Value[] | undefined {
  const list = graph.get(node)
  if (list === undefined) return undefined
  if (isArray(list)) return list
  return list instanceof RegoSet ? list.members() : []
}

const reachable: Call = (args, context: Context) => {
  const graph = objectAt(args, 0)
  const found = new Map<MapKey, Value>()
  const work = [...listAt(args, 1)]
  for (let node = work.pop(); node !== undefined; node = work.pop()) {
    context.tick()
    const key = mapKey(node)
    if (found.has(key)) continue
    const next = neighbours(graph, node)
    if (!next) continue
    found.set(key, node)
    for (const neighbour of next) work.push(neighbour)
  }
  context.growCollection(found.size)
  return new RegoSet(found)
}

/**
 * Paths from the start nodes in depth-first order. As in OPA, a node that has been left once ends a path that
 * comes to it again; neighbours that the graph does not know end a path before them.
 */
const reachablePaths: Call = (args, context: Context) => {
  const graph = objectAt(args, 0)
  const paths: Value[] = []
  for (const start of listAt(args, 1)) if (neighbours(graph, start)) followPaths(graph, start, paths, context)
  context.growCollection(paths.length)
  return RegoSet.of(paths)
}

function followPaths(graph: RegoObject, start: Value, paths: Value[], context: Context): void {
  const left = new Set<MapKey>()
  const open = (node: Value, path: readonly Value[]) => {
    const next = neighbours(graph, node)
    const own = next ? [...path, node] : path
    context.charge(1 + own.length)
    context.grow(16 * own.length)
    if (!next || next.length === 0) paths.push(own)
    return { node, path: own, next: (next ?? []).values() }
  }
  const stack = [open(start, [])]
  for (let top = stack.at(-1); top; top = stack.at(-1)) {
    const neighbour = top.next.next()
    if (neighbour.done) stack.pop()
    else if (left.has(mapKey(neighbour.value))) paths.push(top.path)
    else {
      if (neighbours(graph, neighbour.value)) left.add(mapKey(top.node))
      stack.push(open(neighbour.value, top.path))
    }
  }
}

export const graphBuiltins: readonly Builtin[] = [
  { name: 'graph.reachable', arity: 2, tier: 2, call: reachable },
  { name: 'graph.reachable_paths', arity: 2, tier: 2, call: reachablePaths },
]
