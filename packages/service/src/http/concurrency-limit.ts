import { problems } from '@passport-kbs/protocol'
import type { MiddlewareHandler } from 'hono'
import type { ServiceEnv } from './service-env.ts'

/**
 * Works on at most `maxConcurrent` requests at once; beyond it 503 with `Retry-After` at once, because a guest gives up
 * after 60 s and comes back after 1 s (spec 01 §9.4). Health probes pass.
 */
export function concurrencyLimit(options: { readonly maxConcurrent: number }): MiddlewareHandler<ServiceEnv> {
  let inWork = 0
  return async (c, next) => {
    if (c.req.path === '/healthz' || c.req.path === '/readyz') return next()
    if (inWork >= options.maxConcurrent)
      throw problems.serviceUnavailable(new Error('too many requests in work'), 1)
    inWork++
    try {
      await next()
    } finally {
      inWork--
    }
  }
}
