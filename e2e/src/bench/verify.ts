/** `pnpm bench verify [NAME...]`: how long one verification takes, by TEE, one after the other on one thread. */
import { Session } from 'node:inspector/promises'
import { availableParallelism, cpus } from 'node:os'
import { amdScenarios } from './verify-amd.ts'
import { hygonScenarios } from './verify-hygon.ts'
import { intelScenarios } from './verify-intel.ts'

/** One verification to be repeated. */
export interface Scenario {
  readonly name: string
  /** Verifies once, and throws when the outcome is not the expected one. */
  once(): Promise<void>
}

/** Times in milliseconds. */
interface Measurement {
  readonly name: string
  readonly runs: number
  readonly mean: number
  readonly median: number
  readonly p99: number
  readonly worst: number
  /** KiB that one verification allocates on the JavaScript heap, estimated by sampling. */
  readonly allocated: number
}

const warmUpRuns = 50
const measuredMs = 1500
const sampledRuns = 200
/** Bytes between two samples. */
const samplingInterval = 1024

/** @param names parts of scenario names; all scenarios unless given */
export async function run(names: readonly string[]): Promise<void> {
  const all = [...amdScenarios(), ...(await intelScenarios()), ...hygonScenarios()]
  const chosen = all.filter(({ name }) => names.length === 0 || names.some((part) => name.includes(part)))
  console.log(
    `Node ${process.version}, ${availableParallelism()} cores, ${cpus()[0]?.model ?? 'unknown processor'}`,
  )
  console.log('one verification, in milliseconds; allocations in KiB')
  const width = Math.max(...chosen.map(({ name }) => name.length))
  console.log(`${'scenario'.padEnd(width)}    runs    mean  median     p99   worst  allocated`)
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
  const mean = times.reduce((sum, time) => sum + time, 0) / times.length
  const allocated = await allocatedBy(once)
  return { name, runs: sorted.length, mean, median: at(0.5), p99: at(0.99), worst: at(1), allocated }
}

interface SampledNode {
  readonly selfSize: number
  readonly children: readonly SampledNode[]
}

async function allocatedBy(once: Scenario['once']): Promise<number> {
  const session = new Session()
  session.connect()
  try {
    await session.post('HeapProfiler.startSampling', {
      samplingInterval,
      includeObjectsCollectedByMajorGC: true,
      includeObjectsCollectedByMinorGC: true,
    })
    for (let index = 0; index < sampledRuns; index += 1) await once()
    const { profile } = await session.post('HeapProfiler.stopSampling')
    return sizeOf(profile.head) / sampledRuns / 1024
  } finally {
    session.disconnect()
  }
}

function sizeOf({ selfSize, children }: SampledNode): number {
  return children.reduce((sum, child) => sum + sizeOf(child), selfSize)
}

function print({ name, runs, mean, median, p99, worst, allocated }: Measurement, width: number): void {
  const columns = [mean, median, p99, worst].map((time) => time.toFixed(2).padStart(8)).join('')
  console.log(
    `${name.padEnd(width)}  ${String(runs).padStart(6)}${columns}${allocated.toFixed(0).padStart(11)}`,
  )
}
