/** Strings, as sequences of code points. */
import type { Context } from '../evaluate/context.ts'
import { isArray, RegoSet, type Value } from '../values/value.ts'
import {
  type Builtin,
  BuiltinError,
  indexAt,
  objectAt,
  stringAt,
  stringListAt,
  wrongKind,
} from './builtin.ts'
import { sprintf } from './sprintf.ts'

type Call = Builtin['call']

function points(text: string): string[] {
  return [...text]
}

const concat: Call = (args, context) => {
  const delimiter = stringAt(args, 0)
  const list = stringListAt(args, 1)
  let length = delimiter.length * Math.max(0, list.length - 1)
  for (const item of list) length += item.length
  context.charge(list.length)
  context.growString(length)
  return list.join(delimiter)
}

/** A search may compare at every place; charged as if a part of them went far. */
function chargeSearch(text: string, part: string, context: Context): void {
  context.charge(text.length / 64 + (text.length * part.length) / 4_096)
}

function search(find: (text: string, part: string) => boolean): Call {
  return (args, context) => {
    const text = stringAt(args, 0)
    const part = stringAt(args, 1)
    chargeSearch(text, part, context)
    return find(text, part)
  }
}

/** The position in code points of a position in UTF-16 units. */
function pointIndex(text: string, unitIndex: number): number {
  let index = 0
  for (let i = 0; i < unitIndex; i += (text.codePointAt(i) as number) > 0xffff ? 2 : 1) index++
  return index
}

const indexOf: Call = (args, context) => {
  const text = stringAt(args, 0)
  const part = stringAt(args, 1)
  if (part === '') throw new BuiltinError('empty search string', { argument: 2 })
  chargeSearch(text, part, context)
  const at = text.indexOf(part)
  return at < 0 ? -1 : pointIndex(text, at)
}

const indexOfAll: Call = (args, context) => {
  const text = stringAt(args, 0)
  const part = stringAt(args, 1)
  if (part === '') throw new BuiltinError('empty search string', { argument: 2 })
  context.charge(text.length)
  chargeSearch(text, part, context)
  const found: number[] = []
  let point = 0
  let from = 0
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + 1)) {
    point += pointIndex(text.slice(from, at), at - from)
    from = at
    found.push(point)
  }
  context.growCollection(found.length)
  return found
}

function changeCase(change: (text: string) => string): Call {
  return (args, context) => {
    const text = stringAt(args, 0)
    context.growString(text.length * 3)
    return change(text)
  }
}

function replaceAll(text: string, old: string, replacement: string, context: Context): string {
  chargeSearch(text, old, context)
  context.charge(replacement.length / 16)
  const pieces = text.split(old)
  context.growString(text.length + (pieces.length - 1) * (replacement.length - old.length))
  return pieces.join(replacement)
}

const replace: Call = (args, context) => {
  const text = stringAt(args, 0)
  const old = stringAt(args, 1)
  const replacement = stringAt(args, 2)
  if (old !== '') return replaceAll(text, old, replacement, context)
  // between all code points, as Go does
  const all = points(text)
  context.growString(text.length + (all.length + 1) * replacement.length)
  return ['', ...all, ''].join(replacement)
}

/** All patterns at once, at each position the first in key order that fits, as Go's replacer. */
const replaceMany: Call = (args, context) => {
  const patterns = objectAt(args, 0)
  const text = stringAt(args, 1)
  const pairs: [string, string][] = []
  for (const [old, replacement] of patterns.entries()) {
    if (typeof old !== 'string') throw wrongKind(0, 'object of strings', 'object with another key')
    if (typeof replacement !== 'string') throw wrongKind(0, 'object of strings', 'object with another value')
    pairs.push([old, replacement])
  }
  let result = ''
  let i = 0
  const each = 1 + pairs.reduce((sum, [old]) => sum + 1 / 8 + old.length / 4_096, 0)
  while (i <= text.length) {
    context.charge(each)
    const found = pairs.find(([old]) => text.startsWith(old, i))
    if (found) {
      context.growString(found[1].length)
      result += found[1]
      if (result.length > context.limits.stringLength) context.growString(result.length)
    }
    if (found && found[0] !== '') i += found[0].length
    else {
      const point = i < text.length ? String.fromCodePoint(text.codePointAt(i) as number) : ''
      result += point
      i += point.length || 1
    }
  }
  context.growString(result.length)
  return result
}

const split: Call = (args, context) => {
  const text = stringAt(args, 0)
  const delimiter = stringAt(args, 1)
  context.growString(text.length)
  chargeSearch(text, delimiter, context)
  const pieces = delimiter === '' ? points(text) : text.split(delimiter)
  context.growCollection(pieces.length)
  return pieces
}

const substring: Call = (args, context) => {
  const text = stringAt(args, 0)
  const start = indexAt(args, 1)
  const length = indexAt(args, 2)
  if (start < 0) throw new BuiltinError('negative offset', { argument: 2 })
  context.growString(text.length)
  const all = points(text)
  if (start >= all.length) return ''
  return all.slice(start, length < 0 ? undefined : start + length).join('')
}

