import { Hono } from 'hono'
import type { Logger } from 'pino'
import type { HttpServerConfig } from '../config/config.ts'
import type { Metrics } from '../observability/metrics.ts'
import { accessLog } from './access-log.ts'
import { errorHandler, notFoundHandler } from './answers.ts'
import { bodyLimit } from './body-limit.ts'
import { createProxyTrust } from './client-address.ts'
import { concurrencyLimit } from './concurrency-limit.ts'
import { kbsRateLimits } from './rate-limit.ts'
import { requestContext } from './request-context.ts'
import { rawRequestPath } from './request-path.ts'
import { securityHeaders } from './security-headers.ts'
import type { ServiceEnv } from './service-env.ts'

/**
 * An app without routes that has what every route needs, in this order: request id and logger, access log, metrics,
 * security headers, concurrency limit, rate limits, body limit, error answers. Routing sees the path as it was sent.
 */
export function createServiceApp(options: {
  readonly httpServer: HttpServerConfig
  readonly logger: Logger
  readonly metrics?: Metrics
}): Hono<ServiceEnv> {
  const { httpServer, logger, metrics } = options
  const app = new Hono<ServiceEnv>({ getPath: rawRequestPath })
  app.onError(errorHandler)
  app.notFound(notFoundHandler)
  app.use(requestContext({ logger, proxies: createProxyTrust(httpServer.trustedProxies) }))
  app.use(accessLog())
  if (metrics !== undefined) app.use('/kbs/*', metrics.middleware)
  app.use(securityHeaders({ tls: !httpServer.insecureHttp }))
  app.use(concurrencyLimit({ maxConcurrent: httpServer.maxConcurrentRequests }))
  app.use('/kbs/v0/*', kbsRateLimits(httpServer.rateLimits))
  app.use(bodyLimit({ maxBytes: Math.floor(httpServer.payloadRequestSize * 1_048_576) }))
  return app
}
