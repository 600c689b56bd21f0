import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

export type ProgramName = 'kbs-attest' | 'kbs-resource' | 'kbs' | 'attestation-service'

/** One of our programs, running as its own process. */
export interface Program {
  /** `http://127.0.0.1:port`, or `https://`. */
  readonly url: string
  readonly pid: number
  /** All it has written, standard output and error. */
  output(): string
  /** Its log lines so far. */
  log(): readonly LogLine[]
  /** Resolves with the first line that `matches`, which may be there already; rejects after 5 s. */
  logged(matches: (line: LogLine) => boolean): Promise<LogLine>
  /** Whether it still runs. */
  running(): boolean
  /** SIGTERM, and the exit code. */
  stop(): Promise<number | null>
  /** SIGKILL: a crash. */
  kill(): Promise<void>
}

/** A line of the log: JSON whose members depend on what it is about. */
export type LogLine = Readonly<Record<string, unknown>>

export interface ProgramOptions {
  /** Path of the configuration file. */
  readonly configFile: string
  readonly env?: Readonly<Record<string, string>>
  /** Against which relative paths of the configuration are read. Default: this process's. */
  readonly cwd?: string
  /** A program and its arguments that become ours, such as `setpriv …`. */
  readonly under?: readonly string[]
}

/** What a program that has ended has left. */
export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

const root = new URL('../..', import.meta.url).pathname
const startTimeoutMs = 30_000

/** What runs now, so that a test that ends by an exception leaves no program behind. */
const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

/** Starts a program from source, at log level `trace`, and resolves when it listens; rejects with its output when it ends before. */
export async function startProgram(name: ProgramName, options: ProgramOptions): Promise<Program> {
  const child = launch(name, ['--config-file', options.configFile], options)
  let output = ''
  const collect = (chunk: Buffer) => {
    output += chunk.toString()
  }
  child.stdout?.on('data', collect)
  child.stderr?.on('data', collect)
  const log = () => logLines(output)
  return {
    url: await listeningUrl(child, () => output),
    pid: child.pid ?? 0,
    output: () => output,
    log,
    logged: (matches) => firstLine(log, matches),
    running: () => !hasEnded(child),
    stop: () => end(child, 'SIGTERM'),
    kill: async () => {
      await end(child, 'SIGKILL')
    },
  }
}

/** Runs a program that is expected not to start. */
export function runProgram(name: ProgramName, options: ProgramOptions): Promise<Ended> {
  return ended(launch(name, ['--config-file', options.configFile], options))
}

/** Runs one command of `kbsctl` to its end. */
export function runKbsctl(
  args: readonly string[],
  options: Pick<ProgramOptions, 'cwd' | 'env'> = {},
): Promise<Ended> {
  return ended(launch('kbsctl', args, options))
}

function launch(
  name: ProgramName | 'kbsctl',
  args: readonly string[],
  options: Pick<ProgramOptions, 'env' | 'cwd' | 'under'>,
): ChildProcess {
  const main = ['--disable-warning=ExperimentalWarning', join(root, `apps/${name}/src/main.ts`)]
  const [command = process.execPath, ...rest] = [...(options.under ?? []), process.execPath, ...main, ...args]
  const child = spawn(command, rest, {
    // nothing of this process's environment, so that no REDIS_URL or KBS_PROFILE of a developer gets in
    env: { PATH: process.env.PATH ?? '', HOME: '/nonexistent', RUST_LOG: 'trace', ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  })
  running.add(child)
  child.once('exit', () => running.delete(child))
  return child
}

async function ended(child: ChildProcess): Promise<Ended> {
  let stdout = ''
  let stderr = ''
  child.stdout?.on('data', (chunk: Buffer) => {
    stdout += chunk.toString()
  })
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), startTimeoutMs)
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  clearTimeout(timer)
  return { code, stdout, stderr }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}

async function end(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> {
  if (hasEnded(child)) return child.exitCode
  const exited = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)))
  child.kill(signal)
  return exited
}

async function listeningUrl(child: ChildProcess, output: () => string): Promise<string> {
  const deadline = performance.now() + startTimeoutMs
  while (!hasEnded(child) && performance.now() < deadline) {
    const match = /"listening":\["(https?:\/\/[^"]+)"/.exec(output())
    if (match?.[1]) return match[1]
    await delay(20)
  }
  child.kill('SIGKILL')
  throw new Error(`the program did not start:\n${output()}`)
}

/** The complete lines that are JSON; what else a program writes is not its log. */
function logLines(output: string): readonly LogLine[] {
  const complete = output.slice(0, output.lastIndexOf('\n') + 1)
  return complete.split('\n').flatMap((line) => (line.startsWith('{') ? [JSON.parse(line) as LogLine] : []))
}

async function firstLine(
  log: () => readonly LogLine[],
  matches: (line: LogLine) => boolean,
): Promise<LogLine> {
  const deadline = performance.now() + 5_000
  for (;;) {
    const line = log().find(matches)
    if (line !== undefined) return line
    if (performance.now() > deadline) throw new Error('no such line in the log')
    await delay(10)
  }
}
