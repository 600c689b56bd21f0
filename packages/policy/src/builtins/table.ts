/** All builtins by name, and the subsets that a compilation may use. */
import type { Dialect } from '../syntax/ast.ts'
import { aggregates } from './aggregates.ts'
import type { Builtin } from './builtin.ts'

const ALL: readonly Builtin[] = [...aggregates]

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
