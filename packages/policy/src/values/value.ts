/**
 * Rego values (spec 05 §5): JSON plus sets, objects with keys of any kind, and exact integers.
 *
 * Safe integers and other doubles are `number`, integers beyond are `bigint`, arrays are plain arrays,
 * objects and sets are classes over a `Map` by canonical key. All values are immutable once made.
 * *Undefined* is JavaScript's `undefined` and never appears inside a value.
 */
import { PolicyLimitError } from '../errors.ts'

export type RegoNumber = number | bigint
export type Value = null | boolean | RegoNumber | string | RegoArray | RegoObject | RegoSet
export interface RegoArray extends ReadonlyArray<Value> {}

export type ValueKind = 'null' | 'boolean' | 'number' | 'string' | 'array' | 'object' | 'set'

/** What a `Map` holds for a value: the primitive itself, or tagged text for composites. */
export type MapKey = null | boolean | number | bigint | string

/** How deep a value may nest before comparing, printing or walking it is refused. */
const MAX_DEPTH = 640

export function kindOf(v: Value): ValueKind {
  switch (typeof v) {
    case 'string':
      return 'string'
    case 'boolean':
      return 'boolean'
    case 'number':
    case 'bigint':
      return 'number'
    default:
      if (v === null) return 'null'
      if (v instanceof RegoObject) return 'object'
      if (v instanceof RegoSet) return 'set'
      return 'array'
  }
}

export function isArray(v: Value | undefined): v is RegoArray {
  return Array.isArray(v)
}

/** Told about work that grows with the size of values; deep values that share parts can be huge as trees. */
export interface Meter {
  charge(steps: number): void
}

let meter: Meter | undefined

/** Runs with a meter for comparisons and canonical texts; evaluations are synchronous, so there is one at a time. */
export function metered<T>(current: Meter, run: () => T): T {
  const outer = meter
  meter = current
  try {
    return run()
  } finally {
    meter = outer
  }
}

/** Strings longer than this cost steps when they are compared. */
const LONG = 1_024

export function tooDeep(): PolicyLimitError {
  return new PolicyLimitError('depth', `a value nests deeper than ${MAX_DEPTH} levels`)
}

/** The key under which equal values meet in a `Map`. */
export function mapKey(v: Value): MapKey {
  switch (typeof v) {
    case 'string':
      return v.charCodeAt(0) === 1 ? `\u0001s${v}` : v
    case 'number':
      return Number.isInteger(v) && !Number.isSafeInteger(v) ? BigInt(v) : v
    case 'boolean':
    case 'bigint':
      return v
    default:
      return v === null ? null : `\u0001c${canonicalText(v, 0)}`
  }
}

/** Text that is equal exactly for equal values. */
export function canonicalText(v: Value, depth = 0): string {
  if (depth > MAX_DEPTH) throw tooDeep()
  switch (typeof v) {
    case 'string':
      return JSON.stringify(v)
    case 'number':
      return Number.isInteger(v) && !Number.isSafeInteger(v) ? String(BigInt(v)) : String(v === 0 ? 0 : v)
    case 'boolean':
    case 'bigint':
      return String(v)
    default:
      break
  }
  if (v === null) return 'null'
  if (v instanceof RegoObject || v instanceof RegoSet) return v.canonical(depth)
  let text = '['
  for (let i = 0; i < v.length; i++) {
    if (i > 0) text += ','
    text += canonicalText(v[i] as Value, depth + 1)
  }
  meter?.charge(1 + text.length / 64)
  return `${text}]`
}

const NO_ORIGINALS: ReadonlyMap<string, Value> = new Map()

function originalOf(key: MapKey, originals: ReadonlyMap<string, Value>): Value {
  if (typeof key !== 'string' || key.charCodeAt(0) !== 1) return key
  return key.charCodeAt(1) === 115 /* s */ ? key.slice(2) : (originals.get(key) as Value)
}

/** An object with keys of any kind, iterated in key order. */
export class RegoObject {
  readonly #entries: Map<MapKey, Value>
  readonly #originals: ReadonlyMap<string, Value>
  #keys: readonly Value[] | undefined
  #canonical: string | undefined

  constructor(entries: Map<MapKey, Value>, originals: ReadonlyMap<string, Value> = NO_ORIGINALS) {
    this.#entries = entries
    this.#originals = originals
  }

  get size(): number {
    return this.#entries.size
  }

  get(key: Value): Value | undefined {
    return this.#entries.get(mapKey(key))
  }

