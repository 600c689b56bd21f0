/** Compiles one definition of a rule: argument patterns, bodies, and what happens with each solution. */
import { PolicyEvaluationError, type SourceLocation } from '../errors.ts'
import type { DocumentTarget } from '../evaluate/documents.ts'
import { equalValues, mapKey, type Value } from '../values/value.ts'
import type { CompiledBranch, CompiledDefinition, Continuation, Evaluator, Step } from './plan-types.ts'
import { Bound, growMember, Planner, type PlanningContext } from './planner.ts'
import type { Resolved, ResolvedBranch, ResolvedDefinition } from './resolved.ts'
import type { GroupKind } from './rule-tree.ts'
import { SlotAllocator } from './scope.ts'
import { chain } from './steps.ts'
import { constantOf } from './term-compiler.ts'
import { telling } from './trace-sites.ts'

export function compileDefinition(
  shared: PlanningContext,
  kind: GroupKind,
  definition: ResolvedDefinition,
): CompiledDefinition {
  const slots = new SlotAllocator()
  slots.count = definition.slotCount
  const location = definition.span.source.locate(definition.span.start)
  const branches = definition.branches.map((branch) =>
    compileBranch(shared, slots, kind, definition, branch, location),
  )
  return {
    slotCount: slots.count,
    location,
    branches,
    constant: shared.trace ? undefined : constantValue(kind, definition),
  }
}

/** The value of a definition without body whose arguments do not matter. */
function constantValue(kind: GroupKind, definition: ResolvedDefinition): Value | undefined {
  const [only, another] = definition.branches
  if (!only || another || only.body.length > 0 || (kind !== 'complete' && kind !== 'function'))
    return undefined
  return areDistinctLocals(definition.args) ? constantOf(only.value) : undefined
}

function areDistinctLocals(args: readonly Resolved[]): boolean {
  const locals = new Set(args.map((arg) => (arg.kind === 'local' ? arg.local : undefined)))
  return !locals.has(undefined) && locals.size === args.length
}

function compileBranch(
  shared: PlanningContext,
  slots: SlotAllocator,
  kind: GroupKind,
  definition: ResolvedDefinition,
  branch: ResolvedBranch,
  location: SourceLocation,
): CompiledBranch {
  const planner = new Planner(shared, slots)
  const bound = new Bound()
  const steps: Step[] = []
  const site = shared.trace?.enterBranch(branch.span)
  if (site) steps.push(telling((listener) => listener.started(site)))
  definition.args.forEach((arg, i) => {
    const slot = definition.argSlots[i] as number
    const blocked = planner.attempt(steps, bound, (layer, own) => {
      planner.argument(arg, (f) => f.slots[slot] as Value | undefined, layer, own)
    })
    if (blocked) planner.reportUnbound(blocked)
  })
  for (const step of planner.body(branch.body, bound)) steps.push(step)
  const suffix = branch.suffix.map((term) => planner.result(term, bound, steps))
  const value = planner.result(branch.value, bound, steps)
  let last: Continuation
  if (kind === 'set') last = addToSet(value)
  else if (kind === 'dynamic') last = putIntoDocument(suffix, value, definition.isSet)
  else last = setResult(value, constantOf(branch.value) !== undefined, location)
  if (site) {
    const succeed = last
    last = (f) => {
      const before = f.result
      const stop = succeed(f)
      if (f.result !== undefined || before !== undefined) f.context.trace?.succeeded(site)
      return stop
    }
  }
  return { run: chain(steps, last), hasBody: branch.body.length > 0 }
}

/** All solutions of a body must agree; a constant cannot disagree, so its first solution suffices. */
function setResult(value: Evaluator, isConstant: boolean, location: SourceLocation): Continuation {
  return (f) => {
    const v = value(f)
    if (v === undefined) return false
    if (f.result === undefined) f.result = v
    else if (!equalValues(f.result as Value, v)) {
      throw new PolicyEvaluationError(
        'conflict',
        'complete rules and functions must not have different values',
        {
          location,
        },
      )
    }
    return isConstant
  }
}

function addToSet(value: Evaluator): Continuation {
  return (f) => {
    const v = value(f)
    if (v === undefined) return false
    const members = f.result as Map<unknown, Value>
    growMember(f.context, members.size)
    members.set(mapKey(v), v)
    return false
  }
}

function putIntoDocument(suffix: readonly Evaluator[], value: Evaluator, isSet: boolean): Continuation {
  return (f) => {
    const target = f.result as DocumentTarget
    const { builder, prefix, definition } = target
    const path = [...prefix]
    for (const part of suffix) {
      const key = part(f)
      if (key === undefined) return false
      path.push(key)
    }
    const v = value(f)
    if (v === undefined) return false
    growMember(f.context, 0)
    target.hasResult = true
    if (isSet) builder.add(path, v, definition)
    else builder.put(path, v, definition)
    return false
  }
}
