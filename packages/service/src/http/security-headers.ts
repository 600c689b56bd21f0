import type { MiddlewareHandler } from 'hono'
import { securityHeaderFields } from './answers.ts'
import type { ServiceEnv } from './service-env.ts'

/**
 * Sets the headers of `securityHeaderFields`, unless the route has set its own `cache-control` (published keys may be
 * cached); with `tls`, also that clients must come back over TLS.
 */
export function securityHeaders(options: { readonly tls: boolean }): MiddlewareHandler<ServiceEnv> {
  return async (c, next) => {
    await next()
    for (const [name, value] of Object.entries(securityHeaderFields)) {
      if (!c.res.headers.has(name)) c.res.headers.set(name, value)
    }
    if (options.tls) c.res.headers.set('strict-transport-security', 'max-age=31536000')
  }
}