const SPACE = '\t\n\v\f\r \u0085\u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000'

function trimmer(sides: 'left' | 'right' | 'both'): Call {
  return (args, context) => {
    const text = stringAt(args, 0)
    const cut = new Set(points(stringAt(args, 1)))
    context.growString(text.length)
    const all = points(text)
    let start = 0
    let end = all.length
    if (sides !== 'right') while (start < end && cut.has(all[start] as string)) start++
    if (sides !== 'left') while (end > start && cut.has(all[end - 1] as string)) end--
    return all.slice(start, end).join('')
  }
}

const LEADING_SPACE = new RegExp(`^[${SPACE}]+`)

const trimSpace: Call = (args, context) => {
  const text = stringAt(args, 0)
  context.growString(text.length)
  const rest = text.replace(LEADING_SPACE, '')
  let end = rest.length
  while (end > 0 && LEADING_SPACE.test(rest[end - 1] as string)) end--
  return rest.slice(0, end)
}

const trimPrefix: Call = (args) => {
  const text = stringAt(args, 0)
  const prefix = stringAt(args, 1)
  return text.startsWith(prefix) ? text.slice(prefix.length) : text
}

const trimSuffix: Call = (args) => {
  const text = stringAt(args, 0)
  const suffix = stringAt(args, 1)
  return suffix !== '' && text.endsWith(suffix) ? text.slice(0, -suffix.length) : text
}

/** One string or a collection of strings. */
function oneOrMore(args: readonly Value[], index: number): readonly string[] {
  const v = args[index] as Value
  if (typeof v === 'string') return [v]
  if (isArray(v) || v instanceof RegoSet) return stringListAt(args, index)
  throw wrongKind(index, 'string, set or array', v)
}

function anyMatch(matches: (text: string, part: string) => boolean): Call {
  return (args, context) => {
    const texts = oneOrMore(args, 0)
    const parts = oneOrMore(args, 1)
    context.charge(texts.length * parts.length)
    return texts.some((text) => parts.some((part) => matches(text, part)))
  }
}

const countParts: Call = (args, context) => {
  const text = stringAt(args, 0)
  const part = stringAt(args, 1)
  chargeSearch(text, part, context)
  if (part === '') return points(text).length + 1
  return text.split(part).length - 1
}

const reverse: Call = (args, context) => {
  const text = stringAt(args, 0)
  context.growString(text.length)
  return points(text).reverse().join('')
}

const format: Call = (args, context) => sprintf(stringAt(args, 0), listOfArguments(args), context)

function listOfArguments(args: readonly Value[]): readonly Value[] {
  const [, list] = args
  if (!isArray(list)) throw wrongKind(1, 'array', list as Value)
  return list
}

export const stringBuiltins: readonly Builtin[] = [
  { name: 'concat', arity: 2, tier: 1, call: concat },
  { name: 'contains', arity: 2, tier: 1, call: search((text, part) => text.includes(part)) },
  { name: 'startswith', arity: 2, tier: 1, call: search((text, part) => text.startsWith(part)) },
  { name: 'endswith', arity: 2, tier: 1, call: search((text, part) => text.endsWith(part)) },
  { name: 'indexof', arity: 2, tier: 1, call: indexOf },
  { name: 'indexof_n', arity: 2, tier: 1, call: indexOfAll },
  { name: 'lower', arity: 1, tier: 1, call: changeCase((text) => text.toLowerCase()) },
  { name: 'upper', arity: 1, tier: 1, call: changeCase((text) => text.toUpperCase()) },
  { name: 'replace', arity: 3, tier: 1, call: replace },
  { name: 'strings.replace_n', arity: 2, tier: 1, call: replaceMany },
  { name: 'split', arity: 2, tier: 1, call: split },
  { name: 'sprintf', arity: 2, tier: 0, call: format },
  { name: 'substring', arity: 3, tier: 1, call: substring },
  { name: 'trim', arity: 2, tier: 1, call: trimmer('both') },
  { name: 'trim_left', arity: 2, tier: 1, call: trimmer('left') },
  { name: 'trim_right', arity: 2, tier: 1, call: trimmer('right') },
  { name: 'trim_prefix', arity: 2, tier: 1, call: trimPrefix },
  { name: 'trim_suffix', arity: 2, tier: 1, call: trimSuffix },
  { name: 'trim_space', arity: 1, tier: 1, call: trimSpace },
  {
    name: 'strings.any_prefix_match',
    arity: 2,
    tier: 1,
    call: anyMatch((text, part) => text.startsWith(part)),
  },
  {
    name: 'strings.any_suffix_match',
    arity: 2,
    tier: 1,
    call: anyMatch((text, part) => text.endsWith(part)),
  },
  { name: 'strings.count', arity: 2, tier: 1, call: countParts },
  { name: 'strings.reverse', arity: 1, tier: 1, call: reverse },
]
