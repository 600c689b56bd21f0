import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export type ProgramName = 'kbs-attest' | 'kbs-resource' | 'kbs'

/** One of our programs, running as its own process with its own folder. */
export interface Program {
  /** `http://127.0.0.1:port`. */
  readonly url: string
  /** All it has written, standard output and error. */
  output(): string
  /** SIGTERM, and the exit code. */
  stop(): Promise<number | null>
  /** SIGKILL: a crash. */
  kill(): Promise<void>
}

export interface ProgramOptions {
  /** Path of the TOML file. */
  readonly configFile: string
  readonly env?: Readonly<Record<string, string>>
}

const root = new URL('../..', import.meta.url).pathname

/** Starts a program from source and resolves when it listens; rejects with its output when it ends before. */
export async function startProgram(name: ProgramName, options: ProgramOptions): Promise<Program> {
  const child = spawn(
    process.execPath,
    [join(root, `apps/${name}/src/main.ts`), '--config-file', options.configFile],
    {
      env: { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '', RUST_LOG: 'trace', ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  )
  let output = ''
  const collect = (chunk: Buffer) => {
    output += chunk.toString()
  }
  child.stdout.on('data', collect)
  child.stderr.on('data', collect)
  const exited = new Promise<number | null>((resolve) => child.once('exit', (code) => resolve(code)))
  const url = await listeningUrl(child, exited, () => output)
  return {
    url,
    output: () => output,
    stop: () => end(child, exited, 'SIGTERM'),
    kill: async () => {
      await end(child, exited, 'SIGKILL')
    },
  }
}

/** Runs a program that is expected not to start: its exit code and output. */
export async function runProgram(
  name: ProgramName,
  options: ProgramOptions,
): Promise<{ code: number | null; output: string }> {
  const child = spawn(
    process.execPath,
    [join(root, `apps/${name}/src/main.ts`), '--config-file', options.configFile],
    {
      env: { PATH: process.env.PATH ?? '', HOME: process.env.HOME ?? '', ...options.env },
    },
  )
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  child.stderr.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), 20_000)
  const code = await new Promise<number | null>((resolve) => child.once('exit', resolve))
  clearTimeout(timer)
  return { code, output }
}

async function end(child: ChildProcess, exited: Promise<number | null>, signal: 'SIGTERM' | 'SIGKILL') {
  if (child.exitCode === null && child.signalCode === null) child.kill(signal)
  return exited
}

async function listeningUrl(child: ChildProcess, exited: Promise<number | null>, output: () => string) {
  const deadline = Date.now() + 30_000
  let ended = false
  exited.then(() => {
    ended = true
  })
  while (!ended && Date.now() < deadline) {
    const match = /"listening":\["(https?:\/\/[^"]+)"/.exec(output())
    if (match?.[1]) return match[1]
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  child.kill('SIGKILL')
  throw new Error(`the program did not start:\n${output()}`)
}

/** A folder of one organisation, removed with `remove`. */
export async function organisationFolder(name: string): Promise<{
  path: string
  write(file: string, text: string): Promise<string>
  remove(): Promise<void>
}> {
  const path = await mkdtemp(join(tmpdir(), `${name}-`))
  return {
    path,
    async write(file, text) {
      const target = join(path, file)
      await writeFile(target, text, { mode: 0o600 })
      return target
    },
    remove: () => rm(path, { recursive: true, force: true }),
  }
}
