/** The loop: take an input that showed something new once, change it, run it, keep it when it shows something new. */
import type { Material } from './byte-mutation.ts'
import type { Coverage } from './coverage.ts'
import { execute, type Fault } from './execution.ts'
import { mutate } from './mutation.ts'
import { Random } from './random.ts'
import type { FuzzTarget } from './target.ts'

export interface Progress {
  readonly executions: number
  /** Inputs kept. */
  readonly corpus: number
  /** Of the counters in the code in scope. */
  readonly covered: number
  readonly places: number
}

export interface Finding extends Fault {
  readonly input: Uint8Array
}

/** What the engine tells, and asks. */
export interface Watcher {
  /** Before each execution: the input is kept where it survives a crash of this process. */
  starting(input: Uint8Array): void
  found(finding: Finding): void
  progress(progress: Progress): Promise<void>
}

export interface EngineOptions {
  readonly target: FuzzTarget
  readonly coverage: Coverage
  readonly words: readonly string[]
  readonly seeds: Iterable<Uint8Array>
  readonly seed: number
  readonly seconds: number
  /** Kinds of findings after which to stop. */
  readonly mostFindings: number
  readonly watcher: Watcher
}

const defaultMaxLength = 64 * 1024
const largestCorpus = 8192
const executionsBetweenBreaths = 64

export class Engine {
  readonly #options: EngineOptions
  readonly #random: Random
  readonly #corpus: Uint8Array[] = []
  readonly #words: readonly string[]
  /** Findings of one kind and place are one. */
  readonly #titles = new Set<string>()
  #executions = 0

  constructor(options: EngineOptions) {
    this.#options = options
    this.#random = new Random(options.seed)
    this.#words = [...options.words, ...(options.target.words ?? [])]
  }

  get corpus(): readonly Uint8Array[] {
    return this.#corpus
  }

  get progress(): Progress {
    const { covered, places } = this.#options.coverage
    return { executions: this.#executions, corpus: this.#corpus.length, covered, places }
  }

  /** Runs until time is up. */
  async run(): Promise<void> {
    const end = performance.now() + this.#options.seconds * 1000
    const { watcher, mostFindings } = this.#options
    for (const seed of this.#options.seeds) {
      await this.#try(seed, true)
      await watcher.progress(this.progress)
    }
    const isOver = () => performance.now() > end || this.#titles.size >= mostFindings
    while (!isOver()) {
      for (let count = 0; count < executionsBetweenBreaths && !isOver(); count += 1) {
        await this.#try(this.#next(), false)
      }
      await watcher.progress(this.progress)
    }
  }

  async #try(input: Uint8Array, keep: boolean): Promise<void> {
    const { target, coverage, watcher } = this.#options
    if (input.length > (target.maxLength ?? defaultMaxLength) && !keep) return
    watcher.starting(input)
    coverage.reset()
    const fault = await execute(target, input)
    this.#executions += 1
    if (fault !== undefined && !this.#titles.has(fault.title)) {
      this.#titles.add(fault.title)
      watcher.found({ ...fault, input })
    }
    // what is too slow is no good start for others
    if (fault === undefined && (coverage.isNew() || keep)) this.#keep(input)
  }

  #keep(input: Uint8Array): void {
    if (this.#corpus.length < largestCorpus) this.#corpus.push(input)
    else this.#corpus[this.#random.below(largestCorpus)] = input
  }

  #next(): Uint8Array {
    const material: Material = {
      other: this.#pick(),
      words: this.#words,
      compared: this.#options.coverage.compared,
    }
    return mutate(this.#pick(), this.#random, material)
  }

  /** One in three is from the youngest eighth: what was new lately leads on most often. */
  #pick(): Uint8Array {
    const { length } = this.#corpus
    if (length === 0) return new Uint8Array()
    const young = Math.max(1, length >> 3)
    const index = this.#random.chance(3) ? length - 1 - this.#random.below(young) : this.#random.below(length)
    return this.#corpus[index] ?? new Uint8Array()
  }
}
