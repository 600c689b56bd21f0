import { existsSync, globSync, readFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'

const needed = ['initdb', 'postgres', 'psql'] as const

/** The folder with the newest server's programs, or undefined: Debian keeps them out of PATH. */
function programsFolder(): string | undefined {
  const version = (path: string) => Number(/(\d+)\/bin/.exec(path)?.[1] ?? 0)
  const ofDebian = globSync('/usr/lib/postgresql/*/bin/initdb').sort((a, b) => version(b) - version(a))
  const inPath = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, 'initdb'))
  return [...ofDebian, ...inPath]
    .map(dirname)
    .find((folder) => needed.every((name) => existsSync(join(folder, name))))
}

/**
 * Whether real PostgreSQL servers can be started here. Where they cannot, says so loudly, and refuses to go on in CI:
 * tests against PostgreSQL are not to be lost without anyone noticing.
 */
export function postgresAvailable(): boolean {
  if (programsFolder() !== undefined) return true
  const message = `${needed.join(', ')} not found: tests against PostgreSQL CANNOT RUN. apt-get install postgresql`
  if (process.env.CI === 'true') throw new Error(message)
  console.warn(`\n*** ${message}\n`)
  return false
}

/** Path of one of the server's programs. */
export function postgresProgram(name: (typeof needed)[number]): string {
  const folder = programsFolder()
  if (folder === undefined) throw new Error('PostgreSQL is not installed')
  return join(folder, name)
}

/** Whom the server runs as: PostgreSQL refuses root. Undefined where this process is somebody else already. */
export function serverUser(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  const users = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
  const user = ['postgres', 'nobody']
    .map((wanted) => users.find(([name]) => name === wanted))
    .find((found) => found !== undefined)
  if (user === undefined) throw new Error('neither the user postgres nor nobody is in /etc/passwd')
  return { uid: Number(user[2]), gid: Number(user[3]) }
}
