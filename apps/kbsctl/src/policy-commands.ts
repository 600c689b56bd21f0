import { type Command, InvalidArgumentError, Option } from 'commander'
import type { PolicyCheckOptions } from './commands/policy-check.ts'
import type { PolicyDiffOptions } from './commands/policy-diff.ts'
import type { PolicyEvalOptions } from './commands/policy-eval.ts'
import type { PolicyGetOptions } from './commands/policy-get.ts'
import type { PolicyHistoryOptions } from './commands/policy-history.ts'
import type { PolicyRollbackOptions } from './commands/policy-rollback.ts'
import type { PolicyTestOptions } from './commands/policy-test.ts'
import type { Terminal } from './terminal.ts'

type Action<O> = Command & { optsWithGlobals(): O }

const purpose = () =>
  new Option('--for <purpose>', 'what the policy is for (default: told from its text)').choices([
    'resource',
    'attestation',
  ])

/** `kbsctl policy …`: the workbench. */
export function addPolicyCommands(program: Command, terminal: Terminal, fail: () => void): void {
  const policy = program
    .command('policy')
    .description('work on policies')
    .option('--admin-token-file <file>', 'token that shows a server who you are')
  addOfflinePolicyCommands(policy, terminal, fail)
  addServerPolicyCommands(policy, terminal)
}

function addOfflinePolicyCommands(policy: Command, terminal: Terminal, fail: () => void): void {
  policy
    .command('check')
    .description('compile a policy and print what is wrong with it, and what is doubtful')
    .argument('<file>', 'Rego')
    .addOption(purpose())
    .option('--v0', 'syntax from before Rego v1')
    .option('--reference-values <file>', 'those that are registered, a JSON object')
    .option('--strict', 'fail on warnings too')
    .option('--json', 'print JSON')
    .action(async (file: string, options: PolicyCheckOptions) => {
      const { policyCheck } = await import('./commands/policy-check.ts')
      if (!(await policyCheck(terminal, file, options))) fail()
    })

  policy
    .command('claims')
    .description('list the paths that policies find in their input')
    .argument('[tee]', 'claims of this TEE, as attestation policies see them (default: members of a token)')
    .action(async (tee: string | undefined) => {
      const { policyClaims } = await import('./commands/policy-claims.ts')
      policyClaims(terminal, tee)
    })

  policy
    .command('test')
    .description('run the rules whose names start with test_, with coverage')
    .argument('<file...>', 'policies and their tests, Rego')
    .option('--data <file>', 'what tests see as data, a JSON object')
    .option('--reference-values <file>', 'JSON object')
    .option('--at <time>', 'what the policies take for now, RFC 3339')
    .option('--min-coverage <percent>', 'fail below it', percent)
    .option('--json', 'print JSON')
    .action(async (files: string[], options: PolicyTestOptions) => {
      const { policyTest } = await import('./commands/policy-test.ts')
      if (!(await policyTest(terminal, files, options))) fail()
    })

  recordOptions(policy.command('eval'))
    .description('evaluate a policy on a recorded token or evidence and print what every expression did')
    .argument('<file>', 'Rego')
    .requiredOption('--input <file>', 'token, its payload, what `verify --json` printed, or claims')
    .option('--rule <path...>', 'rules to evaluate (default: those that the services ask for)')
    .action(async (file: string, options: PolicyEvalOptions) => {
      const { policyEval } = await import('./commands/policy-eval.ts')
      if (!(await policyEval(terminal, file, options))) fail()
    })

  recordOptions(policy.command('diff'))
    .description('print which recorded decisions would change under a new policy')
    .argument('<file>', 'the new policy, Rego')
    .argument('<record...>', 'tokens, claims, or .jsonl files of recorded decisions')
    .option('--old <file>', 'the policy to compare with (default: the recorded decisions)')
    .addOption(new Option('--active', 'compare with the policy in force on the server').conflicts('old'))
    .option('--id <id>', 'with --active, which attestation policy')
    .action(async (file: string, records: string[], _options, command: Action<PolicyDiffOptions>) => {
      const { policyDiff } = await import('./commands/policy-diff.ts')
      if (!(await policyDiff(terminal, file, records, command.optsWithGlobals()))) fail()
    })
}

/** How recorded claims become an input. */
function recordOptions(command: Command): Command {
  return command
    .addOption(purpose())
    .option('--reference-values <file>', 'JSON object; what is not in it is unknown')
    .option('--submod <name>', 'entry of the token that an attestation policy sees', 'cpu0')
    .option('--tee <tee>', 'whose claims they are, where nothing says so')
    .option('--plugin <name>', 'of the request', 'resource')
    .option('--method <method>', 'of the request', 'GET')
    .option('--resource-path <path>', 'of the request', 'default/test/secret')
    .option('--query <name=value...>', 'of the request')
    .option('--at <time>', 'what the policy takes for now, RFC 3339')
    .option('--json', 'print JSON')
}

function addServerPolicyCommands(policy: Command, terminal: Terminal): void {
  const choice = (command: Command) =>
    command
      .option('--attestation', 'an attestation policy instead of the resource policy')
      .option('--id <id>', 'which attestation policy', 'default_cpu')

  choice(policy.command('get'))
    .description('print the policy in force on a server')
    .option('--sha384 <hash>', 'an earlier version instead')
    .action(async (_options, command: Action<PolicyGetOptions>) => {
      const { policyGet } = await import('./commands/policy-get.ts')
      await policyGet(terminal, command.optsWithGlobals())
    })

  choice(policy.command('history'))
    .description('print the versions of a policy, the newest first')
    .option('--json', 'print JSON')
    .action(async (_options, command: Action<PolicyHistoryOptions>) => {
      const { policyHistory } = await import('./commands/policy-history.ts')
      await policyHistory(terminal, command.optsWithGlobals())
    })

  choice(policy.command('rollback'))
    .description('set an earlier version of a policy again')
    .argument('<sha384>', 'its hash')
    .action(async (sha384: string, _options, command: Action<PolicyRollbackOptions>) => {
      const { policyRollback } = await import('./commands/policy-rollback.ts')
      await policyRollback(terminal, sha384, command.optsWithGlobals())
    })
}

function percent(text: string): number {
  const number = Number(text)
  if (!(number >= 0 && number <= 100)) throw new InvalidArgumentError('a number from 0 to 100 is expected')
  return number
}
