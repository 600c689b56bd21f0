/** `pnpm conformance rego [DIR...]`: runs Rego case files and prints rates by suite, topic and tier. */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type RegoCase, readCases, SUITES, type Suite, textOf, textsOf } from './rego-cases.ts'
import { runCase } from './rego-suites.ts'

interface Ruling {
  readonly file: string
  readonly note: string
  readonly ruling: 'regorus' | 'opa' | 'skip'
}
interface ExpectedFailure {
  readonly file: string
  readonly note: string
  readonly reason: string
}
type Outcome = 'passed' | 'failed' | 'expected' | 'excluded'
interface Verdict {
  readonly case: RegoCase
  readonly tier: number
  readonly outcome: Outcome
  readonly failure: string | undefined
}

const here = dirname(fileURLToPath(import.meta.url))

/** Rates that the engine must reach, by suite and tiers (spec 05 §14). */
const TARGETS: readonly { suite: Suite; tiers: readonly number[]; rate: number }[] = [
  { suite: 'trustee', tiers: [0, 1, 2, 3, 4], rate: 1 },
  { suite: 'regorus/language-v1', tiers: [0, 1], rate: 1 },
  { suite: 'regorus/interpreter', tiers: [0, 1], rate: 1 },
  { suite: 'regorus/interpreter', tiers: [2], rate: 0.95 },
  { suite: 'regorus/syntax', tiers: [0], rate: 1 },
  { suite: 'regorus/lexer', tiers: [0], rate: 1 },
  { suite: 'opa-v1', tiers: [0, 1], rate: 0.99 },
  { suite: 'opa-v1', tiers: [2], rate: 0.95 },
]

function defaultFolder(): string {
  return join(process.env.KBS_VECTORS ?? resolve(here, '../../../../shared/vectors'), 'rego')
}

/** A file beside the vectors or in a folder above them. */
function findBeside<T>(folder: string, name: string, fallback: T): T {
  for (const start of [resolve(folder), defaultFolder()]) {
    for (let at = start; at !== dirname(at); at = dirname(at)) {
      const path = join(at, name)
      if (existsSync(path)) return JSON.parse(readFileSync(path, 'utf8')) as T
    }
  }
  return fallback
}

/** Finds the highest tier among the builtins that a case names. */
function tierReader(tiers: Readonly<Record<string, number>>): (c: RegoCase) => number {
  const graded = Object.entries(tiers).filter(([, tier]) => tier > 0)
  const patterns = graded.map(([name, tier]) => {
    const escaped = name.replace(/\./g, '\\.')
    return {
      tier,
      pattern: new RegExp(`(?<![\\w.])${escaped}(?=\\(|\\s+as\\s)|\\bas\\s+${escaped}(?![\\w.])`),
    }
  })
  return ({ suite, fields }) => {
    if (suite === 'regorus/syntax' || suite === 'regorus/lexer') return 0
    const text = [
      ...textsOf(fields, 'modules'),
      textOf(fields, 'query') ?? '',
      textOf(fields, 'policy') ?? '',
    ].join('\n')
    return patterns.reduce((tier, p) => (p.tier > tier && p.pattern.test(text) ? p.tier : tier), 0)
  }
}

/** Runs the folders, or the shared vectors; the number of faults decides the exit code. */
export async function run(folders: readonly string[]): Promise<number> {
  const chosen = folders.length > 0 ? folders : [defaultFolder()]
  const missing = chosen.filter((folder) => !existsSync(folder))
  if (missing.length > 0) {
    console.error(`no such folder: ${missing.join(', ')} (set KBS_VECTORS or name a folder)`)
    return 2
  }
  const expected = JSON.parse(
    readFileSync(join(here, 'rego-expected-failures.json'), 'utf8'),
  ) as ExpectedFailure[]
  const verdicts: Verdict[] = []
  for (const folder of chosen) {
    const { cases: rulings } = findBeside(folder, 'divergences.json', { cases: [] as Ruling[] })
    const tierOf = tierReader(findBeside(folder, 'tiers.json', { tiers: {} as Record<string, number> }).tiers)
    for (const c of readCases(resolve(folder))) verdicts.push(await judge(c, tierOf(c), rulings, expected))
  }
  printTable(verdicts)
  return printFaults(verdicts, expected)
}

