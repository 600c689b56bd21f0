import { type Command, InvalidArgumentError, Option } from 'commander'
import type { InitOptions } from './commands/init.ts'
import { items, programs } from './deployment/deployment-items.ts'
import type { Terminal } from './terminal.ts'

/** `kbsctl init`: what a deployment needs before it starts. */
export function addInitCommand(program: Command, terminal: Terminal): void {
  program
    .command('init')
    .description('make all secrets and certificates of one deployment, once; or replace one kind of them')
    .addOption(new Option('--program <program>', 'what is deployed').choices(programs).makeOptionMandatory())
    .requiredOption('--directory <dir>', 'where they go')
    .option('--offline <dir>', 'where keys go that no server needs (default: "offline" in the directory)')
    .option('--dns <names>', 'host names of the server, separated by commas', names, [])
    .option('--ip <addresses>', 'its IP addresses, separated by commas', names, [])
    .option('--redis-dns <names>', 'host names of its Redis', names, ['redis', 'localhost'])
    .option('--days <n>', 'validity of certificates', days, 365)
    .option('--ca-days <n>', 'validity of CA certificates', days, 3650)
    .option('--trustee1-ca <file>', "kbs-resource: Trustee 1's token-ca.pem")
    .option('--redis-data <dir>', "also make a directory for Redis's data")
    .addOption(new Option('--renew <item>', 'replace this one only').choices(items).conflicts('forget'))
    .addOption(
      new Option('--forget <item>', 'take out what --renew has kept of the former one').choices([
        'ca',
        'token-ca',
        'admin',
        'redis',
        'client',
      ]),
    )
    .action(async (options: InitOptions) => {
      const { init } = await import('./commands/init.ts')
      await init(terminal, options)
    })
}

/** Options may also be repeated. Empty names, which unset variables leave behind, do not count. */
function names(text: string, before: readonly string[]): readonly string[] {
  return [...before, ...text.split(',').map((name) => name.trim())].filter((name) => name !== '')
}

function days(text: string): number {
  const number = Number(text)
  if (!(Number.isInteger(number) && number >= 1 && number <= 36_500)) {
    throw new InvalidArgumentError('a number of days, 1 to 36500, is expected')
  }
  return number
}
