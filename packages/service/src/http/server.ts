import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { Server as NetServer } from 'node:net'
import { setImmediate as afterPolling } from 'node:timers/promises'
import { getRequestListener, type Http2Bindings, type HttpBindings } from '@hono/node-server'
import { problems } from '@passport-kbs/protocol'
import type { Logger } from 'pino'
import type { HttpServerConfig } from '../config/config.ts'
import { problemOf, problemResponse } from './answers.ts'
import { answerBrokenRequests, headProblem, refuse } from './broken-requests.ts'
import { createProxyTrust } from './client-address.ts'
import {
  clientCertificates,
  listen,
  secureContext,
  urlOf,
  watchCertificates,
  watchConnections,
} from './listening.ts'
import { readTlsMaterial } from './tls.ts'

/** Header fields of a request; Trustee takes 96. */
const maxHeaders = 128
const certificateCheckMs = 10_000
/** How long a client that has only connected may still begin a request when we stop. */
const silenceMs = 1_000
/** How long those on kept connections may: their next answer tells them to close. */
const lingerMs = 250

/** A listening server on all configured sockets. */
export interface HttpServer {
  /** Bound addresses in the order of the configuration, e.g. `http://127.0.0.1:8080`. */
  readonly urls: readonly string[]
  /** True once `close` has been called. */
  readonly draining: boolean
  /** Reads key and certificate again now, instead of at the next check; a pair that cannot be used is not taken. */
  reloadCertificate(): Promise<void>
  /** Accepts nothing more, lets requests in work finish for `graceMs`, then cuts them off. */
  close(options?: { readonly graceMs?: number }): Promise<void>
}

/** What can answer requests: a Hono app. */
export interface FetchApp {
  fetch(request: Request, env: HttpBindings): Response | Promise<Response>
}

/**
 * Listens on all sockets, with TLS unless `insecureHttp`; resolves when all are bound. HTTP/1.1 only, which is what guests
 * speak. Every refusal, the parser's included, has a JSON error body. The certificate is read again when its file changes.
 * @throws TlsError, or the listen error; then nothing listens
 */
export async function createHttpServer(options: {
  readonly app: FetchApp
  readonly httpServer: HttpServerConfig
  readonly logger: Logger
  /** Interval at which the certificate files are looked at. */
  readonly certificateCheckMs?: number
  /** PEM certificates; clients are asked for a certificate of one of them, and the app sees whether they have it. Read again when it changes. */
  readonly clientCaFile?: string | undefined
}): Promise<HttpServer> {
  const { app, httpServer, logger, clientCaFile } = options
  let draining = false
  /** Once nobody can come back: answers tell clients to close. */
  let dismissing = false
  const inWork = new Set<ServerResponse>()
  const answer = listener(app, httpServer, logger)
  const servers = await makeServers(
    httpServer,
    (incoming, outgoing) => {
      if (dismissing) outgoing.shouldKeepAlive = false
      inWork.add(outgoing)
      outgoing.once('close', () => inWork.delete(outgoing))
      answer(incoming, outgoing)
    },
    clientCaFile,
  )
  const proxies = createProxyTrust(httpServer.trustedProxies)
  for (const server of servers) answerBrokenRequests(server, logger)
  const connections = servers.map((server) => watchConnections(server, httpServer, proxies))
  const certificates = await watchCertificates(servers, httpServer, logger, {
    intervalMs: options.certificateCheckMs ?? certificateCheckMs,
    clientCaFile,
  })
  try {
    await Promise.all(servers.map((server, index) => listen(server, httpServer.sockets[index] ?? '')))
  } catch (error) {
    certificates.stop()
    for (const server of servers) server.close()
    throw error
  }
  return {
    urls: servers.map((server) => urlOf(server, httpServer.insecureHttp)),
    get draining() {
      return draining
    },
    reloadCertificate: certificates.check,
    async close({ graceMs = httpServer.drainTimeoutMs } = {}) {
      draining = true
      certificates.stop()
      const cut = setTimeout(() => {
        for (const list of connections) list.cut()
      }, graceMs)
      const cutSilent = setTimeout(() => {
        for (const list of connections) list.cutSilent()
      }, silenceMs)
      await Promise.all(servers.map(acceptWaiting))
      const ended = servers.map((server) => drain(server, Math.min(lingerMs, graceMs)))
      dismissing = true
      for (const outgoing of inWork) if (!outgoing.headersSent) outgoing.shouldKeepAlive = false
      await Promise.all(ended)
      clearTimeout(cut)
      clearTimeout(cutSilent)
    },
  }
}

