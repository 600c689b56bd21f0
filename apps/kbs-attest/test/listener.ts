import { type IncomingMessage, type RequestOptions, request } from 'node:http'
import { createHttpServer, type FetchApp, type HttpServerConfig, type Logger } from '@passport-kbs/service'
import { onTestFinished } from 'vitest'

/** Serves an app on a free port of loopback until the test ends. */
export async function listen(options: {
  readonly app: FetchApp
  readonly httpServer: HttpServerConfig
  readonly logger: Logger
}): Promise<{ readonly url: string }> {
  const server = await createHttpServer(options)
  onTestFinished(() => server.close({ graceMs: 0 }))
  return { url: server.urls[0] ?? '' }
}

export interface Sent {
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly body?: string | Uint8Array
  /** Sends the head and nothing of the body that it announces. */
  readonly stall?: boolean
}

/** Sends a request whose target is not normalised, as an attacker would. */
export function send(url: string, target: string, { stall, body, ...options }: Sent = {}): Promise<Response> {
  const { hostname, port } = new URL(url)
  const request_: RequestOptions = { hostname, port, path: target, agent: false, ...options }
  return new Promise((resolve, reject) => {
    const outgoing = request(request_, (incoming) => {
      readAll(incoming).then(resolve, reject)
    })
    outgoing.on('error', reject)
    if (stall === true) outgoing.flushHeaders()
    else outgoing.end(body)
  })
}

async function readAll(incoming: IncomingMessage): Promise<Response> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk as Buffer)
  const headers = Object.entries(incoming.headersDistinct).map(([name, values = []]) => [name, values.join()])
  return new Response(Buffer.concat(chunks), {
    status: incoming.statusCode ?? 0,
    headers: headers as [string, string][],
  })
}
