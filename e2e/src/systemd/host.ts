import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

/** What a command has left. */
export interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A small host in memory with a systemd of its own: file system, processes and network are apart from this machine's. */
export interface SystemdHost {
  readonly name: string
  /** Process id of its systemd, as this machine counts. */
  readonly pid: number
  /** Runs a script in the folder of the checkout, as root. Throws with what it wrote where it fails. */
  sh(script: string, input?: string | Uint8Array): string
  /** The same, whatever comes of it. */
  attempt(script: string, input?: string | Uint8Array): Ended
  close(): Promise<void>
}

const folder = new URL('.', import.meta.url).pathname
const checkout = new URL('../../..', import.meta.url).pathname
const bootTimeoutMs = 20_000
const commandTimeoutMs = 60_000

const programs = [
  ['/lib/systemd/systemd', 'systemd'],
  ['systemd-sysusers', 'systemd'],
  ['ip', 'iproute2'],
  ['nsenter', 'util-linux'],
  ['curl', 'curl'],
  ['redis-server', 'redis-server'],
] as const

/** Whether a systemd can be run here. Where it cannot, says so loudly, and refuses to go on in CI. */
export function systemdAvailable(): boolean {
  return available(missing(), 'the systemd units CANNOT BE RUN')
}

/** Whether units can be looked at here, which anyone may. */
export function unitAnalysisAvailable(): boolean {
  const there = spawnSync('systemd-analyze', ['--version'], { stdio: 'ignore' }).status === 0
  return available(
    there ? undefined : 'systemd-analyze not found, apt-get install systemd',
    'the systemd unit CANNOT BE CHECKED',
  )
}

function available(reason: string | undefined, consequence: string): boolean {
  if (reason === undefined) return true
  const message = `${reason}: ${consequence}`
  if (process.env.CI === 'true') throw new Error(message)
  console.warn(`\n*** ${message}\n`)
  return false
}

function missing(): string | undefined {
  if (process.platform !== 'linux') return 'not Linux'
  if (process.getuid?.() !== 0) return 'hosts of our own need root'
  const absent = programs.filter(([program]) => spawnSync('which', [program]).status !== 0)
  if (absent.length > 0) {
    const packages = new Set(absent.map(([, name]) => name))
    return `${absent.map(([program]) => program).join(', ')} not found, apt-get install ${[...packages].join(' ')}`
  }
  const attempt = spawnSync(
    'unshare',
    ['--mount', '--net', '--pid', '--cgroup', '--fork', 'mount', '-t', 'cgroup2', 'cgroup2', '/mnt'],
    { encoding: 'utf8' },
  )
  return attempt.status === 0
    ? undefined
    : `no namespaces with control groups can be made (${attempt.stderr.trim()})`
}

/** What runs now, so that a test that ends by an exception leaves no host behind. */
const running = new Set<number>()
process.once('exit', () => {
  for (const pid of running) endNow(pid)
})

/** Boots a host; resolves when its systemd has reached its target. */
export async function startSystemdHost(name: string): Promise<SystemdHost> {
  const root = await mkdtemp(join(tmpdir(), `systemd-${name}-`))
  const group = `passport-kbs-${process.pid}-${name}`
  const child = spawn('unshare', ['--mount', 'sh', join(folder, 'enter.sh'), root, checkout, group], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-8_000)
    })
  }
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const pid = await untilBooted(child, () => output)
  running.add(pid)
  const attempt = (script: string, input: string | Uint8Array = '') => enter(pid, script, input)
  return {
    name,
    pid,
    attempt,
    sh(script, input) {
      const { status, stdout, stderr } = attempt(script, input)
      if (status !== 0) throw new Error(`${name}: status ${status}:\n${script}\n${stdout}${stderr}`)
      return stdout
    },
    async close() {
      running.delete(pid)
      endNow(pid)
      await exited
      await rm(root, { recursive: true, force: true })
    },
  }
}

/** Joins two hosts by a cable; each knows both by these names. */
export function connectHosts(a: SystemdHost, b: SystemdHost, names: readonly [string, string]): void {
  const [linkA, linkB] = [`kbs${a.pid}`, `kbs${b.pid}`]
  const ip = (...args: string[]) => {
    const { status, stderr } = spawnSync('ip', args, { encoding: 'utf8' })
    if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr}`)
  }
  ip(
    'link',
    'add',
    linkA,
    'netns',
    String(a.pid),
    'type',
    'veth',
    'peer',
    'name',
    linkB,
    'netns',
    String(b.pid),
  )
  const hosts = `192.0.2.1 ${names[0]}\n192.0.2.2 ${names[1]}\n`
  for (const [host, link, address] of [
    [a, linkA, '192.0.2.1/24'],
    [b, linkB, '192.0.2.2/24'],
  ] as const) {
    host.sh(`ip addr add ${address} dev ${link} && ip link set ${link} up && cat >> /etc/hosts`, hosts)
  }
}

const namespaces = ['--mount', '--pid', '--uts', '--ipc', '--net', '--cgroup']

function enter(pid: number, script: string, input: string | Uint8Array): Ended {
  const { status, stdout, stderr } = spawnSync(
    'nsenter',
    [`--target=${pid}`, ...namespaces, 'sh', '-euc', `cd /srv/passport-kbs\n${script}`],
    {
      input,
      encoding: 'utf8',
      timeout: commandTimeoutMs,
      env: { PATH: '/usr/sbin:/usr/bin', HOME: '/root', LANG: 'C.UTF-8' },
    },
  )
  return { status, stdout, stderr }
}

async function untilBooted(child: ChildProcess, output: () => string): Promise<number> {
  const deadline = performance.now() + bootTimeoutMs
  while (child.exitCode === null && performance.now() < deadline) {
    const pid = await systemdOf(child)
    if (pid !== undefined && enter(pid, 'systemctl is-active multi-user.target', '').status === 0) return pid
    await delay(50)
  }
  child.kill('SIGTERM')
  throw new Error(`systemd did not start:\n${output()}`)
}

/** The systemd below `child`, once boot.sh has become it. */
async function systemdOf(child: ChildProcess): Promise<number | undefined> {
  let pid = child.pid
  while (pid !== undefined) {
    const command = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')
    if (command === 'systemd\n') return pid
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '')
    pid = children === '' ? undefined : Number(children.split(' ')[0])
  }
  return undefined
}

/** The end of its first process ends all others of the host. */
function endNow(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // it has ended by itself
  }
}
