/** Globs, matched through linear-time regular expressions. */
import { RE2JS } from 're2js'
import type { Context } from '../evaluate/context.ts'
import { isArray, kindOf, type Value } from '../values/value.ts'
import { type Builtin, BuiltinError, stringAt, wrongKind } from './builtin.ts'
import { chargeMatch, pattern } from './regex.ts'

type Call = Builtin['call']

function delimitersAt(args: readonly Value[], index: number): readonly string[] {
  const v = args[index] as Value
  if (v === null) return []
  if (!isArray(v)) throw wrongKind(index, 'null or array', v)
  if (v.length === 0) return ['.']
  for (const item of v) {
    if (typeof item !== 'string') throw wrongKind(index, 'array of strings', `array with ${kindOf(item)}`)
    if ([...item].length !== 1)
      throw new BuiltinError('delimiters must be single characters', { argument: index + 1 })
  }
  return v as readonly string[]
}

/** `*`, `**`, `?`, `[a-z]`, `[!a-z]`, `{a,b}` and `\x`, as a regular expression over the whole text. */
function toRegex(glob: string, delimiters: readonly string[]): string {
  const other = delimiters.length === 0 ? '(?s:.)' : `[^${delimiters.map(escapeInClass).join('')}]`
  let text = '(?s)^'
  let depth = 0
  for (let i = 0; i < glob.length; i++) {
    const c = glob[i] as string
    if (c === '*') {
      if (glob[i + 1] === '*') {
        while (glob[i + 1] === '*') i++
        text += '.*'
      } else text += `${other}*`
    } else if (c === '?') text += other
    else if (c === '[') {
      const close = glob.indexOf(']', i + 2)
      if (close < 0) throw new BuiltinError('unclosed [ in the glob', { argument: 1 })
      text += classOf(glob.slice(i + 1, close))
      i = close
    } else if (c === '{') {
      text += '(?:'
      depth++
    } else if (c === '}' && depth > 0) {
      text += ')'
      depth--
    } else if (c === ',' && depth > 0) text += '|'
    else if (c === '\\' && i + 1 < glob.length) text += RE2JS.quote(glob[++i] as string)
    else text += RE2JS.quote(c)
  }
  if (depth > 0) throw new BuiltinError('unclosed { in the glob', { argument: 1 })
  return `${text}$`
}

function escapeInClass(c: string): string {
  return /[\\\]^-]/.test(c) ? `\\${c}` : c
}

function classOf(body: string): string {
  const negated = body.startsWith('!') || body.startsWith('^')
  const rest = negated ? body.slice(1) : body
  const range = /^(.)-(.)$/su.exec(rest)
  const members = range
    ? `${escapeInClass(range[1] as string)}-${escapeInClass(range[2] as string)}`
    : [...rest].map(escapeInClass).join('')
  return `[${negated ? '^' : ''}${members}]`
}

const match: Call = (args, context: Context) => {
  const regex = toRegex(stringAt(args, 0), delimitersAt(args, 1))
  const subject = stringAt(args, 2)
  const re = pattern(regex, context)
  chargeMatch(re, subject, context)
  return re.matcher(subject).find()
}

const quoteMeta: Call = (args, context) => {
  const text = stringAt(args, 0)
  context.growString(text.length * 2)
  return text.replace(/[*?\\[\]{}]/g, '\\$&')
}

export const globBuiltins: readonly Builtin[] = [
  { name: 'glob.match', arity: 3, tier: 2, call: match },
  { name: 'glob.quote_meta', arity: 1, tier: 2, call: quoteMeta },
]
