/** Where a command runs: what it may read of the process, and where it writes. */
export interface Terminal {
  /** One line, for scripts: results only. */
  out(line: string): void
  /** One line, for people. */
  err(line: string): void
  readonly env: Readonly<Record<string, string | undefined>>
  /** Relative file names start here. */
  readonly cwd: string
  readonly now: () => Date
}

/** The command failed; the message is all that the user is told. Exit status 1. */
export class CommandFailed extends Error {
  override readonly name = 'CommandFailed'
}

/** The terminal of this process. A reader that has seen enough (`| head`) ends it without a word. */
export function processTerminal(): Terminal {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error
    process.exit()
  })
  return {
    out: (line) => process.stdout.write(`${line}\n`),
    err: (line) => process.stderr.write(`${line}\n`),
    env: process.env,
    cwd: process.cwd(),
    now: () => new Date(),
  }
}
