/** All builtins by name, and the subsets that a compilation may use. */
import type { Dialect } from '../syntax/ast.ts'
import { aggregates } from './aggregates.ts'
import type { Builtin } from './builtin.ts'
import { collectionBuiltins } from './collections.ts'
import { cryptoBuiltins } from './crypto.ts'
import { documentBuiltins } from './documents.ts'
import { encodingBuiltins } from './encoding.ts'
import { globBuiltins } from './glob.ts'
import { globsBuiltins } from './globs.ts'
import { graphBuiltins } from './graph.ts'
import { jwtBuiltins } from './jwt.ts'
import { netBuiltins } from './net.ts'
import { numberBuiltins } from './numbers.ts'
import { regexBuiltins } from './regex.ts'
import { runtimeBuiltins } from './runtime.ts'
import { schemaBuiltins } from './schema.ts'
import { semverBuiltins } from './semver.ts'
import { stringBuiltins } from './strings.ts'
import { timeBuiltins } from './time.ts'
import { typeBuiltins } from './types.ts'
import { unitBuiltins } from './units.ts'
import { uuidBuiltins } from './uuid.ts'

const ALL: readonly Builtin[] = [
  ...aggregates,
  ...numberBuiltins,
  ...typeBuiltins,
  ...collectionBuiltins,
  ...stringBuiltins,
  ...regexBuiltins,
  ...encodingBuiltins,
  ...timeBuiltins,
  ...unitBuiltins,
  ...documentBuiltins,
  ...graphBuiltins,
  ...globBuiltins,
  ...semverBuiltins,
  ...uuidBuiltins,
  ...cryptoBuiltins,
  ...netBuiltins,
  ...globsBuiltins,
  ...jwtBuiltins,
  ...schemaBuiltins,
  ...runtimeBuiltins,
]

const tables = new Map<string, ReadonlyMap<string, Builtin>>()

/** The builtins of a dialect: all, or only those of upstream's engine build (tiers 0 and 1). */
export function builtinTable(which: 'upstream' | 'full', dialect: Dialect): ReadonlyMap<string, Builtin> {
  const key = `${which}/${dialect}`
  let table = tables.get(key)
  if (!table) {
    const known = ALL.filter(
      ({ tier, v0Only }) => (which === 'full' || tier < 2 || tier === 4) && !(v0Only && dialect === 'v1'),
    )
    table = new Map(known.map((builtin) => [builtin.name, builtin]))
    tables.set(key, table)
  }
  return table
}
