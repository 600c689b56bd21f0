import { checkForPurpose, type Finding, type PolicyPurpose, probablePurpose } from '@passport-kbs/policy'
import { jsonObject, stringifyJson } from '@passport-kbs/protocol'
import { readText } from '../files.ts'
import { readReferenceValues } from '../policy-records.ts'
import type { Terminal } from '../terminal.ts'

export interface PolicyCheckOptions {
  /** What the policy is for; told from its text unless said. */
  readonly for?: PolicyPurpose
  /** The syntax before `import rego.v1`. */
  readonly v0?: boolean
  /** JSON object of the reference values that are registered. */
  readonly referenceValues?: string
  /** Warnings fail too. */
  readonly strict?: boolean
  readonly json?: boolean
}

/** Prints what is wrong with a policy, and what is doubtful. @returns whether nothing is wrong. */
export async function policyCheck(
  terminal: Terminal,
  file: string,
  options: PolicyCheckOptions,
): Promise<boolean> {
  const text = await readText(terminal, file)
  const values = await readReferenceValues(terminal, options.referenceValues)
  const found = checkForPurpose([{ file, text }], {
    purpose: options.for ?? probablePurpose(text),
    dialect: options.v0 ? 'v0' : 'v1',
    ...(values ? { referenceValues: new Set(values.keys()) } : {}),
  })
  const passes = found.every(({ severity }) => severity === 'warning' && options.strict !== true)
  if (options.json) terminal.out(stringifyJson(findingsJson(found)))
  else {
    for (const finding of found) for (const line of findingLines(finding)) terminal.err(line)
    if (passes) terminal.out(`${file}: ok`)
  }
  return passes
}

/** As compilers write it, so that editors find the place; then the source line, and what to do. */
export function findingLines({
  severity,
  message,
  code,
  location: { file, line, column },
  sourceLine,
  remedy,
}: Finding): readonly string[] {
  const before = [...sourceLine].slice(0, column - 1).join('')
  return [
    `${file}:${line}:${column}: ${severity}: ${message} [${code}]`,
    `    ${sourceLine}`,
    `    ${before.replace(/[^\t]/g, ' ')}^`,
    `    ${remedy}`,
  ]
}

function findingsJson(found: readonly Finding[]) {
  return found.map(({ severity, code, message, remedy, location, sourceLine }) =>
    jsonObject({ severity, code, message, remedy, ...location, source_line: sourceLine }),
  )
}
