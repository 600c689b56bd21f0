import { spawnSync } from 'node:child_process'

/**
 * Whether all of these programs are here. Where one is not, says so loudly, and refuses to go on in CI: tests are not to be
 * lost without anyone noticing.
 * @param what which tests cannot run without them
 */
export function commandsAvailable(commands: readonly string[], what: string): boolean {
  const missing = commands.filter(
    (command) => spawnSync(command, ['--version'], { stdio: 'ignore' }).error !== undefined,
  )
  if (missing.length === 0) return true
  const message = `${missing.join(' and ')} not found: ${what} CANNOT RUN. apt-get install ${missing.map((command) => packages[command] ?? command).join(' ')}`
  if (process.env.CI === 'true') throw new Error(message)
  console.warn(`\n*** ${message}\n`)
  return false
}

const packages: Readonly<Record<string, string>> = { prlimit: 'util-linux', setpriv: 'util-linux' }
