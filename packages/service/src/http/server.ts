import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http'
import { createServer as createTlsServer, Server as TlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { getRequestListener, type Http2Bindings, type HttpBindings } from '@hono/node-server'
import { problems } from '@passport-kbs/protocol'
import type { Logger } from 'pino'
import type { HttpServerConfig } from '../config/config.ts'
import { splitSocket } from '../config/rules.ts'
import { problemOf, problemResponse } from './answers.ts'
import { answerBrokenRequests, headProblem, refuse } from './broken-requests.ts'
import { createProxyTrust, type ProxyTrust } from './client-address.ts'
import { readTlsMaterial, tlsParameters } from './tls.ts'

/** Header fields of a request; Trustee takes 96. */
const maxHeaders = 128
const certificateCheckMs = 10_000

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
}): Promise<HttpServer> {
  const { app, httpServer, logger } = options
  let draining = false
  const servers = await makeServers(
    httpServer,
    listener(app, httpServer, logger, () => draining),
  )
  const proxies = createProxyTrust(httpServer.trustedProxies)
  for (const server of servers) answerBrokenRequests(server, logger)
  const connections = servers.map((server) => watchConnections(server, httpServer, proxies))
  const certificates = await watchCertificates(
    servers,
    httpServer,
    logger,
    options.certificateCheckMs ?? certificateCheckMs,
  )
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
      await Promise.all(servers.map(drain))
      clearTimeout(cut)
    },
  }
}

type Listener = (incoming: IncomingMessage, outgoing: ServerResponse) => void

async function makeServers(config: HttpServerConfig, onRequest: Listener): Promise<readonly Server[]> {
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
  const { key, cert } = await readTlsMaterial(config)
  const handshakeTimeout = config.headerTimeoutMs
  const secure = {
    ...limits,
    ...tlsParameters(config),
    key,
    cert,
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

function listener(
  app: FetchApp,
  config: HttpServerConfig,
  logger: Logger,
  isDraining: () => boolean,
): Listener {
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
    if (isDraining()) outgoing.shouldKeepAlive = false
    // the rest of such a body is not worth reading
    if (Number(incoming.headers['content-length'] ?? 0) > maxBytes)
      return refuse(outgoing, problems.payloadTooLarge(), logger)
    void answer(incoming, outgoing)
  }
}

/** The connections of a server, TLS handshakes under way included, which node's own list does not have. */
interface Connections {
  /** Destroys all that are open, and all that come. */
  cut(): void
}

/** Limits the connections of one client at once; a trusted proxy speaks for many. */
function watchConnections(server: Server, config: HttpServerConfig, proxies: ProxyTrust): Connections {
  const open = new Set<Socket>()
  const perClient = new Map<string, number>()
  let isCut = false
  server.on('connection', (socket: Socket) => {
    const client = proxies.clientAddress(socket.remoteAddress, undefined)
    const count = (perClient.get(client) ?? 0) + 1
    if (isCut || (count > config.maxConnectionsPerClient && !proxies.isTrusted(client))) {
      socket.destroy()
      return
    }
    open.add(socket)
    perClient.set(client, count)
    socket.once('close', () => {
      open.delete(socket)
      const left = (perClient.get(client) ?? 1) - 1
      if (left === 0) perClient.delete(client)
      else perClient.set(client, left)
    })
  })
  return {
    cut() {
      isCut = true
      for (const socket of open) socket.destroy()
    },
  }
}

/** Takes a changed certificate into use without a restart. Files are compared, not watched: mounts swap links. */
async function watchCertificates(
  servers: readonly Server[],
  config: HttpServerConfig,
  logger: Logger,
  intervalMs: number,
): Promise<{ check(): Promise<void>; stop(): void }> {
  if (config.insecureHttp) return { check: async () => {}, stop: () => {} }
  let inUse = await readTlsMaterial(config)
  const check = async () => {
    try {
      const found = await readTlsMaterial(config)
      if (found.digest === inUse.digest) return
      for (const server of servers) {
        if (server instanceof TlsServer)
          server.setSecureContext({ ...tlsParameters(config), key: found.key, cert: found.cert })
      }
      inUse = found
      logger.info({ validTo: found.validTo }, 'TLS certificate taken into use')
    } catch (err) {
      logger.error({ err }, 'changed TLS certificate cannot be used; the former stays in use')
    }
  }
  const timer = setInterval(() => void check(), intervalMs).unref()
  return { check, stop: () => clearInterval(timer) }
}

function listen(server: Server, socket: string): Promise<void> {
  const { host, port } = splitSocket(socket)
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

function urlOf(server: Server, insecure: boolean): string {
  const { address, family, port } = server.address() as AddressInfo
  return `${insecure ? 'http' : 'https'}://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}

/** Resolves when the last connection has ended; a kept one ends as soon as its answer has been sent. */
function drain(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const sweep = setInterval(() => server.closeIdleConnections(), 25)
    server.close(() => {
      clearInterval(sweep)
      resolve()
    })
  })
}
