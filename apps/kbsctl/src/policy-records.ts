import { randomBytes } from 'node:crypto'
import {
  fromJs,
  inputOfRecord,
  PolicyError,
  type PolicyPurpose,
  parseJson as parsePolicyJson,
  type RecordOptions,
  readRecord,
  type Surroundings,
  toJs,
  UnusableRecord,
  type Value,
} from '@passport-kbs/policy'
import { readText } from './files.ts'
import { CommandFailed, type Terminal } from './terminal.ts'

/** How long one evaluation may take, as the services have it. */
const timeLimitMs = 2_000

/** Time, randomness and patience for evaluations at the terminal. @param at RFC 3339; now unless told. */
export function surroundingsOf(terminal: Terminal, at: string | undefined): Surroundings {
  const time = at === undefined ? terminal.now() : new Date(at)
  if (Number.isNaN(time.getTime())) throw new CommandFailed('--at is not a time such as 2026-01-31T12:00:00Z')
  const endsAt = performance.now() + timeLimitMs
  return {
    now: BigInt(time.getTime()) * 1_000_000n,
    randomBytes: (size) => new Uint8Array(randomBytes(size)),
    deadline: () => performance.now() > endsAt,
  }
}

/** A file of reference values: a JSON object, name to value. */
export async function readReferenceValues(
  terminal: Terminal,
  file: string | undefined,
): Promise<ReadonlyMap<string, Value> | undefined> {
  if (file === undefined) return undefined
  const entries = membersOf(await readValue(terminal, file))
  if (!entries) throw new CommandFailed(`${file} is not a JSON object of reference values`)
  return new Map(entries)
}

/** A JSON file as a value of policies. */
export async function readValue(terminal: Terminal, file: string): Promise<Value> {
  const text = await readText(terminal, file)
  return inRecord(file, () => parsePolicyJson(text))
}

/** A recorded token, payload, report of `verify --json` or claims, as the input of a policy. */
export async function readInput(
  terminal: Terminal,
  file: string,
  purpose: PolicyPurpose,
  options: RecordOptions,
): Promise<Value> {
  const text = await readText(terminal, file)
  return inRecord(file, () => inputOfRecord(readRecord(text), purpose, options))
}

/** What a request for a resource adds to the input: `data` of a resource policy. */
export interface RequestOptions {
  readonly plugin?: string
  readonly method?: string
  /** `repository/type/tag` */
  readonly resourcePath?: string
  /** `name=value`, several times. */
  readonly query?: readonly string[]
}

export function requestData(options: RequestOptions): Value {
  const query = (options.query ?? []).map((pair): [string, string] => {
    const at = pair.indexOf('=')
    if (at < 1) throw new CommandFailed('--query is name=value')
    return [pair.slice(0, at), pair.slice(at + 1)]
  })
  return fromJs({
    plugin: options.plugin ?? 'resource',
    method: options.method ?? 'GET',
    'resource-path': (options.resourcePath ?? 'default/test/secret').split('/'),
    query: Object.fromEntries(query),
  })
}

/** Members of an object; undefined for anything else. */
export function membersOf(value: Value): readonly (readonly [string, Value])[] | undefined {
  const js = toJs(value)
  if (typeof js !== 'object' || js === null || Array.isArray(js)) return undefined
  return Object.entries(js).map(([name, member]) => [name, fromJs(member)] as const)
}

/** Errors say which record they are of. */
export function inRecord<T>(name: string, read: () => T): T {
  try {
    return read()
  } catch (cause) {
    if (cause instanceof UnusableRecord || cause instanceof PolicyError)
      throw new CommandFailed(`${name}: ${cause.message}`, { cause })
    throw cause
  }
}
