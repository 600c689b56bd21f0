import { isIPv6 } from 'node:net'
import { problems } from '@passport-kbs/protocol'
import type { MiddlewareHandler } from 'hono'
import type { HttpServerConfig } from '../config/config.ts'
import { requestPath } from './request-path.ts'
import type { ServiceEnv } from './service-env.ts'
import { TokenBuckets } from './token-buckets.ts'

export interface RateLimitOptions {
  /** Requests a second that one client may sustain; 0 for no limit. */
  readonly perSecond: number
  /** Requests that one client may send at once. */
  readonly burst: number
  /** Clients remembered at once. */
  readonly maxClients: number
  /** Milliseconds of a clock that does not run backwards. */
  readonly now?: () => number
}

/** Limits the requests of each client; beyond it 429 with `Retry-After` and an error body. IPv6 clients are /64 networks. */
export function rateLimit(options: RateLimitOptions): MiddlewareHandler<ServiceEnv> {
  const take = limiter(options)
  return async (c, next) => {
    take(c.get('clientAddress'))
    await next()
  }
}

const adminVerbs = new Set(['attestation-policy', 'reference-value', 'resource-policy'])

/**
 * The limits of `[http_server.rate_limits]` for everything below `/kbs/v0/`. The class of a request comes from its
 * decoded path, so an encoded verb does not slip through.
 */
export function kbsRateLimits(
  limits: HttpServerConfig['rateLimits'],
  now?: () => number,
): MiddlewareHandler<ServiceEnv> {
  const { maxClients } = limits
  const clock = now === undefined ? {} : { now }
  const take = {
    auth: limiter({ ...limits.auth, maxClients, ...clock }),
    attest: limiter({ ...limits.attest, maxClients, ...clock }),
    resource: limiter({ ...limits.resource, maxClients, ...clock }),
    admin: limiter({ ...limits.admin, maxClients, ...clock }),
  }
  return async (c, next) => {
    const [verb = ''] = requestPath(c).segments
    const writes = c.req.method === 'POST' || c.req.method === 'DELETE'
    if (verb === 'auth' || verb === 'attest') take[verb](c.get('clientAddress'))
    else if (adminVerbs.has(verb) || (verb === 'resource' && writes)) take.admin(c.get('clientAddress'))
    else take.resource(c.get('clientAddress'))
    await next()
  }
}

/** Throws the 429 where a client has no token left. */
function limiter(options: RateLimitOptions): (clientAddress: string) => void {
  if (options.perSecond === 0) return () => {}
  const buckets = new TokenBuckets(options)
  const now = options.now ?? (() => performance.now())
  return (clientAddress) => {
    const allowance = buckets.take(clientNetwork(clientAddress), now())
    if (!allowance.allowed)
      throw problems.tooManyRequests(Math.max(1, Math.ceil(allowance.retryAfterSeconds)))
  }
}

/** An IPv6 client owns at least a /64, so that is who is counted. */
export function clientNetwork(address: string): string {
  if (!isIPv6(address)) return address
  const [head = '', tail] = (address.split('%')[0] ?? '').split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros =
    tail === undefined ? [] : Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => '0')
  const groups = [...left, ...zeros, ...right]
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
  return `${groups.join(':')}::/64`
}
