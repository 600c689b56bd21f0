import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import {
  challengeBody,
  type JsonObject,
  jsonObject,
  type KbsProblem,
  parseAttestRequest,
  parseJson,
  problemBody,
  problems,
  sealForTee,
  stringifyJson,
  type TeePublicKey,
  tokenBody,
} from '@passport-kbs/protocol'
import { Hono } from 'hono'

export interface Received {
  readonly method: string
  readonly path: string
  readonly authorization: string | undefined
  readonly contentType: string | undefined
  readonly userAgent: string | undefined
  readonly body: string
}

export interface Broker {
  readonly url: string
  readonly received: Received[]
  /** Answers every administrator so, until unset. */
  refuseAdmin?: KbsProblem | undefined
  close(): Promise<void>
}

export const token = 'eyJhbGciOiJFUzI1NiJ9.eyJleHAiOjk5OTk5OTk5OTl9.AA'

/** A small broker on a loopback port that keeps resources and releases them to whoever attested. */
export async function startBroker(tls?: { key: string; cert: string }): Promise<Broker> {
  const received: Received[] = []
  const resources = new Map<string, Uint8Array>([['/kbs/v0/resource/a/b/c', Buffer.from('the secret')]])
  let key: TeePublicKey | undefined
  const app = new Hono()
  const broker: Broker = { url: '', received, close: async () => {} }

  app.use(async (c, next) => {
    received.push({
      method: c.req.method,
      path: c.req.path,
      authorization: c.req.header('authorization'),
      contentType: c.req.header('content-type'),
      userAgent: c.req.header('user-agent'),
      body: await c.req.text(),
    })
    await next()
  })
  app.post('/kbs/v0/auth', () => json(challengeBody('bm9uY2U='), { 'set-cookie': 'kbs-session-id=1' }))
  app.post('/kbs/v0/attest', async (c) => {
    key = parseAttestRequest(parseJson(await c.req.text())).runtimeData.teePublicKey
    return json(tokenBody(token), { 'set-cookie': 'kbs-session-id=1' })
  })
  app.get('/kbs/v0/resource/*', (c) => {
    const known = c.req.header('cookie') ?? c.req.header('authorization')
    if (known === undefined || key === undefined) return refusal(problems.tokenNotFound())
    if (c.req.path.includes('denied')) return refusal(problems.policyDenied())
    const resource = resources.get(c.req.path)
    if (resource === undefined) return refusal(problems.resourceNotFound())
    return json(jsonObject({ ...sealForTee(key, resource) }))
  })
  app.all('/kbs/v0/*', (c) => {
    if (broker.refuseAdmin !== undefined) return refusal(broker.refuseAdmin)
    if (c.req.method === 'GET')
      return new Response('["1"]', { headers: { 'content-type': 'application/json' } })
    return new Response(null)
  })

  const server = createAdaptorServer({
    fetch: app.fetch,
    ...(tls === undefined ? {} : { createServer: createTlsServer, serverOptions: tls }),
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return Object.assign(broker, {
    url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`,
    close: () => new Promise<void>((resolve) => server.close(() => resolve())),
  })
}

function json(body: JsonObject, headers: Record<string, string> = {}, status = 200): Response {
  return new Response(stringifyJson(body), {
    status,
    headers: { 'content-type': 'application/json', ...headers },
  })
}

function refusal(problem: KbsProblem): Response {
  return json(problemBody(problem), {}, problem.status)
}
