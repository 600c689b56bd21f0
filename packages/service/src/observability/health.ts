import { type Env, Hono } from 'hono'
import type { Logger } from 'pino'

/** Resolves when the dependency answers; rejects otherwise. */
export type Probe = () => Promise<void>

/**
 * `GET /healthz`: 200, empty, as long as the process serves (spec 01 §1.2). `GET /readyz`: 200 when all probes succeed,
 * else 503; the JSON body says which, never why: causes go to the log. Results are kept for `cacheMs`, so that anyone may
 * ask without loading the dependencies.
 */
export function healthRoutes<E extends Env = Env>(options: {
  readonly probes: Readonly<Record<string, Probe>>
  readonly logger: Logger
  readonly isDraining?: () => boolean
  readonly timeoutMs?: number
  readonly cacheMs?: number
}): Hono<E> {
  const { probes, logger, timeoutMs = 2_000, cacheMs = 1_000 } = options
  let latest: { readonly at: number; readonly result: Promise<Readonly<Record<string, boolean>>> } | undefined

  const check = (): Promise<Readonly<Record<string, boolean>>> => {
    const now = performance.now()
    if (latest === undefined || now - latest.at > cacheMs)
      latest = { at: now, result: runProbes(probes, timeoutMs, logger) }
    return latest.result
  }

  return new Hono<E>()
    .get('/healthz', (c) => c.body(null, 200))
    .get('/readyz', async (c) => {
      const checks = await check()
      const draining = options.isDraining?.() ?? false
      const ready = !draining && Object.values(checks).every(Boolean)
      const words = Object.fromEntries(
        Object.entries(checks).map(([name, ok]) => [name, ok ? 'ok' : 'failing']),
      )
      return c.json(
        { status: draining ? 'draining' : ready ? 'ready' : 'not ready', checks: words },
        ready ? 200 : 503,
      )
    })
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
