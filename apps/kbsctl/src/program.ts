import { Command, InvalidArgumentError, Option } from 'commander'
import type { AdminOptions } from './admin-client.ts'
import type { AdminTokenOptions } from './commands/admin-token.ts'
import type { GetReferenceValueOptions } from './commands/get-reference-value.ts'
import type { GetResourceOptions } from './commands/get-resource.ts'
import type { KeygenOptions } from './commands/keygen.ts'
import type { SetAttestationPolicyOptions } from './commands/set-attestation-policy.ts'
import type { SetResourceOptions } from './commands/set-resource.ts'
import type { SetResourcePolicyOptions } from './commands/set-resource-policy.ts'
import type { SetSampleReferenceValueOptions } from './commands/set-sample-reference-value.ts'
import type { StorageRewrapOptions } from './commands/storage-rewrap.ts'
import type { VerifyOptions } from './commands/verify.ts'
import type { AttestationOptions } from './guest-options.ts'
import { addInitCommand } from './init-command.ts'
import { addPolicyCommands } from './policy-commands.ts'
import type { Terminal } from './terminal.ts'

/** Every command of kbsctl. A command's module is loaded when it runs. @param fail sets exit status 1. */
export function createProgram(terminal: Terminal, fail: () => void): Command {
  const program = new Command('kbsctl')
    .description('Administrates key brokers, plays a guest, and looks into evidence, keys and policies')
    .version('0.1.0')
    .option('--url <url>', 'root of the server', webAddress, 'http://127.0.0.1:8080')
    .option('--cert-file <pem>', 'root certificates to trust beside the usual ones')
  addConfigCommands(program, terminal)
  addGuestCommands(program, terminal)
  addOfflineCommands(program, terminal, fail)
  return program
}

/** The options of a command and of all above it. */
type Action<O> = Command & { optsWithGlobals(): O }

function addConfigCommands(program: Command, terminal: Terminal): void {
  const config = program
    .command('config')
    .description('what administrators do')
    .option('--admin-token-file <file>', 'token that shows who you are')

  config
    .command('set-attestation-policy')
    .description('replace a policy by which evidence is appraised')
    .requiredOption('--policy-file <file>', 'Rego')
    .option('--type <type>', 'kept for compatibility', 'rego')
    .option('--id <id>', 'which policy', 'default_cpu')
    .action(async (_options, command: Action<SetAttestationPolicyOptions>) => {
      const { setAttestationPolicy } = await import('./commands/set-attestation-policy.ts')
      await setAttestationPolicy(terminal, command.optsWithGlobals())
    })

  const policyChoices = ['policyFile', 'allowAll', 'denyAll', 'affirming', 'default']
  const choice = (flags: string, text: string, name: string) =>
    new Option(flags, text).conflicts(policyChoices.filter((other) => other !== name))
  config
    .command('set-resource-policy')
    .description('replace the policy by which resources are released')
    .addOption(choice('--policy-file <file>', 'Rego', 'policyFile'))
    .addOption(choice('--allow-all', 'release to any attested guest', 'allowAll'))
    .addOption(choice('--deny-all', 'release nothing', 'denyAll'))
    .addOption(choice('--affirming', 'release if no part of the evidence was found wanting', 'affirming'))
    .addOption(choice('--default', "Trustee's default: release unless the evidence is a sample", 'default'))
    .action(async (_options, command: Action<SetResourcePolicyOptions>) => {
      const { setResourcePolicy } = await import('./commands/set-resource-policy.ts')
      await setResourcePolicy(terminal, command.optsWithGlobals())
    })

  config
    .command('set-resource')
    .description('create or replace a resource')
    .requiredOption('--path <path>', 'repository/type/tag')
    .requiredOption('--resource-file <file>', 'its bytes')
    .action(async (_options, command: Action<SetResourceOptions>) => {
      const { setResource } = await import('./commands/set-resource.ts')
      await setResource(terminal, command.optsWithGlobals())
    })

  config
    .command('delete-resource')
    .description('delete a resource')
    .requiredOption('--path <path>', 'repository/type/tag')
    .action(async (_options, command: Action<AdminOptions & { path: string }>) => {
      const { deleteResource } = await import('./commands/delete-resource.ts')
      await deleteResource(terminal, command.optsWithGlobals())
    })

  config
    .command('get-reference-value')
    .description('print a reference value')
    .requiredOption('--id <id>', 'its name')
    .option('--raw', 'print the JSON itself, not quoted')
    .action(async (_options, command: Action<GetReferenceValueOptions>) => {
      const { getReferenceValue } = await import('./commands/get-reference-value.ts')
      await getReferenceValue(terminal, command.optsWithGlobals())
    })

  config
    .command('set-sample-reference-value')
    .description('register a reference value that nothing signs')
    .argument('<name>')
    .argument('<value>')
    .addOption(new Option('--as-integer', 'the value is an integer').conflicts('asBool'))
    .option('--as-bool', 'the value is true or false')
    .option('--as-single-value', 'the value itself instead of a list of one')
    .action(
      async (name: string, value: string, _options, command: Action<SetSampleReferenceValueOptions>) => {
        const { setSampleReferenceValue } = await import('./commands/set-sample-reference-value.ts')
        await setSampleReferenceValue(terminal, name, value, command.optsWithGlobals())
      },
    )
}

