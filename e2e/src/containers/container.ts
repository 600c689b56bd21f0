import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, readFile, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Ended, LogLine } from '../program.ts'
import type { Healthcheck, RestartPolicy } from './compose-file.ts'
import { copyRootfs, type Image } from './image.ts'
import { type RunOptions, run } from './process.ts'

/** What an engine is told to run: an image, and everything that is said beside it. */
export interface ContainerOptions {
  readonly name: string
  readonly image: Image
  /** Path of a network namespace. */
  readonly network: string
  /** Text of `/etc/hosts`, in place of the engine's name server. */
  readonly hosts: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly workingDir: string
  /** `uid:gid` */
  readonly user: string
  readonly readOnly: boolean
  readonly tmpfs: readonly string[]
  readonly mounts: readonly ContainerMount[]
  readonly capabilities: readonly string[]
  readonly noNewPrivileges: boolean
  readonly init: boolean
  readonly restart: RestartPolicy
  readonly stopGraceMs: number
  readonly healthcheck: Healthcheck | undefined
}

export interface ContainerMount {
  readonly source: string
  readonly target: string
  readonly readOnly: boolean
}

export interface Container {
  readonly name: string
  readonly options: ContainerOptions
  /** All it has written, standard output and error, over restarts. */
  output(): string
  standardOutput(): string
  /** Its log lines so far. */
  log(): readonly LogLine[]
  /** How often it has been started. */
  starts(): number
  running(): boolean
  /** Its standard input. */
  write(text: string): void
  /** Runs a program inside, as its user, with its environment. */
  exec(args: readonly string[], options?: RunOptions): Promise<Ended>
  /** Resolves when the health check succeeds; rejects with the output when it does not in the time it is given. */
  healthy(): Promise<void>
  /** One run of the health check. */
  isHealthy(): Promise<boolean>
  /** `/proc/<pid>/<file>` of the program (not of the init process). */
  proc(file: string): Promise<string>
  /** SIGKILL to the program from outside, as the kernel does where memory runs out. Restart policies apply. */
  crash(): Promise<void>
  /** SIGTERM; SIGKILL after the grace period. Answers the exit code. */
  stop(): Promise<number>
  /** The exit code, once it has ended for good. */
  ended(): Promise<number>
}

/** Capabilities that Docker gives to root unless told otherwise. */
export const defaultCapabilities = [
  ...['CHOWN', 'DAC_OVERRIDE', 'FSETID', 'FOWNER', 'MKNOD', 'NET_RAW', 'SETGID', 'SETUID', 'SETFCAP'],
  ...['SETPCAP', 'NET_BIND_SERVICE', 'SYS_CHROOT', 'KILL', 'AUDIT_WRITE'],
]

const restartDelayMs = 100
const healthIntervalMs = 300

let count = 0

/** Starts a container. It is up when its program is; whether that is ready, `healthy` says. */
export async function startContainer(options: ContainerOptions): Promise<Container> {
  count += 1
  const runtime = await createRuntime(`kbse2e-${process.pid}-${count}`, options)
  let output = ''
  let standardOutput = ''
  let starts = 0
  let stopping = false
  let child: ChildProcess = launch()
  const finished = supervise()

  function launch(): ChildProcess {
    starts += 1
    const launched = runtime.launch()
    launched.stdout?.on('data', (chunk: Buffer) => {
      output += chunk.toString()
      standardOutput += chunk.toString()
    })
    launched.stderr?.on('data', (chunk: Buffer) => {
      output += chunk.toString()
    })
    launched.stdin?.on('error', () => {
      // the program has ended; that is seen elsewhere
    })
    return launched
  }
  async function supervise(): Promise<number> {
    for (;;) {
      const code = await closed(child)
      if (stopping || !isRestarted(options.restart, code)) return code
      await delay(restartDelayMs)
      if (stopping) return code
      child = launch()
    }
  }
  const running = () => child.exitCode === null && child.signalCode === null
  const isHealthy = async () => {
    const { test = [], timeoutMs } = options.healthcheck ?? {}
    if (test.length === 0) return running()
    const { code } = await runtime.exec(test, timeoutMs === undefined ? {} : { timeoutMs })
    return code === 0
  }
  return {
    name: options.name,
    options,
    output: () => output,
    standardOutput: () => standardOutput,
    log: () => logLines(output),
    starts: () => starts,
    running,
    write: (text) => {
      child.stdin?.write(text)
    },
    exec: runtime.exec,
    isHealthy,
    async healthy() {
      const deadline = performance.now() + (options.healthcheck?.patienceMs ?? 10_000)
      // an engine asks after an interval for the first time; asking sooner changes nothing but how long tests take
      while (!(await isHealthy())) {
        if (performance.now() > deadline) throw new Error(`${options.name} is not healthy:\n${output}`)
        await delay(healthIntervalMs)
      }
    },
    proc: async (file) => readFile(`/proc/${await runtime.programPid()}/${file}`, 'utf8'),
    async crash() {
      const before = starts
      process.kill(await runtime.programPid(), 'SIGKILL')
      while (starts === before && running()) await delay(10)
    },
    async stop() {
      stopping = true
      if (running()) await runtime.kill('TERM')
      const timer = setTimeout(() => void runtime.kill('KILL'), options.stopGraceMs)
      const code = await finished
      clearTimeout(timer)
      return code
    },
    ended: () => finished,
  }
}

