import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Runs one command through `redis-cli` against 127.0.0.1 and answers what it printed. */
export async function redisCommand(port: number, ...command: string[]): Promise<string> {
  const { stdout } = await run('redis-cli', ['-p', String(port), ...command], { timeout: 20_000 })
  return stdout
}
