/** Runs the `test_` rules of policies, with coverage. */

import { toDisplayPath } from '../compile/rule-path.ts'
import type { BranchSite, ExpressionSite, TraceSites } from '../compile/trace-sites.ts'
import type { PolicyError } from '../errors.ts'
import { compileTraceable, type PolicySource, QUERY_REFERENCE_VALUE } from '../policy.ts'
import type { Value } from '../values/value.ts'
import { TraceRecorder } from './trace.ts'
import { evaluateRecorded, RecordedAnswers, type Surroundings } from './traced-evaluation.ts'

export interface RegoTestOptions extends Surroundings {
  /** Recorded claims and the like, as `data`. */
  readonly data?: Value | undefined
  readonly referenceValues?: ReadonlyMap<string, Value> | undefined
}

export interface RegoTestResult {
  /** `data.policy.test_denies_samples` */
  readonly rule: string
  readonly file: string
  readonly line: number
  readonly passed: boolean
  /** Why not. */
  readonly reason?: string
  readonly printed: readonly string[]
}

/** Lines of one file that tests have run, and have not; rules and expressions, without those of tests. */
export interface FileCoverage {
  readonly file: string
  readonly covered: readonly number[]
  readonly notCovered: readonly number[]
}

export interface RegoTestReport {
  readonly tests: readonly RegoTestResult[]
  readonly coverage: readonly FileCoverage[]
  /** Of the lines of all files; 100 where there are none. */
  readonly coveredPercent: number
}

/** A test passes when its rule is `true`. @throws PolicyCompileError */
export function runRegoTests(sources: readonly PolicySource[], options: RegoTestOptions): RegoTestReport {
  const { policy, sites } = compileTraceable(sources, { externals: [QUERY_REFERENCE_VALUE] })
  const trace = new TraceRecorder(sites)
  const tests = testRules(sites).map((site): RegoTestResult => {
    const rule = toDisplayPath(site.group.node.path)
    const { file, line } = site.span.source.locate(site.span.start)
    const printed: string[] = []
    const { results, error } = evaluateRecorded(policy, {
      rules: [rule],
      ...options,
      answers: new RecordedAnswers(options.referenceValues),
      trace,
      onPrint: (text) => void printed.push(text),
    })
    const result = results.get(rule)
    const passed = result?.kind === 'value' && result.value === true
    const reason = error ? messageOf(error) : result?.kind === 'value' ? 'is not true' : 'is undefined'
    return { rule, file, line, passed, ...(passed ? {} : { reason }), printed }
  })
  const coverage = coverageOf(sites, trace)
  return { tests, coverage, coveredPercent: percentOf(coverage) }
}

/** The first body of each test. */
function testRules(sites: TraceSites): readonly BranchSite[] {
  const first = new Map<unknown, BranchSite>()
  for (const site of sites.branches) {
    if (isTest(site) && site.group.kind === 'complete' && !first.has(site.group)) first.set(site.group, site)
  }
  return [...first.values()]
}

function isTest({ group }: BranchSite): boolean {
  const name = group.node.path.at(-1)
  return typeof name === 'string' && name.startsWith('test_')
}

function coverageOf(sites: TraceSites, trace: TraceRecorder): readonly FileCoverage[] {
  const files = new Map<string, Map<number, boolean>>()
  const note = (site: BranchSite | ExpressionSite) => {
    const { source, start } = site.span
    const lines = files.get(source.file) ?? new Map<number, boolean>()
    files.set(source.file, lines)
    const line = source.lineOf(start)
    // of several expressions on a line all must have run
    lines.set(line, trace.wasReached(site) && (lines.get(line) ?? true))
  }
  for (const branch of sites.branches) if (!isTest(branch)) note(branch)
  for (const expression of sites.expressions) if (!isTest(expression.branch)) note(expression)
  return [...files].map(([file, lines]) => {
    const sorted = [...lines].toSorted(([a], [b]) => a - b)
    const linesThat = (ran: boolean) => sorted.flatMap(([line, was]) => (was === ran ? [line] : []))
    return { file, covered: linesThat(true), notCovered: linesThat(false) }
  })
}

function percentOf(coverage: readonly FileCoverage[]): number {
  const covered = coverage.reduce((sum, file) => sum + file.covered.length, 0)
  const all = coverage.reduce((sum, file) => sum + file.covered.length + file.notCovered.length, 0)
  return all === 0 ? 100 : (100 * covered) / all
}

function messageOf(error: PolicyError): string {
  return `${error.code}: ${error.message}`
}
