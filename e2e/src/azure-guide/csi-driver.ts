import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parse as parseYaml } from 'yaml'
import type { SetSecret } from './guide.ts'

/** One entry of `objects` of a SecretProviderClass. */
export interface MountedObject {
  readonly objectName: string
  readonly objectType: string
  readonly objectEncoding?: string
}

/** Reads `parameters.objects`: YAML in YAML in YAML. */
export function objectsOf(parameter: string): readonly MountedObject[] {
  const { array } = parseYaml(parameter) as { readonly array: readonly string[] }
  return array.map((text) => parseYaml(text) as MountedObject)
}

/**
 * Lays out a directory as the driver's atomic writer does: a folder of the moment, `..data` that is swapped to it, and a
 * link for each name; the former folder goes.
 */
export async function mountSecrets(
  directory: string,
  objects: readonly MountedObject[],
  vault: ReadonlyMap<string, readonly SetSecret[]>,
  moment: string,
  former?: string,
): Promise<void> {
  const folder = `..${moment}`
  await mkdir(join(directory, folder), { recursive: true })
  for (const { objectName, objectEncoding } of objects) {
    const value = vault.get(objectName)?.at(-1)?.value
    if (value === undefined) throw new Error(`the vault has no ${objectName}`)
    const bytes = Buffer.from(value, objectEncoding === 'base64' ? 'base64' : 'utf8')
    await writeFile(join(directory, folder, objectName), bytes, { mode: 0o644 })
  }
  await symlink(folder, join(directory, '..data_tmp'))
  await rename(join(directory, '..data_tmp'), join(directory, '..data'))
  for (const { objectName } of former === undefined ? objects : [])
    await symlink(join('..data', objectName), join(directory, objectName))
  if (former !== undefined) await rm(join(directory, `..${former}`), { recursive: true })
}
