import {
  type DecisionDiff,
  diffDecisions,
  fromJs,
  inputOfRecord,
  type PolicyPurpose,
  type PolicySource,
  parseJson as parsePolicyJson,
  probablePurpose,
  type RecordedDecision,
  type RecordOptions,
  readRecord,
  toJs,
  toJsonText,
  type Value,
} from '@passport-kbs/policy'
import { jsonObject, stringifyJson } from '@passport-kbs/protocol'
import type { AdminOptions } from '../admin-client.ts'
import { readText } from '../files.ts'
import {
  inRecord,
  membersOf,
  type RequestOptions,
  readReferenceValues,
  requestData,
  surroundingsOf,
} from '../policy-records.ts'
import { CommandFailed, type Terminal } from '../terminal.ts'
import { fetchPolicy, type PolicyChoice } from './policy-get.ts'
import { compiled } from './policy-test.ts'

export interface PolicyDiffOptions extends RequestOptions, AdminOptions, PolicyChoice, RecordOptions {
  /** The policy to compare with, Rego. */
  readonly old?: string
  /** Compare with the policy in force on the server. */
  readonly active?: boolean
  readonly for?: PolicyPurpose
  readonly referenceValues?: string
  /** RFC 3339. */
  readonly at?: string
  readonly json?: boolean
}

/**
 * Prints which recorded decisions would be others under a new policy. Records are files with a token, its payload, a
 * report of `verify --json` or claims; or lines of JSON (`.jsonl`), each with `input` or `token` and, where they were
 * recorded, `data`, `reference_values`, `decision` and `name`. @returns whether none would change.
 */
export async function policyDiff(
  terminal: Terminal,
  file: string,
  records: readonly string[],
  options: PolicyDiffOptions,
): Promise<boolean> {
  const source = { file, text: await readText(terminal, file) }
  const purpose = options.for ?? probablePurpose(source.text)
  const defaults = {
    data: purpose === 'resource' ? requestData(options) : undefined,
    referenceValues: await readReferenceValues(terminal, options.referenceValues),
  }
  const decisions = (
    await Promise.all(records.map((record) => readDecisions(terminal, record, purpose, options)))
  ).flat()
  const old = await oldPolicy(terminal, purpose, options)
  const surroundings = surroundingsOf(terminal, options.at)
  // patience is for one evaluation each
  const { deadline: _, ...unbounded } = surroundings
  const diff = compiled(() =>
    diffDecisions(
      purpose,
      { old, new: source },
      decisions.map((decision) => ({
        ...decision,
        data: decision.data ?? defaults.data,
        referenceValues: decision.referenceValues ?? defaults.referenceValues,
      })),
      unbounded,
    ),
  )
  if (options.json) terminal.out(stringifyJson(diffJson(diff)))
  else for (const line of diffLines(diff)) terminal.out(line)
  for (const name of diff.incomparable) {
    terminal.err(`${name}: nothing says what was decided; give the old policy (--old, --active)`)
  }
  return diff.changes.length === 0 && diff.incomparable.length === 0
}

async function oldPolicy(
  terminal: Terminal,
  purpose: PolicyPurpose,
  options: PolicyDiffOptions,
): Promise<PolicySource | undefined> {
  if (options.old !== undefined) return { file: options.old, text: await readText(terminal, options.old) }
  if (!options.active) return undefined
  const { text } = await fetchPolicy(terminal, { ...options, attestation: purpose === 'attestation' })
  return { file: 'the policy in force', text }
}

async function readDecisions(
  terminal: Terminal,
  file: string,
  purpose: PolicyPurpose,
  options: RecordOptions,
): Promise<readonly RecordedDecision[]> {
  const text = await readText(terminal, file)
  if (!file.endsWith('.jsonl')) {
    return [{ name: file, input: inRecord(file, () => inputOfRecord(readRecord(text), purpose, options)) }]
  }
  return text.split('\n').flatMap((line, i) => {
    const name = `${file}:${i + 1}`
    return line.trim() === '' ? [] : [inRecord(name, () => decisionOf(line, name, purpose, options))]
  })
}

function decisionOf(
  line: string,
  place: string,
  purpose: PolicyPurpose,
  options: RecordOptions,
): RecordedDecision {
  const members = new Map(membersOf(parsePolicyJson(line)) ?? [])
  const token = members.get('token')
  const recorded = typeof token === 'string' ? readRecord(token) : members.get('input')
  if (recorded === undefined) throw new CommandFailed(`${place}: there is neither "input" nor "token"`)
  const values = members.get('reference_values')
  const name = members.get('name')
  return {
    name: typeof name === 'string' ? `${place} (${name})` : place,
    input: inputOfRecord(recorded, purpose, options),
    data: members.get('data'),
    referenceValues: values === undefined ? undefined : new Map(membersOf(values) ?? []),
    decided: decisionText(members.get('decision')),
  }
}

/** `"allowed"` and the like; of appraisals the trust vector, as an object. */
function decisionText(decision: Value | undefined): string | undefined {
  if (decision === undefined || typeof decision === 'string') return decision
  const vector = membersOf(fromJs(toJs(decision)))
  return vector
    ?.toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name} ${toJsonText(value)}`)
    .join(', ')
}

function diffLines({ compared, changes }: DecisionDiff): readonly string[] {
  return [
    ...changes.flatMap(({ name, before, after }) => [`${name}`, `  - ${before}`, `  + ${after}`]),
    `${changes.length} of ${compared} decisions change`,
  ]
}

function diffJson({ compared, changes, incomparable }: DecisionDiff) {
  return jsonObject({
    compared,
    changes: changes.map(({ name, before, after }) => jsonObject({ name, before, after })),
    incomparable: [...incomparable],
  })
}
