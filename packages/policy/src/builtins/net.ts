/** Address ranges in CIDR notation. */
import { isIP } from 'node:net'
import type { Context } from '../evaluate/context.ts'
import { isArray, RegoObject, RegoSet, type Value } from '../values/value.ts'
import { type Builtin, BuiltinError, listAt, stringAt, wrongKind } from './builtin.ts'

type Call = Builtin['call']

/** First and last address; `width` is 32 or 128 bits. */
interface Range {
  readonly first: bigint
  readonly last: bigint
  readonly width: 32 | 128
}

function parseAddress(text: string): { address: bigint; width: 32 | 128 } | undefined {
  const version = isIP(text)
  if (version === 4) return { address: bytesOf(text.split('.')), width: 32 }
  if (version !== 6 || text.includes('%')) return undefined
  const groups = expand(text)
  return { address: groups.reduce((n, group) => (n << 16n) | BigInt(`0x${group}`), 0n), width: 128 }
}

function bytesOf(parts: readonly string[]): bigint {
  return parts.reduce((n, part) => (n << 8n) | BigInt(part), 0n)
}

function expand(text: string): string[] {
  const dotted = /^(.*:)([0-9]+)\.([0-9]+)\.([0-9]+)\.([0-9]+)$/.exec(text)
  const plain = dotted
    ? dotted[1] + [dotted.slice(2, 4), dotted.slice(4, 6)].map((pair) => bytesOf(pair).toString(16)).join(':')
    : text
  const [head = '', tail] = plain.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  return tail === undefined
    ? left
    : [...left, ...new Array<string>(8 - left.length - right.length).fill('0'), ...right]
}

function parseCidr(text: string): Range | undefined {
  const [address = '', prefix, ...rest] = text.split('/')
  const parsed = parseAddress(address)
  if (!parsed || prefix === undefined || rest.length > 0 || !/^(0|[1-9][0-9]{0,2})$/.test(prefix))
    return undefined
  const bits = parsed.width - Number(prefix)
  if (bits < 0) return undefined
  const size = 1n << BigInt(bits)
  const first = (parsed.address / size) * size
  return { first, last: first + size - 1n, width: parsed.width }
}

/** A range, or a single address as a range of one. */
function rangeOf(text: string): Range {
  const range = parseCidr(text)
  if (range) return range
  const single = parseAddress(text)
  if (!single) throw new BuiltinError('not a valid address or CIDR')
  return { first: single.address, last: single.address, width: single.width }
}

function cidrAt(args: readonly Value[], index: number): Range {
  const range = parseCidr(stringAt(args, index))
  if (!range) throw new BuiltinError('not a valid CIDR', { argument: index + 1 })
  return range
}

function contains(outer: Range, inner: Range): boolean {
  return outer.width === inner.width && outer.first <= inner.first && inner.last <= outer.last
}

const cidrContains: Call = (args) => contains(cidrAt(args, 0), rangeOf(stringAt(args, 1)))

const cidrIntersects: Call = (args) => {
  const a = cidrAt(args, 0)
  const b = cidrAt(args, 1)
  return a.width === b.width && a.first <= b.last && b.first <= a.last
}

/** Text of an address; IPv6 compressed as RFC 5952 asks. */
function addressText(address: bigint, width: 32 | 128): string {
  if (width === 32) return [24n, 16n, 8n, 0n].map((shift) => (address >> shift) & 255n).join('.')
  const groups: string[] = []
  for (let shift = 112n; shift >= 0n; shift -= 16n) groups.push(((address >> shift) & 0xffffn).toString(16))
  const text = groups.join(':')
  let best = ''
  for (const match of text.matchAll(/(?:^|(?<=:))0(?::0)+(?=:|$)/g))
    if (match[0].length > best.length) best = match[0]
  if (best === '') return text
  const at = text.search(new RegExp(`(?:^|(?<=:))${best}(?=:|$)`))
  return `${text.slice(0, at).replace(/:$/, '')}::${text.slice(at + best.length).replace(/^:/, '')}`
}

