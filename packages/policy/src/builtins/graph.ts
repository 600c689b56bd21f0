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

/** All paths that cannot be made longer without meeting a node again. */
const reachablePaths: Call = (args, context: Context) => {
  const graph = objectAt(args, 0)
  const paths: Value[] = []
  const work: { path: readonly Value[]; seen: ReadonlySet<MapKey> }[] = []
  for (const start of listAt(args, 1)) {
    if (neighbours(graph, start)) work.push({ path: [start], seen: new Set([mapKey(start)]) })
  }
  for (let item = work.pop(); item; item = work.pop()) {
    const { path, seen } = item
    context.charge(1 + path.length)
    context.grow(64 * path.length)
    const next = neighbours(graph, path.at(-1) as Value) ?? []
    let isEnd = true
    for (const node of next) {
      if (!neighbours(graph, node)) continue
      isEnd = false
      if (seen.has(mapKey(node))) paths.push(path)
      else work.push({ path: [...path, node], seen: new Set(seen).add(mapKey(node)) })
    }
    if (isEnd) paths.push(path)
  }
  context.growCollection(paths.length)
  return RegoSet.of(paths)
}

export const graphBuiltins: readonly Builtin[] = [
  { name: 'graph.reachable', arity: 2, tier: 2, call: reachable },
  { name: 'graph.reachable_paths', arity: 2, tier: 2, call: reachablePaths },
]
