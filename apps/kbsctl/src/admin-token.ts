import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { readText, tokenIn } from './files.ts'
import type { Terminal } from './terminal.ts'

/**
 * The administrator's token: from the file that was named, else from where Trustee's set-up scripts put it (spec 01 §6.3):
 * `kbs/config/docker-compose/admin-token` below the current directory, then `$HOME/.trustee/admin-token`.
 * @returns undefined, after a warning, if there is none.
 */
export async function findAdminToken(
  terminal: Terminal,
  file: string | undefined,
): Promise<string | undefined> {
  if (file !== undefined) return tokenIn(await readText(terminal, file), file)
  for (const path of usualPlaces(terminal)) {
    const token = await readFile(path, 'utf8').catch(() => undefined)
    if (token !== undefined) return tokenIn(token, path)
  }
  terminal.err('Warning: no admin token file found, sending no Authorization header')
  return undefined
}

function usualPlaces({ cwd, env }: Terminal): string[] {
  const below = join(cwd, 'kbs/config/docker-compose/admin-token')
  return env.HOME === undefined ? [below] : [below, join(env.HOME, '.trustee/admin-token')]
}
