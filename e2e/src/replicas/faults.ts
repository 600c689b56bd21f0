import { setTimeout as delay } from 'node:timers/promises'
import type { Journal, Observation, Outcome } from './journal.ts'

/** Which requests may fail how: operation and outcome. */
export type Tolerance = Readonly<Partial<Record<Outcome, readonly string[]>>>

/** Something that must work again by itself. Rejects, or answers false, while it does not. */
export interface Probe {
  readonly name: string
  works(): Promise<boolean>
  /** What else can be said, where it does not. */
  why?(): Promise<string>
}

export interface Fault {
  readonly name: string
  /** What the load may suffer from its begin to the end of its recovery. Everything else may at no time fail. */
  readonly tolerated: Tolerance
  /** Resolves when all is as before from outside; what the programs make of it is recovery. */
  readonly happen: () => Promise<void>
  /** What must work again afterwards. */
  readonly probes: readonly Probe[]
  /** In milliseconds. */
  readonly recoveryLimit: number
}

interface Window {
  readonly name: string
  readonly tolerated: Tolerance
  readonly from: number
  to: number
}

/** How long it took until everything worked again after a fault had been mended, in milliseconds. */
export interface Recovery {
  readonly fault: string
  readonly slowest: string
  readonly ms: number
}

/** Lets faults happen, one after the other, while others make requests. */
export class Faults {
  readonly recoveries: Recovery[] = []
  readonly #windows: Window[] = []

  async happen({ name, tolerated, happen, probes, recoveryLimit }: Fault): Promise<void> {
    const window: Window = { name, tolerated, from: performance.now(), to: Number.POSITIVE_INFINITY }
    this.#windows.push(window)
    await happen()
    const mended = performance.now()
    const took = await Promise.all(
      probes.map(async (probe) => {
        await untilWorks(probe, name, mended + recoveryLimit)
        return { fault: name, slowest: probe.name, ms: Math.round(performance.now() - mended) }
      }),
    )
    window.to = performance.now()
    took.sort((a, b) => b.ms - a.ms)
    this.recoveries.push(...took.slice(0, 1))
  }

  /** Requests that failed where none may, or otherwise than they may. */
  intolerable({ observations }: Journal, always: Tolerance = {}): readonly string[] {
    return observations.filter((seen) => !this.#isTolerable(seen, always)).map(describe)
  }

  #isTolerable(seen: Observation, always: Tolerance): boolean {
    if (seen.outcome === 'done' || isIn(always, seen)) return true
    return this.#windows.some(
      ({ tolerated, from, to }) => seen.endedAt >= from && seen.startedAt <= to && isIn(tolerated, seen),
    )
  }
}

function isIn(tolerance: Tolerance, { operation, outcome }: Observation): boolean {
  return tolerance[outcome]?.includes(operation) ?? false
}

function describe({ operation, outcome, startedAt, endedAt, detail }: Observation): string {
  return `${operation} ${outcome} from ${Math.round(startedAt)} to ${Math.round(endedAt)} ms: ${detail}`
}

const probeIntervalMs = 20

async function untilWorks({ name, works, why }: Probe, fault: string, deadline: number): Promise<void> {
  while (!(await works().catch(() => false))) {
    if (performance.now() > deadline)
      throw new Error(`after "${fault}", ${name} does not recover: ${await why?.().catch(String)}`)
    await delay(probeIntervalMs)
  }
}
