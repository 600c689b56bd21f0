/** Regular expressions in RE2 syntax, in linear time, of bounded size (spec 05 §8). */
import { RE2JS } from 're2js'
import { PolicyLimitError } from '../errors.ts'
import type { Context } from '../evaluate/context.ts'
import type { Value } from '../values/value.ts'
import { type Builtin, BuiltinError, indexAt, stringAt, wrongKind } from './builtin.ts'

type Call = Builtin['call']

const MAX_PROGRAM = 1_000
const MAX_PATTERN = 4_096
const MAX_SUBJECT = 1 << 20
const CACHE_SIZE = 256

/** Compiled patterns, and patterns that are no regular expressions. Shared, bounded, never a result. */
const cache = new Map<string, RE2JS | 'invalid' | 'large'>()

function compile(pattern: string): RE2JS | 'invalid' | 'large' {
  const known = cache.get(pattern)
  if (known !== undefined) return known
  let compiled: RE2JS | 'invalid' | 'large'
  try {
    const program = RE2JS.compile(pattern)
    compiled = program.programSize() > MAX_PROGRAM ? 'large' : program
  } catch (error) {
    compiled = /expression too large|nests too deeply|invalid repeat count/i.test((error as Error).message)
      ? 'large'
      : 'invalid'
  }
  if (cache.size >= CACHE_SIZE) cache.delete(cache.keys().next().value as string)
  cache.set(pattern, compiled)
  return compiled
}

/** The compiled pattern; refuses what is too large, whatever the strictness, and what RE2 does not know. */
export function pattern(text: string, context: Context, argument = 0): RE2JS {
  if (text.length > MAX_PATTERN || Buffer.byteLength(text) > MAX_PATTERN) {
    throw new PolicyLimitError('regex', `a pattern is longer than ${MAX_PATTERN} bytes`)
  }
  context.charge(1 + text.length / 16)
  const compiled = compile(text)
  if (compiled === 'large') {
    throw new PolicyLimitError('regex', `a pattern compiles to more than ${MAX_PROGRAM} instructions`)
  }
  if (compiled === 'invalid') {
    throw new BuiltinError('the pattern is not valid RE2 syntax', { argument: argument + 1 })
  }
  return compiled
}

/** Bounds the subject and charges for matching it once. */
export function chargeMatch(re: RE2JS, subject: string, context: Context): void {
  if (subject.length > MAX_SUBJECT) {
    throw new PolicyLimitError('regex', `the subject of a pattern is longer than ${MAX_SUBJECT} bytes`)
  }
  context.charge((subject.length * re.programSize()) / 16)
}

const isValid: Call = ([v], context) => {
  if (typeof v !== 'string') return false
  try {
    pattern(v, context)
    return true
  } catch (error) {
    if (error instanceof BuiltinError) return false
    throw error
  }
}

const match: Call = (args, context) => {
  const re = pattern(stringAt(args, 0), context)
  const subject = stringAt(args, 1)
  chargeMatch(re, subject, context)
  return re.matcher(subject).find()
}

interface Match {
  readonly start: number
  readonly end: number
  readonly groups: readonly (string | null)[]
}

/** Non-overlapping matches from left to right; an empty match next to a match before it does not count. */
function* matches(re: RE2JS, subject: string, context: Context): Generator<Match> {
  chargeMatch(re, subject, context)
  const matcher = re.matcher(subject)
  const groupCount = matcher.groupCount()
  let previousEnd = -1
  while (matcher.find()) {
    context.tick()
    const start = matcher.start()
    const end = matcher.end()
    if (start === end && start === previousEnd) continue
    previousEnd = end
    const groups: (string | null)[] = []
    for (let i = 0; i <= groupCount; i++) groups.push(matcher.group(i))
    context.grow(end - start + 32 * (groupCount + 1))
    yield { start, end, groups }
  }
}

/** At most `n` matches; all when `n` is negative. */
function take(re: RE2JS, subject: string, n: number, context: Context): Match[] {
  const found: Match[] = []
  if (n === 0) return found
  for (const m of matches(re, subject, context)) {
    found.push(m)
    if (found.length === n) break
  }
  context.growCollection(found.length)
  return found
}

