import type { Hono } from 'hono'
import type { HttpServerConfig } from '../config/config.ts'
import type { ServiceEnv } from '../http/service-env.ts'
import { type HealthOptions, healthRoutes } from './health.ts'
import type { Metrics } from './metrics.ts'

/** What a program's app is made with besides its own. */
export interface AppOptions {
  readonly httpServer: HttpServerConfig
  readonly isDraining?: () => boolean
  /** App of the sockets for metrics, where the configuration has some. */
  readonly operation?: Hono<ServiceEnv> | undefined
}

/**
 * Mounts what is for operators: `/healthz` and `/readyz` on the program's app, and `/metrics` there too, unless there is
 * an app for `operation`: that has all three then, and the program's app knows no `/metrics`.
 */
export function mountOperation(
  app: Hono<ServiceEnv>,
  options: HealthOptions & { readonly metrics: Metrics; readonly operation?: Hono<ServiceEnv> | undefined },
): void {
  const { metrics, operation } = options
  // one, so that both have the same results
  const health = healthRoutes<ServiceEnv>(options)
  app.route('/', health)
  operation?.route('/', health)
  const place = operation ?? app
  place.get('/metrics', metrics.handler)
}
