import { readFile } from 'node:fs/promises'
import { extname } from 'node:path'
import { parseArgs } from 'node:util'
import { parse as parseToml, TomlError } from 'smol-toml'
import { parse as parseYaml, YAMLParseError } from 'yaml'
import { type Config, camelCased, type Program, type StorageChoices } from './config.ts'
import { ConfigError } from './config-error.ts'
import { problemsOfIssues } from './problems.ts'
import { riskWarnings } from './risk-warnings.ts'
import { rulesBroken } from './rules.ts'
import { configSchema } from './schema.ts'
import { isPlainObject } from './schema-values.ts'
import { chooseStorage } from './storage-choices.ts'
import { removeForeignKeys } from './tolerated-keys.ts'
import { findUnavailable } from './unavailable.ts'

export type Environment = Readonly<Record<string, string | undefined>>

const largestFile = 1_048_576

/**
 * Reads the configuration: `-c` / `--config-file` or env `KBS_CONFIG_FILE`; TOML, YAML or JSON by extension (spec 01
 * §7). Without a file everything is default. `argv` is without the interpreter and the script.
 * @throws ConfigError with all problems: unreadable file, wrong or unknown key, a combination that cannot work, or one
 *   that the production profile forbids.
 */
export async function loadConfig(options: {
  readonly program: Program
  readonly argv: readonly string[]
  readonly env: Environment
}): Promise<Config> {
  const file = configFile(options.argv, options.env)
  const document = file === undefined ? {} : await readDocument(file)
  const config = parseConfig(options.program, document, options.env)
  return file === undefined ? config : { ...config, sourceFile: file }
}

/**
 * The same for a document that is already parsed.
 * @throws ConfigError
 */
export function parseConfig(program: Program, document: Record<string, unknown>, env: Environment): Config {
  const draft = structuredClone(document)
  const unavailable = findUnavailable(draft, program)
  const foreign = removeForeignKeys(draft)
  if (env.KBS_PROFILE !== undefined && env.KBS_PROFILE !== '') draft.profile = env.KBS_PROFILE
  const parsed = configSchema.safeParse(draft)
  const problems = [
    ...unavailable.problems,
    ...foreign.problems,
    ...problemsOfIssues(parsed.error?.issues.filter(({ path }) => !unavailable.covers(path)) ?? [], draft),
  ]
  if (!parsed.success) throw new ConfigError(problems)
  const raw = parsed.data
  const storage = chooseStorage(raw, env)
  problems.push(...rulesBroken(program, raw), ...storage.problems)
  if (storage.choices === undefined || problems.length > 0) throw new ConfigError(problems)
  const { storage_backend: _, session_storage_type: __, ...settings } = raw
  return {
    ...camelCased(settings),
    storage: storage.choices,
    warnings: [...foreign.warnings, ...riskWarnings(program, raw, document)],
  }
}

/**
 * Only which store holds what, for programs that look after stores: what else the file says need not be fit for a start.
 * @throws ConfigError
 */
export async function loadStorageChoices(file: string, env: Environment): Promise<StorageChoices> {
  const { storage_backend, attestation_service } = await readDocument(file)
  const draft = structuredClone({ storage_backend, attestation_service })
  if (draft.storage_backend === undefined) delete draft.storage_backend
  if (draft.attestation_service === undefined) delete draft.attestation_service
  removeForeignKeys(draft)
  const parsed = configSchema.safeParse(draft)
  if (!parsed.success) throw new ConfigError(problemsOfIssues(parsed.error.issues, draft))
  const { choices, problems } = chooseStorage(parsed.data, env)
  if (choices === undefined) throw new ConfigError(problems)
  return choices
}

function configFile(argv: readonly string[], env: Environment): string | undefined {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: { 'config-file': { type: 'string', short: 'c' } },
      strict: true,
      allowPositionals: false,
    })
    return values['config-file'] ?? (env.KBS_CONFIG_FILE === '' ? undefined : env.KBS_CONFIG_FILE)
  } catch (cause) {
    const problem = cause instanceof Error ? cause.message : 'cannot be understood'
    throw new ConfigError(
      [{ path: 'command line', problem, remedy: 'Use: -c <file> or --config-file <file>' }],
      { cause },
    )
  }
}

async function readDocument(file: string): Promise<Record<string, unknown>> {
  const refuse = (problem: string, remedy: string, cause?: unknown) =>
    new ConfigError([{ path: file, problem, remedy }], { cause })
  let text: string
  try {
    text = (await readFile(file, 'utf8')).replace(/^\uFEFF/, '')
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown error'
    throw refuse(`the file cannot be read (${code})`, 'Check the path and its permissions', cause)
  }
  if (text.length > largestFile)
    throw refuse('the file is larger than 1 MiB', 'This is no configuration file')
  const parse = parserFor(file)
  if (parse === undefined)
    throw refuse('the format is unknown', 'Name the file *.toml, *.yaml, *.yml or *.json')
  try {
    const document: unknown = parse(text) ?? {}
    if (isPlainObject(document)) return document
  } catch (cause) {
    throw refuse(`the file cannot be parsed${place(cause)}`, 'Correct the syntax there', cause)
  }
  throw refuse('the file is not a table of keys', 'Write sections such as [http_server]')
}

function parserFor(file: string): ((text: string) => unknown) | undefined {
  switch (extname(file).toLowerCase()) {
    case '.toml':
      return (text) => parseToml(text)
    case '.yaml':
    case '.yml':
      return (text) => parseYaml(text)
    case '.json':
      // the second reading refuses duplicate members, which JSON.parse takes silently
      return (text) => {
        const value: unknown = JSON.parse(text)
        parseYaml(text)
        return value
      }
    default:
      return undefined
  }
}

/** Line and column only: the text around may hold a secret. */
function place(cause: unknown): string {
  if (cause instanceof TomlError) return ` at line ${cause.line}, column ${cause.column}`
  if (cause instanceof YAMLParseError && cause.linePos !== undefined) {
    return ` at line ${cause.linePos[0].line}, column ${cause.linePos[0].col} (${cause.code})`
  }
  return ''
}