type Listener = (incoming: IncomingMessage, outgoing: ServerResponse) => void

async function makeServers(
  config: HttpServerConfig,
  onRequest: Listener,
  clientCaFile: string | undefined,
): Promise<readonly Server[]> {
  const limits: ServerOptions = {
    maxHeaderSize: config.maxHeaderBytes,
    headersTimeout: Math.min(config.headerTimeoutMs, config.requestTimeoutMs),
    requestTimeout: config.requestTimeoutMs,
    keepAliveTimeout: config.keepAliveTimeoutMs,
    connectionsCheckingInterval: Math.max(50, Math.min(1_000, Math.floor(config.headerTimeoutMs / 4))),
    // a missing host is refused with a body in headProblem
    requireHostHeader: false,
    insecureHTTPParser: false,
  }
  if (config.insecureHttp)
    return config.sockets.map(() => prepared(createServer(limits, onRequest), config, onRequest))
  const handshakeTimeout = config.headerTimeoutMs
  const secure = {
    ...limits,
    ...secureContext(config, await readTlsMaterial(config, clientCaFile)),
    ...clientCertificates(clientCaFile),
    ALPNProtocols: ['http/1.1'],
    handshakeTimeout,
  }
  return config.sockets.map(() => prepared(createTlsServer(secure, onRequest), config, onRequest))
}

function prepared(server: Server, config: HttpServerConfig, onRequest: Listener): Server {
  // one more than allowed, so that a longer head is seen and refused instead of being cut
  server.maxHeadersCount = maxHeaders + 1
  server.maxConnections = config.maxConnections
  const maxBytes = config.payloadRequestSize * 1_048_576
  server.on('checkContinue', (incoming: IncomingMessage, outgoing: ServerResponse) => {
    // no invitation to send a body that is going to be refused
    if (!(Number(incoming.headers['content-length'] ?? 0) > maxBytes)) outgoing.writeContinue()
    onRequest(incoming, outgoing)
  })
  return server
}

function listener(app: FetchApp, config: HttpServerConfig, logger: Logger): Listener {
  const answer = getRequestListener(
    (request: Request, env: HttpBindings | Http2Bindings) => app.fetch(request, env as HttpBindings),
    {
      errorHandler: (error) => {
        logger.error({ err: error }, 'request failed outside the app')
        return problemResponse(problemOf(error), undefined)
      },
    },
  )
  const maxBytes = config.payloadRequestSize * 1_048_576
  return (incoming, outgoing) => {
    const problem = headProblem(incoming, maxHeaders)
    if (problem !== undefined) return refuse(outgoing, problem, logger)
    // the rest of such a body is not worth reading
    if (Number(incoming.headers['content-length'] ?? 0) > maxBytes)
      return refuse(outgoing, problems.payloadTooLarge(), logger)
    void answer(incoming, outgoing)
  }
}

/**
 * Listens no more, and resolves when the last connection has ended. Kept ones end with their next answer; those on which
 * nothing is asked for within `lingerMs` are closed, each time after reading what has come by then.
 */
async function drain(server: Server, lingerMs: number): Promise<void> {
  let sweep: NodeJS.Timeout | undefined
  const lingering = setTimeout(() => {
    sweep = setInterval(() => setImmediate(() => server.closeIdleConnections()), 25)
  }, lingerMs)
  // the close of HTTP servers would begin with closing kept connections, whatever is on its way on them
  await new Promise((resolve) => NetServer.prototype.close.call(server, resolve))
  clearTimeout(lingering)
  clearInterval(sweep)
  // ends what an HTTP server does at intervals
  server.close()
}

const maxTurns = 500

/**
 * Accepts the connections that wait, which would be reset otherwise. Each turn of the event loop accepts some of them; a
 * whole turn without any ends it.
 */
async function acceptWaiting(server: Server): Promise<void> {
  let accepted = 0
  const count = () => {
    accepted++
  }
  server.on('connection', count)
  // the turn that this one belongs to has begun already
  await afterPolling()
  for (let turn = 0, before = -1; accepted > before && turn < maxTurns; turn++) {
    before = accepted
    await afterPolling()
  }
  server.off('connection', count)
}