const find: Call = (args, context) => {
  const re = pattern(stringAt(args, 0), context)
  return take(re, stringAt(args, 1), indexAt(args, 2), context).map(({ groups }) => groups[0] as string)
}

const findSubmatches: Call = (args, context) => {
  const re = pattern(stringAt(args, 0), context)
  const found = take(re, stringAt(args, 1), indexAt(args, 2), context)
  return found.map(({ groups }) => groups.map((group) => group ?? ''))
}

const split: Call = (args, context) => {
  const re = pattern(stringAt(args, 0), context)
  const subject = stringAt(args, 1)
  if (subject === '') return ['']
  const pieces: string[] = []
  let from = 0
  let to = 0
  for (const { start, end } of matches(re, subject, context)) {
    if (end === 0) continue
    to = start
    if (start === end && start === subject.length) continue
    pieces.push(subject.slice(from, to))
    from = end
  }
  pieces.push(subject.slice(from))
  context.growCollection(pieces.length)
  return pieces
}

const replace: Call = (args, context) => {
  const subject = stringAt(args, 0)
  const re = pattern(stringAt(args, 1), context, 1)
  const template = stringAt(args, 2)
  const names = re.namedGroups() as Record<string, number>
  let result = ''
  let from = 0
  for (const { start, end, groups } of matches(re, subject, context)) {
    result += subject.slice(from, start) + expand(template, groups, names)
    context.charge(template.length / 64)
    if (result.length > context.limits.stringLength) context.growString(result.length)
    from = end
  }
  result += subject.slice(from)
  context.growString(result.length)
  return result
}

/** Go's templates: `$1`, `$name`, `${name}`, `$$`; a name runs as far as it can. */
function expand(template: string, groups: readonly (string | null)[], names: Record<string, number>): string {
  return template.replace(
    /\$(?:(\$)|\{(\w+)\}|(\w+))/g,
    (_all, dollar?: string, braced?: string, bare?: string) => {
      if (dollar) return '$'
      const name = (braced ?? bare) as string
      const index = /^[0-9]+$/.test(name)
        ? Number(name)
        : Object.hasOwn(names, name)
          ? (names[name] as number)
          : -1
      return groups[index] ?? ''
    },
  )
}

/** Text with patterns between delimiters, the rest literal. */
const templateMatch: Call = (args, context) => {
  const template = stringAt(args, 0)
  const subject = stringAt(args, 1)
  const open = delimiterAt(args, 2)
  const close = delimiterAt(args, 3)
  let text = '^'
  let depth = 0
  let start = 0
  for (let i = 0; i < template.length; i++) {
    if (template[i] === open && depth++ === 0) {
      text += RE2JS.quote(template.slice(start, i))
      start = i + 1
    } else if (template[i] === close && --depth === 0) {
      text += `(${template.slice(start, i)})`
      start = i + 1
    } else if (depth < 0) break
  }
  if (depth !== 0) throw new BuiltinError('unbalanced delimiters in the template', { argument: 1 })
  const re = pattern(`${text}${RE2JS.quote(template.slice(start))}$`, context)
  chargeMatch(re, subject, context)
  return re.matcher(subject).find()
}

function delimiterAt(args: readonly Value[], index: number): string {
  const delimiter = stringAt(args, index)
  if ([...delimiter].length !== 1) throw wrongKind(index, 'string of one character', 'string')
  return delimiter
}

export const regexBuiltins: readonly Builtin[] = [
  { name: 'regex.is_valid', arity: 1, tier: 1, call: isValid },
  { name: 'regex.match', arity: 2, tier: 1, call: match },
  { name: 're_match', arity: 2, tier: 2, v0Only: true, call: match },
  { name: 'regex.find_n', arity: 3, tier: 1, call: find },
  { name: 'regex.find_all_string_submatch_n', arity: 3, tier: 1, call: findSubmatches },
  { name: 'regex.split', arity: 2, tier: 1, call: split },
  { name: 'regex.replace', arity: 3, tier: 1, call: replace },
  { name: 'regex.template_match', arity: 4, tier: 1, call: templateMatch },
]
