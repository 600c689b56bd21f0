/**
 * The process in which one target is fuzzed. `campaign.ts` starts it, so that a crash or an endless loop of the code
 * under test ends only this process: the input is in a file by then.
 */
import { createHash } from 'node:crypto'
import {
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Coverage } from './coverage.ts'
import { Engine, type Finding, type Progress } from './engine.ts'
import { execute } from './execution.ts'
import { instrumentModules } from './instrumentation.ts'
import type { FuzzTarget } from './target.ts'
import type { TargetEntry } from './targets.ts'

/** What `campaign.ts` gives as the only argument, as JSON. */
export interface Assignment {
  readonly entry: TargetEntry
  readonly seed: number
  readonly seconds: number
  readonly mostFindings: number
  /** The file that holds the input at hand. */
  readonly currentFile: string
  /** The folder of the corpus that is kept between runs; none by default. */
  readonly corpusFolder?: string
  /** One input to run instead of fuzzing. */
  readonly inputFile?: string
}

/** What the process tells, as JSON. */
export type Report =
  | { readonly type: 'progress' | 'done'; readonly progress: Progress }
  | {
      readonly type: 'finding'
      readonly kind: Finding['kind']
      readonly title: string
      readonly detail: string
      readonly input: string
    }

const repository = fileURLToPath(new URL('../../../', import.meta.url))
const regressions = fileURLToPath(new URL('regressions/', import.meta.url))
const reportEveryMs = 1000

// without the campaign nobody would hear
process.on('disconnect', () => process.exit(1))

const assignment: Assignment = JSON.parse(process.argv[2] ?? '')
const coverage = new Coverage()
const words = new Set<string>()
instrumentModules(
  assignment.entry.scope.map((path) => join(repository, path)),
  coverage,
  words,
)
const modules: Record<string, unknown> = await import(assignment.entry.module)
const target = modules[assignment.entry.export] as FuzzTarget
if (assignment.inputFile === undefined) await fuzz()
else await replay(assignment.inputFile)

async function fuzz(): Promise<void> {
  const current = openSync(assignment.currentFile, 'w')
  let reported = performance.now()
  const engine = new Engine({
    target,
    coverage,
    words: [...words],
    seeds: [...(await target.seeds()), ...stored(join(regressions, target.name)), ...kept()],
    ...{ seed: assignment.seed, seconds: assignment.seconds, mostFindings: assignment.mostFindings },
    watcher: {
      starting(input) {
        ftruncateSync(current, input.length)
        writeSync(current, input, 0, input.length, 0)
      },
      found: ({ kind, title, detail, input }) =>
        send({ type: 'finding', kind, title, detail, input: Buffer.from(input).toString('base64') }),
      async progress(progress) {
        if (performance.now() - reported > reportEveryMs) {
          reported = performance.now()
          await send({ type: 'progress', progress })
        }
        // lets messages leave and collected handles be finalised
        await new Promise(setImmediate)
      },
    },
  })
  await engine.run()
  if (assignment.corpusFolder !== undefined) store(assignment.corpusFolder, engine.corpus)
  await send({ type: 'done', progress: engine.progress })
  process.exit(0)
}

async function replay(file: string): Promise<void> {
  const fault = await execute(target, readFileSync(file))
  if (fault !== undefined) console.error(`${fault.title}\n${fault.detail}`)
  process.exit(fault === undefined ? 0 : 1)
}

function kept(): Uint8Array[] {
  return assignment.corpusFolder === undefined ? [] : stored(assignment.corpusFolder)
}

function stored(folder: string): Uint8Array[] {
  try {
    return readdirSync(folder).map((name) => readFileSync(join(folder, name)))
  } catch {
    return []
  }
}

function store(folder: string, corpus: readonly Uint8Array[]): void {
  mkdirSync(folder, { recursive: true })
  for (const input of corpus) {
    writeFileSync(join(folder, createHash('sha256').update(input).digest('hex').slice(0, 32)), input)
  }
}

function send(report: Report): Promise<void> {
  return new Promise((resolve) => process.send?.(report, () => resolve()) ?? resolve())
}
