/** Base64, hex, URL queries, JSON and YAML texts. */
import { parseDocument, stringify } from 'yaml'
import { PolicyEvaluationError, PolicyLimitError } from '../errors.ts'
import type { Context } from '../evaluate/context.ts'
import { fromJs, memberName, parseJson, toJs, toJsonText, wellFormed } from '../values/json.ts'
import { isArray, kindOf, ObjectBuilder, RegoObject, RegoSet, type Value } from '../values/value.ts'
import { type Builtin, BuiltinError, objectAt, stringAt, wrongKind } from './builtin.ts'

type Call = Builtin['call']

function bytesToText(bytes: Uint8Array): string {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)
}

function encode(make: (bytes: Buffer) => string): Call {
  return (args, context) => {
    const text = stringAt(args, 0)
    context.growString(text.length * 3)
    return make(Buffer.from(text))
  }
}

const STANDARD = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/
const URL_SAFE = /^[A-Za-z0-9_-]*={0,2}$/

/** As Go, line breaks inside do not count. */
function withoutLineBreaks(text: string): string {
  return text.replace(/[\r\n]/g, '')
}

const decodeBase64: Call = (args, context) => {
  const text = withoutLineBreaks(stringAt(args, 0))
  context.growString(text.length)
  if (!STANDARD.test(text)) throw new BuiltinError('illegal base64 data')
  return bytesToText(Buffer.from(text, 'base64'))
}

const isBase64: Call = ([v], context) => {
  if (typeof v !== 'string') throw wrongKind(0, 'string', v as Value)
  context.charge(v.length / 64)
  return STANDARD.test(withoutLineBreaks(v))
}

const decodeBase64Url: Call = (args, context) => {
  const text = withoutLineBreaks(stringAt(args, 0))
  context.growString(text.length)
  const bare = text.replace(/=+$/, '')
  if (!URL_SAFE.test(text) || bare.length % 4 === 1 || (bare !== text && text.length % 4 !== 0)) {
    throw new BuiltinError('illegal base64url data')
  }
  return bytesToText(Buffer.from(bare, 'base64url'))
}

function padded(text: string): string {
  return text + '='.repeat((4 - (text.length % 4)) % 4)
}

const decodeHex: Call = (args, context) => {
  const text = stringAt(args, 0)
  context.growString(text.length)
  if (!/^(?:[0-9A-Fa-f]{2})*$/.test(text)) throw new BuiltinError('invalid hex data')
  return bytesToText(Buffer.from(text, 'hex'))
}

/** Go's `url.QueryEscape`. */
function queryEscape(text: string): string {
  return encodeURIComponent(text)
    .replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
    .replace(/%20/g, '+')
}

function queryUnescape(text: string): string {
  if (/%(?![0-9A-Fa-f]{2})/.test(text)) throw new BuiltinError('invalid URL escape')
  const bytes: Buffer[] = []
  const pattern = /((?:%[0-9A-Fa-f]{2})+)|([^%]+)/g
  for (const [, escaped, bare] of text.replace(/\+/g, ' ').matchAll(pattern)) {
    bytes.push(escaped ? Buffer.from(escaped.replace(/%/g, ''), 'hex') : Buffer.from(bare as string))
  }
  return bytesToText(Buffer.concat(bytes))
}

const encodeQueryObject: Call = (args, context) => {
  const pairs: string[] = []
  for (const [key, value] of objectAt(args, 0).entries()) {
    if (typeof key !== 'string')
      throw wrongKind(0, 'object with string keys', `object with ${kindOf(key)} key`)
    const values = typeof value === 'string' ? [value] : isArray(value) ? value : setMembers(value)
    for (const item of values) {
      if (typeof item !== 'string') throw wrongKind(0, 'object of strings', `object with ${kindOf(item)}`)
      context.growString(3 * (key.length + item.length) + 2)
      pairs.push(`${queryEscape(key)}=${queryEscape(item)}`)
    }
  }
  return pairs.join('&')
}

function setMembers(value: Value): readonly Value[] {
  if (value instanceof RegoSet) return value.members()
  throw wrongKind(0, 'object of strings, arrays or sets', `object with ${kindOf(value)}`)
}

const decodeQueryObject: Call = (args, context) => {
  const text = stringAt(args, 0)
  context.growString(text.length)
  const builder = new ObjectBuilder()
  for (const pair of text.split('&')) {
    context.tick()
    if (pair === '') continue
    if (pair.includes(';')) throw new BuiltinError('invalid semicolon separator in query')
    const equals = pair.indexOf('=')
    const name = queryUnescape(equals < 0 ? pair : pair.slice(0, equals))
    const value = equals < 0 ? '' : queryUnescape(pair.slice(equals + 1))
    builder.set(name, [...((builder.get(name) as readonly Value[] | undefined) ?? []), value])
  }
  return builder.build()
}

/** About the length of the JSON text, before it is made. */
export function chargeText(v: Value, context: Context): void {
  const work: Value[] = [v]
  for (let item = work.pop(); item !== undefined; item = work.pop()) {
    context.tick()
    if (typeof item === 'string') context.growString(item.length)
    else if (isArray(item)) for (const child of item) work.push(child)
    else if (item instanceof RegoSet) for (const child of item.members()) work.push(child)
    else if (item instanceof RegoObject) for (const [key, child] of item.entries()) work.push(key, child)
  }
}

const marshal: Call = ([v], context) => {
  chargeText(v as Value, context)
  return toJsonText(v as Value)
}