function isRestarted(policy: RestartPolicy, code: number): boolean {
  return policy === 'always' || policy === 'unless-stopped' || (policy === 'on-failure' && code !== 0)
}

async function closed(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve(code ?? 137))
  })
}

/** crun with one bundle (OCI runtime specification 1.0). */
interface Runtime {
  launch(): ChildProcess
  exec(args: readonly string[], options?: RunOptions): Promise<Ended>
  kill(signal: 'TERM' | 'KILL'): Promise<void>
  /** In this machine's count of processes. */
  programPid(): Promise<number>
}

async function createRuntime(id: string, options: ContainerOptions): Promise<Runtime> {
  const folder = await mkdtemp(join(tmpdir(), 'kbs-container-'))
  const hostsFile = join(folder, 'hosts')
  await writeFile(hostsFile, options.hosts, { mode: 0o644 })
  const rootfs = await copyRootfs(options.image)
  const mounts = [...options.mounts, { source: hostsFile, target: '/etc/hosts', readOnly: true }]
  const config = await ociConfig({ ...options, mounts }, rootfs)
  await writeFile(join(folder, 'config.json'), JSON.stringify(config))
  const state = join(folder, 'state')
  // No control groups: limits are not tested here. crun looks at how they are mounted all the same, and does not know
  // every way; in a mount namespace of its own it finds one that it knows.
  const entry = [
    ...['--mount', 'sh', '-c', 'mount -t cgroup2 cgroup2 /sys/fs/cgroup 2>/dev/null; exec crun "$@"', 'crun'],
    ...['--root', state, '--cgroup-manager=disabled'],
  ]
  const command = (...args: string[]) => run('unshare', [...entry, ...args])
  return {
    launch: () => spawn('unshare', [...entry, 'run', '--bundle', folder, id]),
    exec: async (args, runOptions) => {
      // a process of `exec` starts from nothing but what it is told
      const process = { ...config.process, args }
      const file = join(folder, `exec-${crypto.randomUUID()}.json`)
      await writeFile(file, JSON.stringify(process))
      return run('unshare', [...entry, 'exec', '--process', file, id], runOptions)
    },
    kill: async (signal) => {
      await command('kill', id, signal)
    },
    async programPid() {
      const { stdout } = await command('state', id)
      const { pid } = JSON.parse(stdout) as { readonly pid: number }
      if (!options.init) return pid
      const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')
      return Number(children.split(' ')[0])
    },
  }
}

/**
 * The runtime's configuration: what Docker's defaults and these options make together. Docker's system call filter is
 * not part of it.
 */
async function ociConfig(options: ContainerOptions, rootfs: string) {
  const [uid = 0, gid = 0] = options.user.split(':').map(Number)
  const bounding = options.capabilities.map((name) => `CAP_${name}`)
  const effective = uid === 0 ? bounding : []
  const init = options.init ? ['/sbin/docker-init', '--'] : []
  const initMount = options.init ? [await bindMount(await initProgram())] : []
  return {
    ociVersion: '1.0.2',
    hostname: options.name,
    process: {
      terminal: false,
      user: { uid, gid },
      args: [...init, ...options.args],
      // as Docker has it for a user whom the image does not know
      env: Object.entries({ HOSTNAME: options.name, HOME: '/', ...options.env }).map(
        ([name, value]) => `${name}=${value}`,
      ),
      cwd: options.workingDir,
      noNewPrivileges: options.noNewPrivileges,
      capabilities: { bounding, effective, permitted: effective, inheritable: [], ambient: [] },
    },
    root: { path: rootfs, readonly: options.readOnly },
    mounts: [
      ...kernelMounts,
      ...options.tmpfs.map(tmpfsMount),
      ...(await Promise.all(options.mounts.map(bindMount))),
      ...initMount,
    ],
    linux: {
      namespaces: [
        ...['pid', 'ipc', 'uts', 'mount'].map((type) => ({ type })),
        { type: 'network', path: options.network },
      ],
      maskedPaths: ['/proc/kcore', '/proc/keys', '/proc/timer_list', '/proc/acpi', '/sys/firmware'],
      readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
    },
  }
}

const kernelMounts = [
  { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
  { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755', 'size=65536k'] },
  {
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620'],
  },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
  {
    destination: '/dev/shm',
    type: 'tmpfs',
    source: 'shm',
    options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'],
  },
]

/** `/tmp`, or `/tmp:size=64m,mode=1777`. */
function tmpfsMount(text: string) {
  const [destination = '', given = ''] = text.split(':')
  const options = given === '' ? ['mode=1777'] : given.split(',')
  return {
    destination,
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'noexec', 'nodev', ...options],
  }
}

/** @throws where there is nothing to mount: crun would make an empty file of it. */
async function bindMount({ source, target, readOnly }: ContainerMount) {
  await stat(source)
  return {
    destination: target,
    type: 'bind',
    source,
    options: ['rbind', 'rprivate', readOnly ? 'ro' : 'rw'],
  }
}

/** Docker's `docker-init` is tini. */
async function initProgram(): Promise<ContainerMount> {
  const { stdout } = await run('which', ['tini-static'])
  return { source: stdout.trim(), target: '/sbin/docker-init', readOnly: true }
}

/** The complete lines that are JSON; what else a program writes is not its log. */
function logLines(output: string): readonly LogLine[] {
  const complete = output.slice(0, output.lastIndexOf('\n') + 1)
  return complete.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line) as LogLine] : []))
}
