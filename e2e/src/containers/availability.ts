import { spawnSync } from 'node:child_process'

/** What the tests run, and the package of Debian that has it. */
const programs = [
  ['ip', 'iproute2'],
  ['crun', 'crun'],
  ['tini-static', 'tini'],
  ['redis-server', 'redis-server'],
  ['redis-cli', 'redis-server'],
  ['ldd', 'libc-bin'],
] as const

/**
 * Whether containers with networks of their own can be run here. Where they cannot, says so loudly, and refuses to go
 * on in CI.
 */
export function containersAvailable(): boolean {
  const reason = missing()
  if (reason === undefined) return true
  const message = `${reason}: the compose files CANNOT BE RUN`
  if (process.env.CI === 'true') throw new Error(message)
  console.warn(`\n*** ${message}\n`)
  return false
}

function missing(): string | undefined {
  if (process.platform !== 'linux') return 'not Linux'
  if (process.getuid?.() !== 0) return 'containers and network namespaces need root'
  const absent = programs.filter(([program]) => spawnSync('which', [program]).status !== 0)
  if (absent.length > 0) {
    const packages = new Set(absent.map(([, name]) => name))
    return `${absent.map(([program]) => program).join(', ')} not found, apt-get install ${[...packages].join(' ')}`
  }
  const attempt = spawnSync('unshare', ['--mount', '--net', '--pid', '--fork', 'true'], { encoding: 'utf8' })
  return attempt.status === 0 ? undefined : `no namespaces can be made (${attempt.stderr.trim()})`
}