async function judge(
  c: RegoCase,
  tier: number,
  rulings: readonly Ruling[],
  expected: readonly ExpectedFailure[],
): Promise<Verdict> {
  const isThis = (entry: { file: string; note: string }) => entry.file === c.file && entry.note === c.note
  const ruling = rulings.find(isThis)
  if (c.fields.get('skip') === true || ruling?.ruling === 'skip') {
    return { case: c, tier, outcome: 'excluded', failure: undefined }
  }
  const failure = await runCase(c).catch((error: unknown) => `crash: ${(error as Error).stack}`)
  if (failure === undefined) return { case: c, tier, outcome: 'passed', failure }
  // where a ruling corrects the file, its value is wrong and the engine's own tests hold the right one
  if (ruling?.ruling === 'opa') return { case: c, tier, outcome: 'excluded', failure }
  return { case: c, tier, outcome: expected.some(isThis) ? 'expected' : 'failed', failure }
}

function rate(verdicts: readonly Verdict[]): { passed: number; counted: number } {
  const counted = verdicts.filter(({ outcome }) => outcome !== 'excluded')
  return { passed: counted.filter(({ outcome }) => outcome === 'passed').length, counted: counted.length }
}

function percent({ passed, counted }: { passed: number; counted: number }): string {
  return counted === 0 ? '-' : `${((100 * passed) / counted).toFixed(1)} %`
}

function printTable(verdicts: readonly Verdict[]): void {
  for (const suite of SUITES) {
    const own = verdicts.filter((verdict) => verdict.case.suite === suite)
    if (own.length === 0) continue
    const total = rate(own)
    const excluded = own.length - total.counted
    console.log(
      `\n${suite}: ${total.passed}/${total.counted} ${percent(total)}${excluded ? `, ${excluded} excluded` : ''}`,
    )
    for (const tier of [0, 1, 2, 3, 4]) {
      const inTier = rate(own.filter((verdict) => verdict.tier === tier))
      if (inTier.counted > 0)
        console.log(`  tier ${tier}: ${inTier.passed}/${inTier.counted} ${percent(inTier)}`)
    }
    for (const topic of [...new Set(own.map((verdict) => verdict.case.topic))].sort()) {
      const inTopic = rate(own.filter((verdict) => verdict.case.topic === topic))
      const mark = inTopic.passed === inTopic.counted ? ' ' : '!'
      console.log(`    ${mark} ${topic.padEnd(44)} ${String(inTopic.passed).padStart(4)}/${inTopic.counted}`)
    }
  }
  console.log()
  for (const { suite, tiers, rate: target } of TARGETS) {
    const own = rate(
      verdicts.filter((verdict) => verdict.case.suite === suite && tiers.includes(verdict.tier)),
    )
    if (own.counted === 0) continue
    const listed = verdicts.filter(
      ({ case: c, tier, outcome }) => c.suite === suite && tiers.includes(tier) && outcome === 'expected',
    ).length
    const met = own.passed / own.counted >= target
    const metButForListed = own.passed / (own.counted - listed) >= target
    const verdict = met ? 'met' : metButForListed ? `met but for ${listed} listed cases` : 'MISSED'
    console.log(`target ${suite} tiers ${tiers.join(',')}: ${percent(own)} of ${100 * target} % ${verdict}`)
  }
}

function printFaults(verdicts: readonly Verdict[], expected: readonly ExpectedFailure[]): number {
  const failed = verdicts.filter(({ outcome }) => outcome === 'failed')
  for (const { case: c, tier, failure } of failed) {
    console.log(`\nFAILED ${c.file} · ${c.note} · tier ${tier}\n  ${failure?.slice(0, 1_500)}`)
  }
  for (const { case: c, failure } of verdicts.filter(({ outcome }) => outcome === 'expected')) {
    const reason = expected.find((entry) => entry.file === c.file && entry.note === c.note)?.reason
    console.log(
      `\nexpected failure ${c.file} · ${c.note}\n  ${reason}\n  ${failure?.split('\n')[0]?.slice(0, 300)}`,
    )
  }
  const surprises = expected.filter(
    (entry) =>
      verdicts.some(
        ({ case: c, outcome }) => c.file === entry.file && c.note === entry.note && outcome === 'passed',
      ) &&
      !verdicts.some(
        ({ case: c, outcome }) => c.file === entry.file && c.note === entry.note && outcome === 'expected',
      ),
  )
  for (const { file, note } of surprises)
    console.log(`\nPASSES ALTHOUGH LISTED as expected failure: ${file} · ${note}`)
  console.log(
    `\n${verdicts.length} cases, ${failed.length} failed, ${surprises.length} listed cases that pass`,
  )
  return failed.length + surprises.length > 0 ? 1 : 0
}
