import { type Env, Hono } from 'hono'
import type { Logger } from 'pino'

/** Resolves when the dependency answers; rejects otherwise. */
export type Probe = () => Promise<void>

export interface HealthOptions {
  readonly probes: Readonly<Record<string, Probe>>
  readonly informative?: Readonly<Record<string, Probe>>
  readonly logger: Logger
  readonly isDraining?: (() => boolean) | undefined
  readonly timeoutMs?: number
  readonly cacheMs?: number
}

/** How often what only informs is asked at most: it may cost money, or a quota. */
const informativeCacheMs = 15_000

/**
 * `GET /healthz`: 200, empty, as long as the process serves (spec 01 §1.2). `GET /readyz`: 200 when all probes succeed,
 * else 503; the JSON body says which, never why: causes go to the log. Results are kept for `cacheMs`, so that anyone may
 * ask without loading the dependencies.
 *
 * `informative` probes are of what fails for all replicas alike, and only some requests need: when one fails the status
 * is `degraded`, and 200, for it would help nobody to take every replica out of service. They do not hold up an answer.
 */
export function healthRoutes<E extends Env = Env>(options: HealthOptions): Hono<E> {
  const { logger, timeoutMs = 2_000, cacheMs = 1_000 } = options
  const run = (probes: Readonly<Record<string, Probe>>) => runProbes(probes, timeoutMs, logger)
  const needed = keptFor(cacheMs, () => run(options.probes))
  const informative = renewedBehind(informativeCacheMs, () => run(options.informative ?? {}))

  return new Hono<E>()
    .get('/healthz', (c) => c.body(null, 200))
    .get('/readyz', async (c) => {
      const [checks, others] = await Promise.all([needed(), informative()])
      const status = readiness(checks, others, options.isDraining?.() ?? false)
      const words = Object.fromEntries(
        Object.entries({ ...checks, ...others }).map(([name, ok]) => [name, ok ? 'ok' : 'failing']),
      )
      return c.json({ status, checks: words }, status === 'ready' || status === 'degraded' ? 200 : 503)
    })
}

type Checks = Readonly<Record<string, boolean>>

function readiness(checks: Checks, informative: Checks, isDraining: boolean) {
  const allPass = (results: Checks) => Object.values(results).every(Boolean)
  if (isDraining) return 'draining'
  if (!allPass(checks)) return 'not ready'
  return allPass(informative) ? 'ready' : 'degraded'
}

/** One result for all who ask within `ms`, and while it is being made. */
function keptFor<T>(ms: number, make: () => Promise<T>): () => Promise<T> {
  let latest: { readonly at: number; readonly result: Promise<T> } | undefined
  return () => {
    const now = performance.now()
    if (latest === undefined || now - latest.at > ms) latest = { at: now, result: make() }
    return latest.result
  }
}

/** As `keptFor`, but only who comes first waits: others get the former result while the next is being made. */
function renewedBehind<T>(ms: number, make: () => Promise<T>): () => Promise<T> {
  let latest: Promise<T> | undefined
  let renewedAt = 0
  return () => {
    const now = performance.now()
    if (latest === undefined) {
      renewedAt = now
      latest = make()
    } else if (now - renewedAt > ms) {
      renewedAt = now
      const next = make()
      void next.then(() => {
        latest = next
      })
    }
    return latest
  }
}

async function runProbes(
  probes: Readonly<Record<string, Probe>>,
  timeoutMs: number,
  logger: Logger,
): Promise<Readonly<Record<string, boolean>>> {
  const results = await Promise.all(
    Object.entries(probes).map(async ([name, probe]): Promise<[string, boolean]> => {
      try {
        await withinTime(probe(), timeoutMs)
        return [name, true]
      } catch (err) {
        logger.warn({ err, probe: name }, 'readiness probe failed')
        return [name, false]
      }
    }),
  )
  return Object.fromEntries(results)
}

async function withinTime(work: Promise<void>, timeoutMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
  })
  try {
    await Promise.race([work, timeout])
  } finally {
    clearTimeout(timer)
  }
}
