/** Steps of a body and how they are strung together: each solution runs the rest (spec 05 §16). */
import { isArray, RegoObject, RegoSet, type Value } from '../values/value.ts'
import type { Continuation, Evaluator, Frame, Step } from './plan-types.ts'

/** Strings steps together; runs of tests become one loop. */
export function chain(steps: readonly Step[], last: Continuation): Continuation {
  let rest = last
  let i = steps.length
  while (i > 0) {
    const step = steps[i - 1] as Step
    if (step.kind === 'branch') {
      rest = step.bind(rest)
      i--
      continue
    }
    const tests: Continuation[] = []
    for (; i > 0; i--) {
      const test = steps[i - 1] as Step
      if (test.kind !== 'test') break
      tests.unshift(test.test)
    }
    rest = runTests(tests, rest)
  }
  return rest
}

function runTests(tests: readonly Continuation[], rest: Continuation): Continuation {
  const [a, b, c] = tests as [Continuation, Continuation, Continuation]
  if (tests.length === 1) return (f) => a(f) && rest(f)
  if (tests.length === 2) return (f) => a(f) && b(f) && rest(f)
  if (tests.length === 3) return (f) => a(f) && b(f) && c(f) && rest(f)
  return (f) => {
    for (let i = 0; i < tests.length; i++) if (!(tests[i] as Continuation)(f)) return false
    return rest(f)
  }
}

export function test(run: Continuation): Step {
  return { kind: 'test', test: run }
}

/** A literal that must be neither false nor undefined. */
export function truth(evaluate: Evaluator): Step {
  return test((f) => {
    f.context.tick()
    const v = evaluate(f)
    return v !== undefined && v !== false
  })
}

/** Puts a value into a slot; fails when it is undefined. */
export function assign(slot: number, evaluate: Evaluator): Step {
  return test((f) => {
    f.context.tick()
    const v = evaluate(f)
    f.slots[slot] = v
    return v !== undefined
  })
}

/** Runs the rest for each entry of a collection; a slot below 0 is not wanted. */
export function iterate(collection: Evaluator, keySlot: number, valueSlot: number): Step {
  return {
    kind: 'branch',
    bind: (rest) => (f) => {
      const c = collection(f)
      if (isArray(c)) return iterateArray(f, c, keySlot, valueSlot, rest)
      if (c instanceof RegoObject) return iterateObject(f, c, keySlot, valueSlot, rest)
      if (c instanceof RegoSet) return iterateSet(f, c, keySlot, valueSlot, rest)
      return false
    },
  }
}

function iterateArray(
  f: Frame,
  array: readonly Value[],
  keySlot: number,
  valueSlot: number,
  rest: Continuation,
): boolean {
  const { slots, context } = f
  for (let i = 0; i < array.length; i++) {
    context.tick()
    if (keySlot >= 0) slots[keySlot] = i
    if (valueSlot >= 0) slots[valueSlot] = array[i]
    if (rest(f)) return true
  }
  return false
}

function iterateObject(
  f: Frame,
  object: RegoObject,
  keySlot: number,
  valueSlot: number,
  rest: Continuation,
): boolean {
  const { slots, context } = f
  const keys = object.keys()
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i] as Value
    context.tick()
    if (keySlot >= 0) slots[keySlot] = key
    if (valueSlot >= 0) slots[valueSlot] = object.get(key)
    if (rest(f)) return true
  }
  return false
}

function iterateSet(f: Frame, set: RegoSet, keySlot: number, valueSlot: number, rest: Continuation): boolean {
  const { slots, context } = f
  const members = set.members()
  for (let i = 0; i < members.length; i++) {
    context.tick()
    if (keySlot >= 0) slots[keySlot] = members[i]
    if (valueSlot >= 0) slots[valueSlot] = members[i]
    if (rest(f)) return true
  }
  return false
}

/**
 * Lets a body go on behind a literal that failed only because an external call has no answer yet, so that
 * one round collects all independent calls. The results of such a round are never used.
 */
export function tolerant(step: Step, ranSlot: number): Step {
  if (step.kind === 'test') {
    const run = step.test
    return test((f) => {
      const misses = f.context.misses
      return run(f) || f.context.misses !== misses
    })
  }
  return {
    kind: 'branch',
    bind: (rest) => {
      const run = step.bind((f) => {
        f.slots[ranSlot] = true
        return rest(f)
      })
      return (f) => {
        const misses = f.context.misses
        f.slots[ranSlot] = false
        if (run(f)) return true
        return f.context.misses !== misses && f.slots[ranSlot] === false ? rest(f) : false
      }
    },
  }
}