const marshalWithOptions: Call = (args, context) => {
  const [v] = args
  const options = objectAt(args, 1)
  let prefix = ''
  let indent = '\t'
  let pretty: boolean | undefined
  for (const [key, value] of options.entries()) {
    if (key === 'pretty' && typeof value === 'boolean') pretty = value
    else if (key === 'prefix' && typeof value === 'string') prefix = value
    else if (key === 'indent' && typeof value === 'string') indent = value
    else throw wrongKind(1, 'object with pretty, indent and prefix', 'object with something else')
  }
  chargeText(v as Value, context)
  if (!(pretty ?? (options.has('prefix') || options.has('indent')))) return toJsonText(v as Value)
  return prettyJson(v as Value, prefix, indent, 0, context)
}

/** As Go's indented JSON: one member a line, empty collections on one line. */
function prettyJson(v: Value, prefix: string, indent: string, depth: number, context: Context): string {
  const line = (level: number) => `\n${prefix}${indent.repeat(level)}`
  const start = depth === 0 ? prefix : ''
  if (typeof v !== 'object' || v === null) return start + toJsonText(v)
  const isObject = v instanceof RegoObject
  const items = isObject
    ? [...v.entries()].map(([key, value]) => {
        return `${JSON.stringify(memberName(key))}: ${prettyJson(value, prefix, indent, depth + 1, context)}`
      })
    : (isArray(v) ? v : (v as RegoSet).members()).map((item) =>
        prettyJson(item, prefix, indent, depth + 1, context),
      )
  const [open, close] = isObject ? '{}' : '[]'
  if (items.length === 0) return `${start}${open}${close}`
  context.growString((indent.length * (depth + 1) + prefix.length + 2) * items.length)
  return `${start}${open}${line(depth + 1)}${items.join(`,${line(depth + 1)}`)}${line(depth)}${close}`
}

function readJson(text: string, context: Context): Value {
  context.charge(text.length / 16)
  context.grow(text.length * 4)
  try {
    return parseJson(text, { depth: context.limits.jsonDepth, bytes: context.limits.jsonBytes })
  } catch (error) {
    if (error instanceof PolicyEvaluationError) throw new BuiltinError('invalid JSON text', { argument: 1 })
    throw error
  }
}

function isReadable(read: (text: string, context: Context) => Value): Call {
  return ([v], context) => {
    if (typeof v !== 'string') return false
    try {
      read(v, context)
      return true
    } catch (error) {
      if (error instanceof BuiltinError) return false
      throw error
    }
  }
}

/** YAML takes far longer to read than JSON. */
const MAX_YAML = 256 << 10

/** YAML without aliases that multiply: at most 100 uses. */
function readYaml(text: string, context: Context): Value {
  if (text.length > MAX_YAML) throw new PolicyLimitError('size', `YAML text is longer than ${MAX_YAML} bytes`)
  context.growString(text.length)
  context.charge(text.length * 4)
  try {
    const document = parseDocument(text, { intAsBigInt: true, uniqueKeys: false, logLevel: 'silent' })
    const [error] = document.errors
    if (error) throw error
    return fromJs(document.toJS({ maxAliasCount: 100, mapAsMap: true }) ?? null)
  } catch {
    throw new BuiltinError('invalid YAML text', { argument: 1 })
  }
}

const marshalYaml: Call = ([v], context) => {
  chargeText(v as Value, context)
  return stringify(toJs(v as Value), { lineWidth: 0, indentSeq: false, compat: 'yaml-1.1' })
}

export const encodingBuiltins: readonly Builtin[] = [
  { name: 'base64.encode', arity: 1, tier: 1, call: encode((bytes) => bytes.toString('base64')) },
  { name: 'base64.decode', arity: 1, tier: 1, call: decodeBase64 },
  { name: 'base64.is_valid', arity: 1, tier: 1, call: isBase64 },
  {
    name: 'base64url.encode',
    arity: 1,
    tier: 2,
    call: encode((bytes) => padded(bytes.toString('base64url'))),
  },
  {
    name: 'base64url.encode_no_pad',
    arity: 1,
    tier: 2,
    call: encode((bytes) => bytes.toString('base64url')),
  },
  { name: 'base64url.decode', arity: 1, tier: 2, call: decodeBase64Url },
  { name: 'hex.encode', arity: 1, tier: 2, call: encode((bytes) => bytes.toString('hex')) },
  { name: 'hex.decode', arity: 1, tier: 2, call: decodeHex },
  { name: 'urlquery.encode', arity: 1, tier: 2, call: encode((bytes) => queryEscape(bytes.toString())) },
  {
    name: 'urlquery.decode',
    arity: 1,
    tier: 2,
    call: (args) => wellFormed(queryUnescape(stringAt(args, 0))),
  },
  { name: 'urlquery.encode_object', arity: 1, tier: 2, call: encodeQueryObject },
  { name: 'urlquery.decode_object', arity: 1, tier: 2, call: decodeQueryObject },
  { name: 'json.marshal', arity: 1, tier: 1, call: marshal },
  { name: 'json.marshal_with_options', arity: 2, tier: 1, call: marshalWithOptions },
  {
    name: 'json.unmarshal',
    arity: 1,
    tier: 1,
    call: (args, context) => readJson(stringAt(args, 0), context),
  },
  { name: 'json.is_valid', arity: 1, tier: 1, call: isReadable(readJson) },
  { name: 'yaml.marshal', arity: 1, tier: 2, call: marshalYaml },
  {
    name: 'yaml.unmarshal',
    arity: 1,
    tier: 2,
    call: (args, context) => readYaml(stringAt(args, 0), context),
  },
  { name: 'yaml.is_valid', arity: 1, tier: 2, call: isReadable(readYaml) },
]
