import { type ChildProcess, spawn } from 'node:child_process'
import type { Ended } from '../program.ts'

export interface RunOptions {
  readonly input?: string
  /** SIGKILL after this time; 30 s unless told. */
  readonly timeoutMs?: number
}

/** Runs a program of this machine to its end. */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Ended> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] })
  child.stdin.on('error', () => {
    // it ended without reading; its exit code says why
  })
  child.stdin.end(options.input ?? '')
  return endOf(child, options.timeoutMs)
}

/** As `run`; rejects unless it ends with 0. */
export async function mustRun(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Ended> {
  const ended = await run(program, args, options)
  if (ended.code !== 0)
    throw new Error(`${program} ${args.join(' ')}: ${ended.code}\n${ended.stdout}${ended.stderr}`)
  return ended
}

async function endOf(child: ChildProcess, timeoutMs = 30_000): Promise<Ended> {
  let stdout = ''
  let stderr = ''
  child.stdout?.on('data', (chunk: Buffer) => {
    stdout += chunk.toString()
  })
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk.toString()
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', resolve)
    })
    return { code, stdout, stderr }
  } finally {
    clearTimeout(timer)
  }
}
