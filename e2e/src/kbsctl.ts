import { run } from '@passport-kbs/app-kbsctl'
import type { Ended } from './program.ts'

/** Runs one command of `kbsctl` in this process, for tests that need many; `runKbsctl` starts the program. */
export async function callKbsctl(args: readonly string[], cwd: string): Promise<Ended> {
  const written = { stdout: '', stderr: '' }
  const code = await run(args, {
    out: (line) => {
      written.stdout += `${line}\n`
    },
    err: (line) => {
      written.stderr += `${line}\n`
    },
    env: {},
    cwd,
    now: () => new Date(),
  })
  return { code, ...written }
}
