/**
 * `pnpm --filter @passport-kbs/policy fuzz [SECONDS] [SEED]`: mutated policies against parser and evaluator.
 * Any text must give a compiled policy or a `PolicyCompileError`; any evaluation a result or a `PolicyError`.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseAllDocuments } from 'yaml'
import {
  type CompiledPolicy,
  compilePolicy,
  fromJs,
  PolicyCompileError,
  PolicyError,
  presets,
  QUERY_REFERENCE_VALUE,
} from '../src/index.ts'
import { mutate, Random } from './mutation.ts'

const here = dirname(fileURLToPath(import.meta.url))
/** A parse of 64 KiB must stay below this, many times over for a busy machine (spec 05 §13). */
const SLOW_MS = 1_000

/** Policies of the shared vectors when they are there, and the presets. */
function seeds(): string[] {
  const texts: string[] = Object.values(presets)
  const vectors = join(process.env.KBS_VECTORS ?? resolve(here, '../../../../shared/vectors'), 'rego')
  if (!existsSync(vectors)) console.warn('no KBS_VECTORS: fuzzing from the presets alone')
  else texts.push(...vectorTexts(vectors))
  return texts
}

function vectorTexts(folder: string): string[] {
  const texts: string[] = []
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!/\.(yaml|json)$/.test(entry.name) || entry.parentPath.includes('optional')) continue
    const text = readFileSync(join(entry.parentPath, entry.name), 'utf8')
    for (const document of parseAllDocuments(text, { logLevel: 'silent', uniqueKeys: false }))
      collect(document.toJS(), texts)
  }
  return texts
}

function collect(x: unknown, texts: string[]): void {
  if (typeof x === 'string') {
    if (/^\s*package /.test(x) && x.length < 8_000) texts.push(x)
  } else if (Array.isArray(x)) for (const item of x) collect(item, texts)
  else if (typeof x === 'object' && x !== null) for (const item of Object.values(x)) collect(item, texts)
}

const INPUT = fromJs({
  a: 1,
  b: [1, 'x', null],
  c: { d: { e: true } },
  submods: { cpu0: { 'ear.status': 'affirming' } },
})

function evaluateAll(policy: CompiledPolicy): void {
  try {
    policy.evaluate({
      rules: policy.rulePaths,
      input: INPUT,
      now: 1n,
      randomBytes: (n) => new Uint8Array(n),
      limits: { steps: 20_000 },
    })
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error
  }
}

function tryText(text: string, random: Random): 'compiled' | 'refused' {
  const dialect = random.below(4) === 0 ? 'v0' : 'v1'
  let policy: CompiledPolicy
  try {
    policy = compilePolicy([{ file: 'fuzz.rego', text }], {
      dialect,
      externals: [QUERY_REFERENCE_VALUE],
      strictBuiltinErrors: random.below(2) === 0,
    })
  } catch (error) {
    if (!(error instanceof PolicyCompileError)) throw error
    return 'refused'
  }
  evaluateAll(policy)
  return 'compiled'
}

const seconds = Number(process.argv[2] ?? 10)
const seed = Number(process.argv[3] ?? Math.floor(Math.random() * 2 ** 31))
const random = new Random(seed)
const corpus = seeds()
const counts = { compiled: 0, refused: 0 }
const faults: string[] = []
let slowest = 0
let slowestText = ''

const end = performance.now() + seconds * 1000
while (performance.now() < end && faults.length < 5) {
  const text = mutate(random.pick(corpus), random, corpus)
  const start = performance.now()
  try {
    counts[tryText(text, random)]++
  } catch (error) {
    faults.push(`${(error as Error).stack}\n--- text ---\n${JSON.stringify(text)}`)
  }
  const took = performance.now() - start
  if (took > slowest) {
    slowest = took
    slowestText = text
  }
  if (took > SLOW_MS) faults.push(`took ${took.toFixed(0)} ms\n--- text ---\n${JSON.stringify(text)}`)
}

console.log(
  `seed ${seed}: ${counts.compiled} compiled, ${counts.refused} refused, slowest ${slowest.toFixed(1)} ms`,
)
if (process.env.FUZZ_SHOW_SLOWEST) console.log(JSON.stringify(slowestText))
for (const fault of faults) console.error(`\nFAULT ${fault}`)
process.exitCode = faults.length > 0 ? 1 : 0