function addGuestCommands(program: Command, terminal: Terminal): void {
  const tee = () =>
    new Option('--tee <tee>', 'what attests; only "sample" can outside a TEE').default('sample')

  program
    .command('attest')
    .description('attest and print the token')
    .argument('[init-data]', 'the document itself, TOML')
    .addOption(tee())
    .option('--tee-key-file <pem>', 'private key that the token shall name')
    .action(async (initData: string | undefined, _options, command: Action<AttestationOptions>) => {
      const { attest } = await import('./commands/attest.ts')
      await attest(terminal, initData, command.optsWithGlobals())
    })

  program
    .command('get-resource')
    .description('fetch a resource and print it in base64')
    .argument('[init-data]', 'the document itself, TOML')
    .requiredOption('--path <path>', 'repository/type/tag, or a kbs:// URI')
    .addOption(tee())
    .option('--tee-key-file <pem>', 'private key, with --attestation-token the one that the token names')
    .option('--attestation-token <file>', 'show this token instead of attesting')
    .action(async (initData: string | undefined, _options, command: Action<GetResourceOptions>) => {
      const { getResource } = await import('./commands/get-resource.ts')
      await getResource(terminal, initData, command.optsWithGlobals())
    })
}

function addOfflineCommands(program: Command, terminal: Terminal, fail: () => void): void {
  program
    .command('verify')
    .description('verify recorded evidence without network and print every check')
    .argument('<file>', 'the evidence, JSON')
    .requiredOption('--tee <tee>', 'what made it')
    .requiredOption('--report-data <hex>', 'the digest that it must carry')
    .option('--init-data-digest <hex>', 'digest of the init-data document that it must be bound to')
    .option('--at <time>', 'time for certificates and collateral, RFC 3339 (default: now)')
    .option('--collateral <file>', "bundle of Intel's collateral, recorded beside the evidence")
    .option('--json', 'print JSON')
    .action(async (file: string, options: VerifyOptions) => {
      const { verify } = await import('./commands/verify.ts')
      if (!(await verify(terminal, file, options))) fail()
    })

  program
    .command('keygen')
    .description('make keys for administrators, token signers and storage')
    .option('--admin <dir>', 'Ed25519 key pair of an administrator')
    .option('--token <dir>', 'P-256 token key with certificate chain and CA')
    .option('--storage-key <file>', 'key that a server encrypts its storage with')
    .option('--days <n>', "validity of the token key's certificate", positive, 365)
    .action(async (options: KeygenOptions) => {
      const { keygen } = await import('./commands/keygen.ts')
      await keygen(terminal, options)
    })

  addInitCommand(program, terminal)

  program
    .command('storage')
    .description('look after what servers store')
    .command('rewrap')
    .description('bring everything that is stored under the current encryption key')
    .requiredOption('--config-file <file>', 'configuration of the server whose storage it is')
    .option('--new-key', 'first make a new key; where a key service wraps the keys')
    .option(
      '--remove-old-keys',
      'at last forget the keys that nothing needs; where a key service wraps the keys',
    )
    .action(async (options: StorageRewrapOptions) => {
      const { storageRewrap } = await import('./commands/storage-rewrap.ts')
      if (!(await storageRewrap(terminal, options))) fail()
    })

  program
    .command('admin-token')
    .description('sign and print a token for an administrator')
    .requiredOption('--key <file>', 'private key, PEM')
    .requiredOption('--role <role>', "role that the server's access list names")
    .option('--issuer <issuer>')
    .option('--audience <audience>')
    .option('--subject <subject>', 'who it is, for audit records', 'admin')
    .option('--hours <n>', 'validity', positive, 8)
    .action(async (options: AdminTokenOptions) => {
      const { adminToken } = await import('./commands/admin-token.ts')
      await adminToken(terminal, options)
    })

  addPolicyCommands(program, terminal, fail)
}

function webAddress(text: string): string {
  if (!/^https?:$/.test(URL.parse(text)?.protocol ?? ''))
    throw new InvalidArgumentError('an http(s) URL is expected')
  return text
}

function positive(text: string): number {
  const number = Number(text)
  if (!(number > 0 && Number.isFinite(number)))
    throw new InvalidArgumentError('a positive number is expected')
  return number
}
