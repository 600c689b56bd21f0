import { setTimeout as delay } from 'node:timers/promises'
import type { Journal } from './journal.ts'

/** Numbers between 0 and 1 that a seed determines (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** One who does something again and again. `random` is its own. */
export type Actor = (turn: number, random: () => number) => Promise<void>

export interface Load {
  readonly journal: Journal
  /** Lets all finish what they are at; rejects with what one of them has thrown. */
  stop(): Promise<void>
}

export interface LoadLimits {
  readonly seed: number
  /** Turns of each actor. */
  readonly maxTurns: number
  readonly maxMs: number
  /** Between two turns of an actor, so that the load leaves the machine to those who are loaded. */
  readonly pauseMs: number
}

/** Starts all actors at once. Each ends after so many turns or so much time, if nobody stops it before. */
export function startLoad(journal: Journal, actors: readonly Actor[], limits: LoadLimits): Load {
  let stopped = false
  const deadline = performance.now() + limits.maxMs
  const act = async (actor: Actor, index: number) => {
    const random = seededRandom(limits.seed + index)
    for (let turn = 0; turn < limits.maxTurns; turn++) {
      if (stopped || performance.now() > deadline) return
      await actor(turn, random)
      await delay(limits.pauseMs)
    }
  }
  const work = Promise.all(actors.map(act))
  // whoever stops the load hears of it
  work.catch(() => {})
  return {
    journal,
    async stop() {
      stopped = true
      await work
    },
  }
}
