/** `pnpm bench verify [NAME...]`: how long one verification takes, by TEE, one after the other on one thread. */
import { availableParallelism, cpus } from 'node:os'
import { intelScenarios } from './verify-intel.ts'

/** One verification to be repeated. */
export interface Scenario {
  readonly name: string
  /** Verifies once, and throws when the outcome is not the expected one. */
  once(): Promise<void>
}

/** Milliseconds. */
interface Measurement {
  readonly name: string
  readonly runs: number
  readonly median: number
  readonly p99: number
  readonly worst: number
}

const warmUpRuns = 50
const measuredMs = 1500

/** @param names parts of scenario names; all scenarios unless given */
export async function run(names: readonly string[]): Promise<void> {
  const all = await intelScenarios()
  const chosen = all.filter(({ name }) => names.length === 0 || names.some((part) => name.includes(part)))
  console.log(
    `Node ${process.version}, ${availableParallelism()} cores, ${cpus()[0]?.model ?? 'unknown processor'}`,
  )
  console.log('one verification, in milliseconds')
  const width = Math.max(...chosen.map(({ name }) => name.length))
  console.log(`${'scenario'.padEnd(width)}    runs  median     p99   worst`)
  for (const scenario of chosen) print(await measure(scenario), width)
}

async function measure({ name, once }: Scenario): Promise<Measurement> {
  for (let index = 0; index < warmUpRuns; index += 1) await once()
  const times: number[] = []
  const end = performance.now() + measuredMs
  while (performance.now() < end) {
    const begin = performance.now()
    await once()
    times.push(performance.now() - begin)
  }
  const sorted = times.toSorted((a, b) => a - b)
  const at = (share: number) => sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN
  return { name, runs: sorted.length, median: at(0.5), p99: at(0.99), worst: at(1) }
}

function print({ name, runs, median, p99, worst }: Measurement, width: number): void {
  const columns = [median, p99, worst].map((time) => time.toFixed(2).padStart(8)).join('')
  console.log(`${name.padEnd(width)}  ${String(runs).padStart(6)}${columns}`)
}
