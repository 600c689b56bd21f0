import { CheckFailure } from '../rejection.ts'
import type { CollateralDocument } from './collateral.ts'
import type { DocumentWindow } from './collateral-admission.ts'
import { type CollateralKey, type CollateralUpstream, UpstreamError } from './collateral-key.ts'

/** How an upstream, or the directory of the cache, has been doing. */
export interface UpstreamHealth {
  readonly name: string
  readonly healthy: boolean
  readonly lastSuccess?: Date
  readonly lastFailure?: Date
  readonly consecutiveFailures: number
  /** Of the last failure; names host, status and reason only. */
  readonly lastError?: string
  /** Not asked again before. */
  readonly pausedUntil?: Date
}

interface PoolOptions {
  readonly upstreams: readonly CollateralUpstream[]
  readonly now: () => number
  readonly timeoutMs: number
  readonly deadlineMs: number
}

/** An admitted document, or why there is none; `expired` is a genuine one that is too old. */
export type PoolOutcome =
  | { readonly document: CollateralDocument; readonly window: DocumentWindow; readonly upstream: string }
  | { readonly error: CheckFailure; readonly expired: CollateralDocument | undefined }

interface UpstreamRecord {
  lastSuccess?: number
  lastFailure?: number
  failures: number
  lastError?: string
  pausedUntil: number
}

const clockSkewMs = 300_000
/** A few failures may be chance; after them an upstream gets pauses of 1 s, 2 s, 4 s … up to a minute. */
const toleratedFailures = 2
const longestBackoffMs = 60_000

/** Asks upstreams in order until one has a document that is admitted and in its window. */
export function createUpstreamPool({ upstreams, now, timeoutMs, deadlineMs }: PoolOptions) {
  const records = new Map<string, UpstreamRecord>(upstreams.map(({ name }) => [name, newRecord()]))
  return {
    async fetch(
      key: CollateralKey,
      admit: (document: CollateralDocument) => DocumentWindow,
    ): Promise<PoolOutcome> {
      const deadline = performance.now() + deadlineMs
      const reasons: string[] = []
      let refused: CheckFailure | undefined
      let outage = false
      let expired: CollateralDocument | undefined
      for (const upstream of upstreams) {
        const record = records.get(upstream.name) ?? newRecord()
        const left = Math.min(timeoutMs, deadline - performance.now())
        try {
          if (record.pausedUntil > now()) throw new UpstreamError('busy', `${upstream.name} is paused`)
          if (left <= 0) throw new UpstreamError('unreachable', `${upstream.name}: no time left`)
          const document = await upstream.fetch(key, Math.ceil(left))
          const window = admit(document)
          const late = outsideWindow(window, now())
          if (late?.code === 'COLLATERAL_EXPIRED') expired ??= document
          if (late !== undefined) throw late
          succeed(record, now())
          return { document, window, upstream: upstream.name }
        } catch (error) {
          reasons.push(error instanceof Error ? error.message : String(error))
          outage ||= !saysAbsent(key, error)
          if (error instanceof CheckFailure) refused ??= naming(`${upstream.name}, ${key.kind}`, error)
          failed(record, error, now())
        }
      }
      const error =
        refused ?? new CheckFailure('COLLATERAL_UNAVAILABLE', reasons.join('; ') || 'no upstream', { outage })
      return { error, expired }
    },
    /** Records how something other than an upstream did; without `error`: well. */
    note(name: string, error?: unknown): void {
      const record = records.get(name) ?? newRecord()
      records.set(name, record)
      if (error === undefined) succeed(record, now())
      else failed(record, error, now())
    },
    health: (): UpstreamHealth[] => Array.from(records, ([name, record]) => healthOf(name, record, now())),
  }
}

/** Every upstream has the documents that are not of one platform: where one says no, it is not what it should be. */
function saysAbsent({ kind }: CollateralKey, error: unknown): boolean {
  return kind === 'tcb-info' && error instanceof UpstreamError && error.fault === 'absent'
}

/** What is wrong, and where it came from. Never the fault of evidence, which has no part in what upstreams serve. */
function naming(place: string, cause: CheckFailure): CheckFailure {
  return new CheckFailure(cause.code, `${place}: ${cause.message}`, { cause, outage: true })
}

function newRecord(): UpstreamRecord {
  return { failures: 0, pausedUntil: 0 }
}

function outsideWindow({ begin, end }: DocumentWindow, now: number): CheckFailure | undefined {
  if (now > end) return new CheckFailure('COLLATERAL_EXPIRED', `ended ${new Date(end).toISOString()}`)
  if (now < begin - clockSkewMs) {
    return new CheckFailure('COLLATERAL_NOT_YET_VALID', `begins ${new Date(begin).toISOString()}`)
  }
  return undefined
}

function succeed(record: UpstreamRecord, now: number): void {
  record.lastSuccess = now
  record.failures = 0
  record.pausedUntil = 0
}

function failed(record: UpstreamRecord, error: unknown, now: number): void {
  // "I do not have it" and "I am pausing" are answers, not faults
  if (error instanceof UpstreamError && error.fault === 'absent') {
    succeed(record, now)
    return
  }
  if (record.pausedUntil > now) return
  record.lastFailure = now
  record.lastError = error instanceof Error ? error.message : String(error)
  record.failures += 1
  const excess = record.failures - toleratedFailures
  const backoff = excess > 0 ? Math.min(1000 * 2 ** (excess - 1), longestBackoffMs) : 0
  const asked = error instanceof UpstreamError ? (error.retryAfterMs ?? 0) : 0
  record.pausedUntil = now + Math.max(backoff, asked)
}

function healthOf(name: string, record: UpstreamRecord, now: number): UpstreamHealth {
  const { lastSuccess, lastFailure, failures, lastError, pausedUntil } = record
  return {
    name,
    healthy: failures === 0,
    consecutiveFailures: failures,
    ...(lastSuccess === undefined ? {} : { lastSuccess: new Date(lastSuccess) }),
    ...(lastFailure === undefined ? {} : { lastFailure: new Date(lastFailure) }),
    ...(lastError === undefined ? {} : { lastError }),
    ...(pausedUntil > now ? { pausedUntil: new Date(pausedUntil) } : {}),
  }
}
