import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type JsonObject, type JsonValue, parseJson } from '@passport-kbs/protocol'

/** The folder of published vectors; undefined, with a loud word, where there is none. */
function vectorsFolder(): string | undefined {
  const folder = process.env.KBS_VECTORS ?? resolve(import.meta.dirname, '../../../../../shared/vectors')
  if (existsSync(folder)) return folder
  if (process.env.CI === 'true') throw new Error(`no vectors at ${folder}: set KBS_VECTORS`)
  console.warn(`SKIPPED: no vectors at ${folder}; set KBS_VECTORS to the vectors folder`)
  return undefined
}

export const vectors: string | undefined = vectorsFolder()

/** The bytes of a vector file; `path` is relative to the vectors folder. */
export function vectorBytes(...path: string[]): Uint8Array {
  return readFileSync(join(vectors ?? '', ...path))
}

export function vectorJson(...path: string[]): JsonValue {
  return parseJson(vectorBytes(...path))
}

/** The cases of a case file; none where there are no vectors. */
export function vectorCases(...path: string[]): JsonObject[] {
  if (vectors === undefined) return []
  const file = vectorJson(...path) as { cases: JsonObject[] } & JsonObject
  return file.cases
}
