import { PolicyCompileError, type RegoTestReport, runRegoTests } from '@passport-kbs/policy'
import { jsonObject, stringifyJson } from '@passport-kbs/protocol'
import { readText } from '../files.ts'
import { readReferenceValues, readValue, surroundingsOf } from '../policy-records.ts'
import { CommandFailed, type Terminal } from '../terminal.ts'

export interface PolicyTestOptions {
  /** JSON object that tests see as `data`. */
  readonly data?: string
  readonly referenceValues?: string
  /** RFC 3339. */
  readonly at?: string
  /** Percent of lines that must be covered. */
  readonly minCoverage?: number
  readonly json?: boolean
}

/** Runs the `test_` rules of policies and prints results and coverage. @returns whether all is as it should be. */
export async function policyTest(
  terminal: Terminal,
  files: readonly string[],
  options: PolicyTestOptions,
): Promise<boolean> {
  const sources = await Promise.all(
    files.map(async (file) => ({ file, text: await readText(terminal, file) })),
  )
  const data = options.data === undefined ? undefined : await readValue(terminal, options.data)
  const referenceValues = await readReferenceValues(terminal, options.referenceValues)
  const report = compiled(() =>
    runRegoTests(sources, { data, referenceValues, ...surroundingsOf(terminal, options.at) }),
  )
  if (options.json) terminal.out(stringifyJson(reportJson(report)))
  else for (const line of reportLines(report)) terminal.out(line)
  if (report.tests.length === 0) terminal.err('there are no rules whose names start with test_')
  const isCovered = report.coveredPercent >= (options.minCoverage ?? 0)
  if (!isCovered) terminal.err(`coverage is below ${options.minCoverage} %`)
  return isCovered && report.tests.length > 0 && report.tests.every(({ passed }) => passed)
}

/** Runs what compiles policies; a policy that does not compile fails the command with its first fault. */
export function compiled<T>(work: () => T): T {
  try {
    return work()
  } catch (cause) {
    if (cause instanceof PolicyCompileError)
      throw new CommandFailed(`${cause.message} [${cause.code}]; see policy check`, { cause })
    throw cause
  }
}

function reportLines({ tests, coverage, coveredPercent }: RegoTestReport): readonly string[] {
  const failed = tests.filter(({ passed }) => !passed).length
  return [
    ...tests.flatMap(({ rule, file, line, passed, reason, printed }) => [
      passed ? `pass  ${rule}` : `FAIL  ${rule} (${file}:${line}) ${reason ?? ''}`,
      ...(passed ? [] : printed.map((text) => `        ${text}`)),
    ]),
    `${tests.length - failed} passed, ${failed} failed`,
    `coverage ${coveredPercent.toFixed(1)} %`,
    ...coverage.flatMap(({ file, notCovered }) =>
      notCovered.length === 0 ? [] : [`  ${file}: not covered: lines ${notCovered.join(', ')}`],
    ),
  ]
}

function reportJson({ tests, coverage, coveredPercent }: RegoTestReport) {
  return jsonObject({
    tests: tests.map(({ rule, file, line, passed, reason }) =>
      jsonObject({ rule, file, line, passed, ...(reason === undefined ? {} : { reason }) }),
    ),
    coverage: coverage.map(({ file, covered, notCovered }) =>
      jsonObject({ file, covered: [...covered], not_covered: [...notCovered] }),
    ),
    covered_percent: Math.round(coveredPercent * 10) / 10,
  })
}
