import type { HttpBindings } from '@hono/node-server'
import type { Logger } from 'pino'

/** Environment of every Hono app of the services. */
export interface ServiceEnv {
  Bindings: Partial<HttpBindings>
  Variables: {
    /** Also in the `X-Request-Id` header of the answer and in error bodies. */
    requestId: string
    /** Address of the client; of the last untrusted hop where trusted proxies are configured. */
    clientAddress: string
    /** Child logger that carries the request id. */
    logger: Logger
    /** For the access log: name of the plugin or verb. Set by the route. */
    plugin?: string
    /** For the access log, at debug level only. Set by the route. */
    resourcePath?: string
  }
}