  /** As `get`, for a key that `mapKey` has already made. */
  getByMapKey(key: MapKey): Value | undefined {
    return this.#entries.get(key)
  }

  has(key: Value): boolean {
    return this.#entries.has(mapKey(key))
  }

  /** Keys in value order. */
  keys(): readonly Value[] {
    if (!this.#keys) {
      const keys: Value[] = []
      for (const key of this.#entries.keys()) keys.push(originalOf(key, this.#originals))
      this.#keys = sortValues(keys)
    }
    return this.#keys
  }

  /** Entries in key order. */
  *entries(): Generator<[Value, Value]> {
    for (const key of this.keys()) yield [key, this.get(key) as Value]
  }

  /** The entries in no defined order, for copying. */
  rawEntries(): ReadonlyMap<MapKey, Value> {
    return this.#entries
  }

  rawOriginals(): ReadonlyMap<string, Value> {
    return this.#originals
  }

  canonical(depth: number): string {
    if (this.#canonical !== undefined) return this.#canonical
    let text = '{'
    for (const key of this.keys()) {
      if (text.length > 1) text += ','
      text += `${canonicalText(key, depth + 1)}:${canonicalText(this.get(key) as Value, depth + 1)}`
    }
    this.#canonical = `${text}}`
    return this.#canonical
  }
}

/** A set, iterated in value order. */
export class RegoSet {
  readonly #members: Map<MapKey, Value>
  #sorted: readonly Value[] | undefined
  #canonical: string | undefined

  constructor(members: Map<MapKey, Value>) {
    this.#members = members
  }

  static of(members: Iterable<Value>): RegoSet {
    const map = new Map<MapKey, Value>()
    for (const member of members) map.set(mapKey(member), member)
    return new RegoSet(map)
  }

  get size(): number {
    return this.#members.size
  }

  has(member: Value): boolean {
    return this.#members.has(mapKey(member))
  }

  /** Members in value order. */
  members(): readonly Value[] {
    if (!this.#sorted) this.#sorted = sortValues([...this.#members.values()])
    return this.#sorted
  }

  /** The members by key in no defined order, for copying. */
  rawMembers(): ReadonlyMap<MapKey, Value> {
    return this.#members
  }

  canonical(depth: number): string {
    if (this.#canonical !== undefined) return this.#canonical
    let text = '<'
    for (const member of this.members()) {
      if (text.length > 1) text += ','
      text += canonicalText(member, depth + 1)
    }
    this.#canonical = `${text}>`
    return this.#canonical
  }
}

/** Collects entries and becomes a `RegoObject`; must not be used after `build`. */
export class ObjectBuilder {
  readonly #entries: Map<MapKey, Value>
  #originals: Map<string, Value> | undefined

  constructor(from?: RegoObject) {
    this.#entries = from ? new Map(from.rawEntries()) : new Map()
    if (from && from.rawOriginals().size > 0) this.#originals = new Map(from.rawOriginals())
  }

  get size(): number {
    return this.#entries.size
  }

  get(key: Value): Value | undefined {
    return this.#entries.get(mapKey(key))
  }

  set(key: Value, value: Value): void {
    const k = mapKey(key)
    if (typeof key === 'object' && key !== null) {
      this.#originals ??= new Map()
      this.#originals.set(k as string, key)
    }
    this.#entries.set(k, value)
  }

  delete(key: Value): void {
    const k = mapKey(key)
    this.#entries.delete(k)
    if (typeof k === 'string') this.#originals?.delete(k)
  }

  build(): RegoObject {
    return new RegoObject(this.#entries, this.#originals)
  }
}

export const EMPTY_OBJECT = new RegoObject(new Map())
export const EMPTY_SET = new RegoSet(new Map())

/** An object from string keys; the caller gives fresh entries. */
export function objectOf(entries: Iterable<readonly [Value, Value]>): RegoObject {
  const builder = new ObjectBuilder()
  for (const [key, value] of entries) builder.set(key, value)
  return builder.build()
}

const RANK: Readonly<Record<ValueKind, number>> = {
  null: 0,
  boolean: 1,
  number: 2,
  string: 3,
  array: 4,
  object: 5,
  set: 6,
}

/** Order by code point, which is not what `<` does on UTF-16 units. */
export function compareStrings(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  if (length > LONG) meter?.charge(length / 256)
  if (a === b) return 0
  for (let i = 0; i < length; i++) {
    let x = a.charCodeAt(i)
    let y = b.charCodeAt(i)
    if (x === y) continue
    // surrogates stand for code points above U+FFFF, so they sort after U+E000..U+FFFF
    if (x >= 0xd800 && y >= 0xd800) {
      x = x >= 0xe000 ? x - 0x800 : x + 0x2000
      y = y >= 0xe000 ? y - 0x800 : y + 0x2000
    }
    return x < y ? -1 : 1
  }
  return a.length < b.length ? -1 : 1
}

/** Total order over all values: null, false, true, numbers, strings, arrays, objects, sets. */
export function compareValues(a: Value, b: Value, depth = 0): number {
  if (typeof a === 'string' && typeof b === 'string') return compareStrings(a, b)
  if (a === b) return 0
  if (isNumber(a) && isNumber(b)) return a < b ? -1 : a > b ? 1 : 0
  const ka = kindOf(a)
  const kb = kindOf(b)
  if (ka !== kb) return RANK[ka] - RANK[kb]
  if (depth > MAX_DEPTH) throw tooDeep()
  if (ka === 'boolean') return a === false ? -1 : 1
  meter?.charge(1)
  if (ka === 'array') return compareLists(a as RegoArray, b as RegoArray, depth)
  if (ka === 'set') return compareLists((a as RegoSet).members(), (b as RegoSet).members(), depth)
  return compareObjects(a as RegoObject, b as RegoObject, depth)
}

function compareLists(a: readonly Value[], b: readonly Value[], depth: number): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const order = compareValues(a[i] as Value, b[i] as Value, depth + 1)
    if (order !== 0) return order
  }
  return a.length - b.length
}

function compareObjects(a: RegoObject, b: RegoObject, depth: number): number {
  const ka = a.keys()
  const kb = b.keys()
  const length = Math.min(ka.length, kb.length)
  for (let i = 0; i < length; i++) {
    const order =
      compareValues(ka[i] as Value, kb[i] as Value, depth + 1) ||
      compareValues(a.get(ka[i] as Value) as Value, b.get(kb[i] as Value) as Value, depth + 1)
    if (order !== 0) return order
  }
  return ka.length - kb.length
}

export function isNumber(v: Value | undefined): v is RegoNumber {
  return typeof v === 'number' || typeof v === 'bigint'
}

/** Deep equality by value; `1`, `1.0` and `1e0` are one number. */
export function equalValues(a: Value, b: Value, depth = 0): boolean {
  if (typeof a === 'string') return typeof b === 'string' && equalStrings(a, b)
  if (a === b) return true
  // a double may equal an integer that is held as bigint; the order of numbers is exact
  if (isNumber(a)) return isNumber(b) && !(a < b) && !(a > b)
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (depth > MAX_DEPTH) throw tooDeep()
  meter?.charge(1)
  if (isArray(a)) return isArray(b) && equalLists(a, b, depth)
  if (a instanceof RegoObject) return b instanceof RegoObject && equalObjects(a, b, depth)
  return b instanceof RegoSet && equalSets(a, b)
}

function equalStrings(a: string, b: string): boolean {
  if (a.length !== b.length) return false
  if (a.length > LONG) meter?.charge(a.length / 1_024)
  return a === b
}

function equalLists(a: readonly Value[], b: readonly Value[], depth: number): boolean {
  if (a.length !== b.length) return false
  for (let i = 0; i < a.length; i++) {
    if (!equalValues(a[i] as Value, b[i] as Value, depth + 1)) return false
  }
  return true
}

function equalObjects(a: RegoObject, b: RegoObject, depth: number): boolean {
  if (a.size !== b.size) return false
  for (const [key, value] of a.rawEntries()) {
    const other = b.getByMapKey(key)
    if (other === undefined || !equalValues(value, other, depth + 1)) return false
  }
  return true
}

function equalSets(a: RegoSet, b: RegoSet): boolean {
  if (a.size !== b.size) return false
  const members = b.rawMembers()
  for (const key of a.rawMembers().keys()) if (!members.has(key)) return false
  return true
}

/** Sorts in place by value order and returns the same array. */
export function sortValues(values: Value[]): Value[] {
  return values.sort(compareValues)
}

/** Element, member or entry of `v` at `key`; undefined for everything that is not there. */
export function lookup(v: Value | undefined, key: Value): Value | undefined {
  if (v instanceof RegoObject) return v.get(key)
  if (isArray(v)) return typeof key === 'number' && Number.isInteger(key) && key >= 0 ? v[key] : undefined
  if (v instanceof RegoSet) return v.has(key) ? key : undefined
  return undefined
}
