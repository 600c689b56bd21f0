/** Semantic versions 2.0.0. */
import { type Builtin, BuiltinError, stringAt } from './builtin.ts'

const VERSION =
  /^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?$/
const LENGTH = 256

interface Version {
  readonly core: readonly bigint[]
  readonly pre: readonly string[]
}

function parse(text: string): Version | undefined {
  const match = text.length <= LENGTH ? VERSION.exec(text) : null
  if (!match) return undefined
  const [, major = '', minor = '', patch = '', pre] = match
  return { core: [major, minor, patch].map(BigInt), pre: pre === undefined ? [] : pre.split('.') }
}

function compareIdentifiers(a: string, b: string): number {
  const numeric = /^[0-9]+$/
  if (numeric.test(a) && numeric.test(b)) return BigInt(a) < BigInt(b) ? -1 : BigInt(a) > BigInt(b) ? 1 : 0
  if (numeric.test(a) !== numeric.test(b)) return numeric.test(a) ? -1 : 1
  return a < b ? -1 : a > b ? 1 : 0
}

function compare(a: Version, b: Version): number {
  for (let i = 0; i < 3; i++) {
    const [x, y] = [a.core[i] as bigint, b.core[i] as bigint]
    if (x !== y) return x < y ? -1 : 1
  }
  if (a.pre.length === 0 || b.pre.length === 0) return Math.sign(b.pre.length - a.pre.length)
  for (let i = 0; i < Math.min(a.pre.length, b.pre.length); i++) {
    const order = compareIdentifiers(a.pre[i] as string, b.pre[i] as string)
    if (order !== 0) return order
  }
  return Math.sign(a.pre.length - b.pre.length)
}

function versionAt(args: Parameters<Builtin['call']>[0], index: number): Version {
  const version = parse(stringAt(args, index))
  if (!version) throw new BuiltinError('the text is not a valid semantic version', { argument: index + 1 })
  return version
}

export const semverBuiltins: readonly Builtin[] = [
  {
    name: 'semver.compare',
    arity: 2,
    tier: 2,
    call: (args) => compare(versionAt(args, 0), versionAt(args, 1)),
  },
  {
    name: 'semver.is_valid',
    arity: 1,
    tier: 2,
    call: ([v]) => typeof v === 'string' && parse(v) !== undefined,
  },
]
