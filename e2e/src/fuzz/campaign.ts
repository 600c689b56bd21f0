/** Fuzzes targets in processes of their own, several side by side, and writes down what they find. */
import { type ChildProcess, fork } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Progress } from './engine.ts'
import type { TargetEntry } from './targets.ts'
import type { Assignment, Report } from './worker.ts'

export interface CampaignOptions {
  readonly targets: readonly TargetEntry[]
  /** For each target. */
  readonly seconds: number
  /** Processes side by side. */
  readonly jobs: number
  readonly seed: number
  /** Where inputs that found something are written. */
  readonly findingsFolder: string
  /** Below it each target keeps its corpus between runs. */
  readonly corpusFolder?: string
  /** After so long without a sign of life a process is ended; ten minutes unless told. */
  readonly silenceMs?: number
  /** Kinds of findings after which a target is left; with 20, the default, it is broken anyway. */
  readonly mostFindings?: number
  status(line: string): void
}

export interface StoredFinding {
  readonly target: string
  readonly title: string
  readonly file: string
}

export interface TargetResult extends Progress {
  readonly target: string
  readonly seconds: number
  readonly findings: readonly StoredFinding[]
}

/** Without a sign of life for so long, on a machine however busy, the code under test does not come back. */
const defaultSilenceMs = 600_000
const statusEveryMs = 30_000
const worker = fileURLToPath(new URL('worker.ts', import.meta.url))
export const workerFlags: readonly string[] = [
  '--disable-warning=ExperimentalWarning',
  '--expose-gc',
  '--max-old-space-size=1024',
]

/** Results in the order of `targets`. */
export async function runCampaign(options: CampaignOptions): Promise<TargetResult[]> {
  mkdirSync(options.findingsFolder, { recursive: true })
  const results: TargetResult[] = []
  const waiting = [...options.targets.entries()]
  const job = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [index, entry] = next
      results[index] = await new TargetRun(entry, options).done
    }
  }
  await Promise.all(Array.from({ length: options.jobs }, job))
  return results
}

class TargetRun {
  readonly done: Promise<TargetResult>
  readonly #entry: TargetEntry
  readonly #options: CampaignOptions
  readonly #currentFile: string
  readonly #child: ChildProcess
  readonly #findings: StoredFinding[] = []
  readonly #begin = performance.now()
  #progress: Progress = { executions: 0, corpus: 0, covered: 0, places: 0 }
  #finished = false
  #heard = performance.now()

  constructor(entry: TargetEntry, options: CampaignOptions) {
    this.#entry = entry
    this.#options = options
    this.#currentFile = join(options.findingsFolder, `${entry.name}.current`)
    this.#child = fork(worker, [JSON.stringify(this.#assignment())], { execArgv: [...workerFlags] })
    this.#child.on('message', (report: Report) => this.#hear(report))
    this.done = this.#untilExit()
  }

  #assignment(): Assignment {
    const { seed, seconds, mostFindings = 20, corpusFolder } = this.#options
    const assignment = { entry: this.#entry, seed, seconds, mostFindings, currentFile: this.#currentFile }
    if (corpusFolder === undefined) return assignment
    return { ...assignment, corpusFolder: join(corpusFolder, this.#entry.name) }
  }

  #hear(report: Report): void {
    this.#heard = performance.now()
    if (report.type === 'finding') {
      this.#store(report.title, report.detail, Buffer.from(report.input, 'base64'))
    } else {
      this.#progress = report.progress
      this.#finished ||= report.type === 'done'
    }
  }

  async #untilExit(): Promise<TargetResult> {
    const watch = setInterval(() => this.#watch(), 1000)
    const status = setInterval(() => this.#tell(), statusEveryMs)
    const code = await new Promise<number | string>((resolve) => {
      this.#child.on('error', (error) => resolve(error.message))
      this.#child.on('exit', (exit, signal) => resolve(signal ?? exit ?? 'no code'))
    })
    clearInterval(watch)
    clearInterval(status)
    if (!this.#finished) {
      this.#store(
        `the process ended with ${code}`,
        'a crash, memory beyond the limit, or an endless loop',
        this.#current(),
      )
    }
    this.#tell()
    return { target: this.#entry.name, seconds: this.#seconds, ...this.#progress, findings: this.#findings }
  }

  #current(): Buffer {
    try {
      return readFileSync(this.#currentFile)
    } catch {
      return Buffer.alloc(0)
    }
  }

  #watch(): void {
    const { silenceMs = defaultSilenceMs } = this.#options
    if (performance.now() - this.#heard > silenceMs) this.#child.kill('SIGKILL')
  }

  #store(title: string, detail: string, input: Buffer): void {
    const { name } = this.#entry
    const id = createHash('sha256').update(input).digest('hex').slice(0, 12)
    const file = join(this.#options.findingsFolder, `${name}-${id}`)
    writeFileSync(file, input)
    const again = `pnpm fuzz ${name} --input ${file}`
    writeFileSync(`${file}.txt`, `${title}\n${detail}\n\nagain: ${again}\n`)
    this.#findings.push({ target: name, title, file })
    this.#options.status(`${name}: FOUND ${title}\n  ${again}`)
  }

  get #seconds(): number {
    return Math.round((performance.now() - this.#begin) / 1000)
  }

  #tell(): void {
    const { executions, corpus, covered, places } = this.#progress
    const rate = Math.round(executions / Math.max(1, this.#seconds))
    this.#options.status(
      `${this.#entry.name}: ${this.#seconds} s, ${executions} executions (${rate}/s), corpus ${corpus}, ` +
        `coverage ${covered}/${places} (${percent(covered, places)} %), findings ${this.#findings.length}`,
    )
  }
}

export function percent(part: number, whole: number): string {
  return whole === 0 ? '0' : ((part / whole) * 100).toFixed(1)
}
