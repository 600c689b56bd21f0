/** Reads Rego case files: YAML and JSON with all digits of numbers, sets and undefined values. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { fromJs, kindOf, parseJson, toJs, type Value } from '@passport-kbs/policy'
import { type Document, isAlias, isMap, isScalar, isSeq, parseDocument } from 'yaml'

export const SUITES = [
  'trustee',
  'regorus/interpreter',
  'regorus/language-v1',
  'regorus/syntax',
  'regorus/lexer',
  'opa-v1',
  'opa-v1-optional',
] as const
export type Suite = (typeof SUITES)[number]

/** The members of a case, by name. */
export type CaseFields = ReadonlyMap<string, Value>

export interface RegoCase {
  readonly suite: Suite
  /** Path inside the folder of vectors, with `/`. */
  readonly file: string
  readonly topic: string
  readonly note: string
  readonly fields: CaseFields
}

/** All cases in files below a folder. */
export function readCases(folder: string): RegoCase[] {
  const cases: RegoCase[] = []
  for (const path of filesBelow(folder)) {
    const slashed = path.split(sep).join('/')
    const suite = suiteOf(slashed)
    if (!suite) continue
    const file = slashed.slice(slashed.lastIndexOf(`/${suite}/`) + 1)
    const topic = file.slice(suite.length + 1).replace(/\.(yaml|json)$/, '')
    for (const fields of casesIn(path)) {
      const note = fields.get('note')
      cases.push({ suite, file, topic, note: typeof note === 'string' ? note : '', fields })
    }
  }
  return cases
}

function suiteOf(path: string): Suite | undefined {
  return SUITES.find((suite) => path.includes(`/${suite}/`))
}

function filesBelow(folder: string): string[] {
  if (!statSync(folder).isDirectory()) return [folder]
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.(yaml|json)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !/^(tiers|divergences)\.json$/.test(relative(folder, path)))
    .sort()
}

function casesIn(path: string): CaseFields[] {
  const text = readFileSync(path, 'utf8')
  const content = path.endsWith('.json') ? parseJson(text, { depth: 256, bytes: 1 << 28 }) : readYaml(text)
  const list = member(content, 'cases')
  return Array.isArray(list) ? list.map(fieldsOf) : []
}

/** The members of an object value by their names. */
export function fieldsOf(value: Value): CaseFields {
  const fields = new Map<string, Value>()
  for (const [key, member] of entriesOf(value)) if (typeof key === 'string') fields.set(key, member)
  return fields
}

/** The entries of an object value; empty for other values. */
export function entriesOf(value: Value | undefined): [Value, Value][] {
  if (value === undefined || kindOf(value) !== 'object') return []
  return [...(value as unknown as { entries(): Iterable<[Value, Value]> }).entries()]
}

export function member(value: Value | undefined, name: string): Value | undefined {
  return entriesOf(value).find(([key]) => key === name)?.[1]
}

function readYaml(text: string): Value {
  const document = parseDocument(text, { schema: 'core', version: '1.2', uniqueKeys: false })
  const [error] = document.errors
  if (error) throw error
  return fromYaml(document.contents, document)
}

/** Numbers are read from their spelling, so that all digits stay. */
function fromYaml(node: unknown, document: Document): Value {
  if (isAlias(node)) return fromYaml(node.resolve(document), document)
  if (isMap(node)) {
    const entries = node.items.map((pair) => {
      const key = fromYaml(pair.key, document)
      return [key, key === 'rego' ? spelling(pair.value) : fromYaml(pair.value, document)] as const
    })
    return fromJs(new Map(entries))
  }
  if (isSeq(node)) return node.items.map((item) => fromYaml(item, document))
  if (!isScalar(node)) return null
  if (typeof node.value === 'number' && node.source !== undefined) return exactNumber(node.source, node.value)
  return fromJs(node.value ?? null)
}

/** A text that YAML would read as a number. */
function spelling(node: unknown): Value {
  if (!isScalar(node)) return null
  return typeof node.value === 'string' ? node.value : (node.source ?? null)
}

function exactNumber(source: string, value: number): Value {
  try {
    return parseJson(source.replace(/^\+/, '').replace(/^(-?)\./, '$10.'))
  } catch {
    return fromJs(value)
  }
}

/** Replaces `{set!: […]}` and `{object!: […]}`, nested at will. */
export function decode(value: Value): Value {
  if (Array.isArray(value)) return value.map(decode)
  const entries = entriesOf(value)
  const [first] = entries
  if (!first) return value
  const [name, content] = first
  if (entries.length === 1 && Array.isArray(content)) {
    if (name === 'set!') return fromJs(new Set(content.map(decode)))
    if (name === 'object!') {
      return fromJs(
        new Map(content.map((e) => [decode(member(e, 'key') ?? null), decode(member(e, 'value') ?? null)])),
      )
    }
  }
  return fromJs(new Map(entries.map(([key, v]) => [key, decode(v)])))
}

/** Text members of a case. */
export function textOf(fields: CaseFields, name: string): string | undefined {
  const value = fields.get(name)
  return typeof value === 'string' ? value : undefined
}

export function textsOf(fields: CaseFields, name: string): string[] {
  const value = fields.get(name)
  return Array.isArray(value) ? value.map((item) => String(toJs(item as Value))) : []
}
