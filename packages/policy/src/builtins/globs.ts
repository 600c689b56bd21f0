/** `regex.globs_match`: whether two regex-like globs have a non-empty string in common. */
import type { Context } from '../evaluate/context.ts'
import { type Builtin, BuiltinError, stringAt } from './builtin.ts'

type Range = readonly [number, number]

/** One position of a glob: the characters it takes, and how often. */
interface Item {
  readonly ranges: readonly Range[]
  readonly mayRepeat: boolean
  readonly maySkip: boolean
}

const ANY: readonly Range[] = [[0, 0x10ffff]]

/** Characters, `.`, `[a-z]` and `\x`, each with an optional `+` or `*`. */
function parse(glob: string, argument: number): Item[] {
  const points = [...glob]
  const items: Item[] = []
  for (let i = 0; i < points.length; ) {
    let ranges: readonly Range[]
    const c = points[i] as string
    if (c === '[') {
      const close = closingBracket(points, i, argument)
      ranges = parseClass(points.slice(i + 1, close))
      i = close + 1
    } else if (c === '\\' && i + 1 < points.length) {
      ranges = [single(points[i + 1] as string)]
      i += 2
    } else {
      ranges = c === '.' ? ANY : [single(c)]
      i++
    }
    const flag = points[i]
    if (flag === '+' || flag === '*') i++
    items.push({ ranges, mayRepeat: flag === '+' || flag === '*', maySkip: flag === '*' })
  }
  return items
}

function single(c: string): Range {
  const point = c.codePointAt(0) as number
  return [point, point]
}

function closingBracket(points: readonly string[], open: number, argument: number): number {
  for (let i = open + 1; i < points.length; i++) {
    if (points[i] === '\\') i++
    else if (points[i] === ']') return i
  }
  throw new BuiltinError('unclosed [ in the glob', { argument })
}

function parseClass(points: readonly string[]): Range[] {
  const ranges: Range[] = []
  for (let i = 0; i < points.length; i++) {
    const from = single(points[points[i] === '\\' ? ++i : i] ?? '\\')
    if (points[i + 1] === '-' && i + 2 < points.length) {
      ranges.push([from[0], single(points[i + 2] as string)[0]])
      i += 2
    } else ranges.push(from)
  }
  return ranges
}

function overlap(a: readonly Range[], b: readonly Range[]): boolean {
  return a.some(([low, high]) => b.some(([from, to]) => low <= to && from <= high))
}

/** Walks both globs together; a state is how far each has come. */
function intersect(a: readonly Item[], b: readonly Item[], context: Context): boolean {
  const seen = new Set<number>()
  const work: [number, number][] = [[0, 0]]
  const width = b.length + 1
  for (let state = work.pop(); state; state = work.pop()) {
    const [i, j] = state
    if (seen.has(i * width + j)) continue
    seen.add(i * width + j)
    context.tick()
    if (i === a.length && j === b.length) return true
    const x = a[i]
    const y = b[j]
    if (x?.maySkip) work.push([i + 1, j])
    if (y?.maySkip) work.push([i, j + 1])
    if (!x || !y || !overlap(x.ranges, y.ranges)) continue
    work.push([i + 1, j + 1])
    if (x.mayRepeat) work.push([i, j + 1])
    if (y.mayRepeat) work.push([i + 1, j])
  }
  return false
}

const globsMatch: Builtin['call'] = (args, context) => {
  const a = parse(stringAt(args, 0), 1)
  const b = parse(stringAt(args, 1), 2)
  context.charge(a.length + b.length)
  return intersect(a, b, context)
}

export const globsBuiltins: readonly Builtin[] = [
  { name: 'regex.globs_match', arity: 2, tier: 2, call: globsMatch },
]
