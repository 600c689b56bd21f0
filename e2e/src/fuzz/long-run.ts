/** The long run as the documents tell of it: `pnpm fuzz --seconds 3600 --json e2e/src/fuzz/long-run.json`. */
import { readFileSync } from 'node:fs'
import type { TargetResult } from './campaign.ts'

/** What `--json` writes. */
export interface FuzzReport {
  readonly date: string
  readonly machine: string
  readonly seconds: number
  readonly jobs: number
  readonly seed: number
  readonly targets: readonly TargetResult[]
  /** Added by hand, where a run was not one run. */
  readonly notes?: readonly string[]
}

export const longRunFile: URL = new URL('long-run.json', import.meta.url)

export function readLongRun(): FuzzReport {
  return JSON.parse(readFileSync(longRunFile, 'utf8'))
}

/** The run as a table in Markdown. */
export function fuzzTable({ targets }: FuzzReport): string {
  const rows = targets.map(({ target, seconds, executions, corpus, covered, places, findings }) => {
    const coverage = `${((covered / places) * 100).toFixed(0)} % of ${places}`
    return `| \`${target}\` | ${Math.round(seconds / 60)} | ${executions.toLocaleString('en')} | ${corpus} | ${coverage} | ${findings.length} |`
  })
  return [
    '| Target | Minutes | Executions | Inputs kept | Branches reached | Findings |',
    '|---|---:|---:|---:|---:|---:|',
    ...rows,
  ].join('\n')
}
