import type { MiddlewareHandler } from 'hono'
import { routePath } from 'hono/route'
import type { ServiceEnv } from './service-env.ts'

/**
 * One line a request: method, route, verb or plugin, status, duration in milliseconds, sizes in bytes, client. Paths of
 * resources are names of secrets, so they are logged at level `debug` only, and queries never; headers and bodies,
 * where tokens, cookies and evidence are, not at any level.
 */
export function accessLog(): MiddlewareHandler<ServiceEnv> {
  return async (c, next) => {
    const start = performance.now()
    await next()
    const logger = c.get('logger')
    const resourcePath = c.get('resourcePath')
    logger.info(
      {
        method: c.req.method,
        route: routePath(c, -1),
        plugin: c.get('plugin'),
        status: c.res.status,
        durationMs: Math.round((performance.now() - start) * 1000) / 1000,
        requestBytes: byteCount(c.req.header('content-length')),
        responseBytes: byteCount(c.res.headers.get('content-length') ?? undefined),
        clientAddress: c.get('clientAddress'),
        userAgent: c.req.header('user-agent')?.slice(0, 128),
        ...(resourcePath !== undefined && logger.isLevelEnabled('debug') ? { resourcePath } : {}),
      },
      'request',
    )
  }
}

function byteCount(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined
}
