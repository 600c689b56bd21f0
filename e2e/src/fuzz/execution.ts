/** One input through one target, held to the limits: typed rejections only, bounded time, bounded memory. */
import { getHeapStatistics } from 'node:v8'
import { type FuzzTarget, faultOf } from './target.ts'

/** What no input may cause. */
export interface Fault {
  readonly kind: 'error' | 'time' | 'memory'
  /** One line that is the same for the same defect. */
  readonly title: string
  readonly detail: string
}

export const timeBoundMs = 50
const defaultMemoryBound = 64 * 1024 * 1024
const measurements = 3

/** Runs `target` once; measures again, and again, before it blames time or memory. */
export async function execute(target: FuzzTarget, input: Uint8Array): Promise<Fault | undefined> {
  const memoryBound = target.memoryBound ?? defaultMemoryBound
  const before = allocated()
  const begin = process.threadCpuUsage()
  const fault = await attempt(target, input)
  const elapsed = millisecondsSince(begin)
  const growth = allocated() - before
  if (fault !== undefined) return fault
  if (elapsed > timeBoundMs) {
    const least = await leastOf(() => processorTime(target, input))
    if (least > timeBoundMs) {
      return { kind: 'time', title: 'too slow', detail: `${least.toFixed(1)} ms of processor time` }
    }
  }
  if (growth > memoryBound) {
    const least = await leastOf(() => growthOf(target, input))
    if (least > memoryBound) {
      return { kind: 'memory', title: 'too much memory', detail: `${(least / 1024 ** 2).toFixed(1)} MiB` }
    }
  }
  return undefined
}

async function attempt(target: FuzzTarget, input: Uint8Array): Promise<Fault | undefined> {
  try {
    await target.run(input)
    return undefined
  } catch (error) {
    const fault = faultOf(target, error)
    return fault === undefined ? undefined : errorFault(fault, error)
  }
}

function errorFault(fault: string, error: unknown): Fault {
  const innermost = innermostOf(error)
  const name = innermost instanceof Error ? innermost.name : typeof innermost
  const detail = error instanceof Error ? traceOf(error) : String(error)
  return { kind: 'error', title: `${fault}: ${name} at ${placeOf(innermost)}`, detail }
}

function innermostOf(error: unknown): unknown {
  return error instanceof Error && error.cause !== undefined ? innermostOf(error.cause) : error
}

function traceOf(error: Error): string {
  const own = error.stack ?? error.message
  return error.cause instanceof Error ? `${own}\ncaused by ${traceOf(error.cause)}` : own
}

/** The first line of the stack in a file of this repository. */
function placeOf(error: unknown): string {
  const stack = error instanceof Error ? (error.stack ?? '') : ''
  const lines = stack
    .split('\n')
    .filter((line) => line.includes('file://') && !line.includes('node_modules/.pnpm'))
  return /((?:packages|apps|e2e)\/[^:]+:\d+)/.exec(lines[0] ?? '')?.[1] ?? 'unknown place'
}

async function processorTime(target: FuzzTarget, input: Uint8Array): Promise<number> {
  const begin = process.threadCpuUsage()
  await attempt(target, input)
  return millisecondsSince(begin)
}

/** What this thread computed: other processes on the machine do not count. An endless wait is seen by `campaign.ts`. */
function millisecondsSince(begin: NodeJS.CpuUsage): number {
  const { user, system } = process.threadCpuUsage(begin)
  return (user + system) / 1000
}

async function growthOf(target: FuzzTarget, input: Uint8Array): Promise<number> {
  // the first one sweeps buffers in the background, the second one waits for that
  globalThis.gc?.()
  globalThis.gc?.()
  const before = allocated()
  await attempt(target, input)
  return allocated() - before
}

async function leastOf(measure: () => Promise<number>): Promise<number> {
  let least = Number.POSITIVE_INFINITY
  for (let index = 0; index < measurements; index += 1) least = Math.min(least, await measure())
  return least
}

/** Bytes on this thread's heap and in its buffers; a collection in between makes a growth look smaller, never larger. */
function allocated(): number {
  const { used_heap_size: heap, external_memory: external } = getHeapStatistics()
  return heap + external
}
