import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isJsonObject, type JsonObject, parseJson } from '@passport-kbs/protocol'

const folder = process.env.KBS_VECTORS ?? join(import.meta.dirname, '../../../../shared/vectors')

/** Whether the recorded evidence is there. In CI its absence is a failure. */
export const hasVectors = existsSync(folder)

if (!hasVectors) {
  const text = `no vectors at ${folder}: set KBS_VECTORS to the folder of recorded evidence`
  if (process.env.CI === 'true') throw new Error(text)
  console.warn(`SKIPPED: ${text}`)
}

/** The claims that a verifier has to give for recorded evidence. */
export function recordedClaims(path: string): JsonObject {
  const value = parseJson(readFileSync(join(folder, path)), { maxDepth: 64 })
  if (!isJsonObject(value)) throw new TypeError(`${path} is not an object`)
  return value
}
