import { KbsProblem, problems } from '@passport-kbs/protocol'
import type { MiddlewareHandler } from 'hono'
import { problemResponse } from './answers.ts'
import type { ServiceEnv } from './service-env.ts'

/**
 * Refuses bodies above `maxBytes` with 413: by `Content-Length` before anything is read, else while the body streams
 * (spec 01 §1.1). Encoded bodies (`Content-Encoding`) are refused with 415, because no client sends them and an inflated
 * size cannot be known before.
 */
export function bodyLimit(options: { readonly maxBytes: number }): MiddlewareHandler<ServiceEnv> {
  return async (c, next) => {
    const encoding = c.req.header('content-encoding')
    if (encoding !== undefined && encoding.toLowerCase() !== 'identity') throw unsupportedEncoding()
    const length = c.req.header('content-length')
    if (length !== undefined && !(Number(length) <= options.maxBytes)) throw problems.payloadTooLarge()
    if (c.req.header('transfer-encoding') === undefined || c.req.raw.body === null) return next()

    let exceeded = false
    const counted = c.req.raw.body.pipeThrough(
      byteCounter(options.maxBytes, () => {
        exceeded = true
      }),
    )
    // `duplex` is required by fetch for a streaming body, and missing from the types
    const init: RequestInit & { duplex: 'half' } = { body: counted, duplex: 'half' }
    c.req.raw = new Request(c.req.raw, init)
    await next()
    // whatever the route made of the broken stream, the reason was the size
    if (exceeded) {
      c.res = undefined
      c.res = problemResponse(problems.payloadTooLarge(), c.get('requestId'))
    }
  }
}

function byteCounter(
  maxBytes: number,
  onExceeded: () => void,
): TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>> {
  let seen = 0
  return new TransformStream({
    transform(chunk, controller) {
      seen += chunk.byteLength
      if (seen <= maxBytes) return controller.enqueue(chunk)
      onExceeded()
      controller.error(problems.payloadTooLarge())
    },
  })
}

function unsupportedEncoding(): KbsProblem {
  return new KbsProblem({
    kind: 'MalformedRequest',
    status: 415,
    title: 'Unsupported content encoding',
    detail: 'send the body without Content-Encoding',
  })
}
