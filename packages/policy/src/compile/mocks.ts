/** `with` modifiers: what they replace and with what (spec 05 §6 item 10). */
import type { Level, Mock } from '../evaluate/context.ts'
import { Overrides, setAtPath } from '../evaluate/overrides.ts'
import type { Value } from '../values/value.ts'
import type { Evaluator, Frame } from './plan-types.ts'
import type { MockKey, Resolved, ResolvedWith } from './resolved.ts'

/** Makes the level with one replacement more, or undefined when the new value is undefined. */
export type Replacement = (frame: Frame, level: Level) => Level | undefined

export function compileMocks(modifier: ResolvedWith, compile: (term: Resolved) => Evaluator): Replacement {
  const { target, value } = modifier
  if (target.kind === 'function') {
    const { key } = target
    if (value.kind === 'function') {
      const mock: Mock = { kind: 'function', target: value.target }
      return (f, level) => mockFunction(f, level, key, mock)
    }
    const evaluate = compile(value.term)
    return (f, level) => {
      const v = evaluate(f)
      return v === undefined ? undefined : mockFunction(f, level, key, { kind: 'value', value: v })
    }
  }
  if (value.kind !== 'value') throw new TypeError('only functions are replaced by functions')
  const evaluate = compile(value.term)
  if (target.kind === 'data') return (f, level) => replaceData(f, level, target.path, evaluate(f))
  const path = target.path.map(compile)
  return (f, level) => replaceInput(f, level, path, evaluate(f))
}

function mockFunction(f: Frame, level: Level, key: MockKey, mock: Mock): Level {
  const mocks = new Map(level.mocks)
  mocks.set(key, mock)
  return f.context.levelFor(level.input, level.base, level.overrides, mocks)
}

function replaceData(
  f: Frame,
  level: Level,
  path: readonly Value[],
  value: Value | undefined,
): Level | undefined {
  if (value === undefined) return undefined
  const overrides = (level.overrides ?? Overrides.NONE).with(path, value)
  return f.context.levelFor(level.input, setAtPath(level.base, path, value), overrides, level.mocks)
}

function replaceInput(
  f: Frame,
  level: Level,
  path: readonly Evaluator[],
  value: Value | undefined,
): Level | undefined {
  if (value === undefined) return undefined
  const keys: Value[] = []
  for (const part of path) {
    const key = part(f)
    if (key === undefined) return undefined
    keys.push(key)
  }
  return f.context.levelFor(setAtPath(level.input, keys, value), level.base, level.overrides, level.mocks)
}
