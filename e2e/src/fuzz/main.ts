/**
 * `pnpm fuzz [TARGET...] [--seconds N] [--jobs J] [--seed S] [--json FILE] [--findings DIR] [--corpus DIR]`: coverage-guided
 * fuzzing of whatever reads untrusted bytes; all targets unless named. `pnpm fuzz list` names them; `pnpm fuzz TARGET --input
 * FILE` runs one input. The exit code is 1 when something was found.
 */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { runCampaign, workerFlags } from './campaign.ts'
import { type TargetEntry, targetEntries } from './targets.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '60' },
    jobs: { type: 'string', default: String(availableParallelism()) },
    seed: { type: 'string', default: '1' },
    json: { type: 'string' },
    findings: { type: 'string', default: join(tmpdir(), 'passport-kbs-fuzz') },
    corpus: { type: 'string' },
    input: { type: 'string' },
  },
})

process.exitCode = await main()

async function main(): Promise<number> {
  if (positionals[0] === 'list') {
    for (const { name } of targetEntries) console.log(name)
    return 0
  }
  const targets = positionals.length === 0 ? targetEntries : positionals.map(entryOf)
  const [first] = targets
  if (values.input !== undefined && first !== undefined) return replay(first, resolve(values.input))
  return await campaign(targets)
}

function entryOf(name: string): TargetEntry {
  const entry = targetEntries.find((candidate) => candidate.name === name)
  if (entry !== undefined) return entry
  console.error(`no target ${name}; see pnpm fuzz list`)
  process.exit(2)
}

function replay(entry: TargetEntry, inputFile: string): number {
  const worker = fileURLToPath(new URL('worker.ts', import.meta.url))
  const assignment = JSON.stringify({
    entry,
    inputFile,
    seed: 0,
    seconds: 0,
    mostFindings: 1,
    currentFile: '',
  })
  const { status } = spawnSync(process.execPath, [...workerFlags, worker, assignment], { stdio: 'inherit' })
  if (status === 0) console.log('nothing is wrong with this input')
  return status ?? 1
}

async function campaign(targets: readonly TargetEntry[]): Promise<number> {
  const results = await runCampaign({
    targets,
    seconds: Number(values.seconds),
    jobs: Number(values.jobs),
    seed: Number(values.seed),
    findingsFolder: resolve(values.findings),
    ...(values.corpus === undefined ? {} : { corpusFolder: resolve(values.corpus) }),
    status: (line) => console.log(line),
  })
  const report = {
    date: new Date().toISOString().slice(0, 10),
    machine: `${availableParallelism()} cores, ${cpus()[0]?.model ?? 'unknown processor'}, Node ${process.version}`,
    ...{ seconds: Number(values.seconds), jobs: Number(values.jobs), seed: Number(values.seed) },
    targets: results,
  }
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(report, null, 2)}\n`)
  const findings = results.flatMap((result) => result.findings)
  console.log(findings.length === 0 ? 'nothing found' : `${findings.length} findings`)
  return findings.length === 0 ? 0 : 1
}