const cidrExpand: Call = (args, context) => {
  const { first, last, width } = cidrAt(args, 0)
  context.growCollection(Number(last - first) + 1)
  const addresses: string[] = []
  for (let address = first; address <= last; address++) addresses.push(addressText(address, width))
  return RegoSet.of(addresses)
}

/** Ranges as given, with what names them in the result: the index or key. */
function rangesAt(args: readonly Value[], index: number): { name: Value; range: Range }[] {
  const v = args[index] as Value
  if (typeof v === 'string') return [{ name: v, range: rangeOf(v) }]
  if (isArray(v)) return v.map((item, i) => ({ name: i, range: elementRange(item, index) }))
  if (v instanceof RegoSet)
    return v.members().map((item) => ({ name: item, range: elementRange(item, index) }))
  if (v instanceof RegoObject)
    return [...v.entries()].map(([name, item]) => ({ name, range: elementRange(item, index) }))
  throw wrongKind(index, 'string, array, set or object', v)
}

/** A text, or an array that starts with one. */
function elementRange(item: Value, index: number): Range {
  const text = isArray(item) ? item[0] : item
  if (typeof text !== 'string') {
    throw new BuiltinError('element must be string or non-empty array', { argument: index + 1 })
  }
  return rangeOf(text)
}

const containsMatches: Call = (args, context: Context) => {
  const outer = rangesAt(args, 0)
  const inner = rangesAt(args, 1)
  context.charge(outer.length * inner.length)
  const pairs: Value[] = []
  for (const a of outer) for (const b of inner) if (contains(a.range, b.range)) pairs.push([a.name, b.name])
  context.growCollection(pairs.length)
  return RegoSet.of(pairs)
}

/** A bare IPv4 address stands for the network of its class, as Go's default mask has it. */
function mergeable(text: string): Range {
  const single = text.includes('/') ? undefined : parseAddress(text)
  if (single?.width !== 32) return rangeOf(text)
  const octet = Number(single.address >> 24n)
  return parseCidr(`${text}/${octet < 128 ? 8 : octet < 192 ? 16 : 24}`) as Range
}

/** The fewest CIDRs that cover the same addresses. */
const merge: Call = (args, context) => {
  const ranges = listAt(args, 0).map((item) => {
    if (typeof item !== 'string') throw wrongKind(0, 'collection of strings', item)
    if (!item.includes('/') && item.includes(':')) throw new BuiltinError('IPv6 invalid: needs prefix length')
    return mergeable(item)
  })
  context.charge(ranges.length * 8)
  ranges.sort((a, b) => a.width - b.width || (a.first < b.first ? -1 : a.first > b.first ? 1 : 0))
  const merged: { first: bigint; last: bigint; width: 32 | 128 }[] = []
  for (const range of ranges) {
    const top = merged.at(-1)
    if (top && top.width === range.width && range.first <= top.last + 1n) {
      if (range.last > top.last) top.last = range.last
    } else merged.push({ ...range })
  }
  return RegoSet.of(merged.flatMap((range) => blocks(range)))
}

function blocks({ first, last, width }: Range): string[] {
  const texts: string[] = []
  for (let at = first; at <= last; ) {
    let bits = 0
    while (bits < width) {
      const size = 1n << BigInt(bits + 1)
      if (at % size !== 0n || at + size - 1n > last) break
      bits++
    }
    texts.push(`${addressText(at, width)}/${width - bits}`)
    at += 1n << BigInt(bits)
  }
  return texts
}

const isValid: Call = ([v]) => typeof v === 'string' && parseCidr(v) !== undefined

export const netBuiltins: readonly Builtin[] = [
  { name: 'net.cidr_contains', arity: 2, tier: 2, call: cidrContains },
  { name: 'net.cidr_overlap', arity: 2, tier: 2, v0Only: true, call: cidrContains },
  { name: 'net.cidr_contains_matches', arity: 2, tier: 2, call: containsMatches },
  { name: 'net.cidr_expand', arity: 1, tier: 2, call: cidrExpand },
  { name: 'net.cidr_intersects', arity: 2, tier: 2, call: cidrIntersects },
  { name: 'net.cidr_is_valid', arity: 1, tier: 2, call: isValid },
  { name: 'net.cidr_merge', arity: 1, tier: 2, call: merge },
]
