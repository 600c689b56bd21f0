import { randomUUID } from 'node:crypto'
import type { MiddlewareHandler } from 'hono'
import type { Logger } from 'pino'
import type { ProxyTrust } from './client-address.ts'
import type { ServiceEnv } from './service-env.ts'

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/**
 * Gives a request its id, its client address and its logger. The id is a new UUID; one that comes in `X-Request-Id` is
 * kept only when it is a UUID from a trusted proxy, so that clients cannot forge the trail.
 */
export function requestContext(options: {
  readonly logger: Logger
  readonly proxies: ProxyTrust
}): MiddlewareHandler<ServiceEnv> {
  return async (c, next) => {
    const connection = c.env?.incoming?.socket?.remoteAddress
    const offered = c.req.header('x-request-id')?.toLowerCase()
    const keep = offered !== undefined && uuid.test(offered) && options.proxies.isTrusted(connection ?? '')
    const requestId = keep ? offered : randomUUID()
    c.set('requestId', requestId)
    c.set('clientAddress', options.proxies.clientAddress(connection, c.req.header('x-forwarded-for')))
    c.set('logger', options.logger.child({ requestId }))
    await next()
    c.res.headers.set('x-request-id', requestId)
  }
}
