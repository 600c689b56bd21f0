/** Seeds out of values, and out of recorded evidence where the vectors are at hand. */
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { vectorsFolder } from '../../vectors.ts'

/** Bytes: larger ones are slow to change and add little. */
const largestVector = 60_000

/** JSON texts of `values`. */
export function jsonSeeds(values: readonly unknown[]): Uint8Array[] {
  return values.map((value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)))
}

/** Files below a folder of the vectors whose names match; none where there are no vectors. */
export function vectorSeeds(folder: string, names: RegExp, largest: number = largestVector): Buffer[] {
  const path = fileURLToPath(new URL(`${folder}/`, vectorsFolder()))
  try {
    return readdirSync(path, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && names.test(entry.name))
      .map((entry) => readFileSync(`${entry.parentPath}/${entry.name}`))
      .filter(({ length }) => length <= largest)
  } catch {
    return []
  }
}

/** Runs every reader; what each refuses with one of `rejections` does not keep the others from running. */
export function readWithAll(
  rejections: readonly (abstract new (...parameters: never[]) => Error)[],
  ...readers: readonly (() => unknown)[]
): void {
  for (const read of readers) {
    try {
      read()
    } catch (error) {
      if (!rejections.some((rejection) => error instanceof rejection)) throw error
    }
  }
}
