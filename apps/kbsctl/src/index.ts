import { GuestError } from '@passport-kbs/guest-client'
import { type Command, CommanderError } from 'commander'
import { createProgram } from './program.ts'
import { CommandFailed, type Terminal } from './terminal.ts'

export { CommandFailed, processTerminal, type Terminal } from './terminal.ts'

/** Exit statuses: the command did what it was told; it could not, or found something wrong; it was not understood. */
export type ExitStatus = 0 | 1 | 2

/**
 * Runs one command.
 * @param args the command line without program and script.
 */
export async function run(args: readonly string[], terminal: Terminal): Promise<ExitStatus> {
  let status: ExitStatus = 0
  const program = createProgram(terminal, () => {
    status = 1
  })
  for (const command of commandsOf(program)) {
    command.exitOverride().configureOutput({
      writeOut: (text) => terminal.out(text.trimEnd()),
      writeErr: (text) => terminal.err(text.trimEnd()),
    })
  }
  try {
    await program.parseAsync(args, { from: 'user' })
    return status
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    if (!(error instanceof CommandFailed || error instanceof GuestError || error instanceof TypeError))
      throw error
    terminal.err(`Error: ${error.message}`)
    return 1
  }
}

function commandsOf(command: Command): Command[] {
  return [command, ...command.commands.flatMap(commandsOf)]
}
