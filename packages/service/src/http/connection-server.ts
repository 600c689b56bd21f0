import { createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import type { Logger } from 'pino'
import type { HttpServerConfig } from '../config/config.ts'
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

/** Listening sockets whose connections somebody else speaks on. */
export interface ConnectionServer {
  /** Bound addresses in the order of the configuration, e.g. `https://127.0.0.1:50004`. */
  readonly urls: readonly string[]
  /** Accepts nothing more, waits `graceMs` for whoever has the open connections to end them, then destroys the rest. */
  close(graceMs: number): Promise<void>
}

const certificateCheckMs = 10_000

/**
 * Listens on `sockets` with TLS as `httpServer` says and hands each connection over once its handshake is done: for a
 * protocol that brings its own server, such as gRPC, under the same certificates and limits as HTTP.
 * @throws TlsError, or the listen error; then nothing listens
 */
export async function createConnectionServer(options: {
  readonly sockets: readonly string[]
  readonly httpServer: HttpServerConfig
  readonly logger: Logger
  /** ALPN names, best first. */
  readonly protocols: readonly string[]
  /** PEM certificates; clients are asked for a certificate of one of them. Read again when it changes. */
  readonly clientCaFile?: string | undefined
  readonly onConnection: (socket: Socket) => void
}): Promise<ConnectionServer> {
  const { httpServer, logger, clientCaFile } = options
  const servers = await makeServers(options)
  const proxies = createProxyTrust(httpServer.trustedProxies)
  const connections = servers.map((server) => watchConnections(server, httpServer, proxies))
  const certificates = await watchCertificates(servers, httpServer, logger, {
    intervalMs: certificateCheckMs,
    clientCaFile,
  })
  try {
    await Promise.all(servers.map((server, index) => listen(server, options.sockets[index] ?? '')))
  } catch (error) {
    certificates.stop()
    for (const server of servers) server.close()
    throw error
  }
  return {
    urls: servers.map((server) => urlOf(server, httpServer.insecureHttp)),
    async close(graceMs) {
      certificates.stop()
      const cut = setTimeout(() => {
        for (const list of connections) list.cut()
      }, graceMs)
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
      clearTimeout(cut)
    },
  }
}

async function makeServers({
  sockets,
  httpServer,
  protocols,
  clientCaFile,
  onConnection,
}: Parameters<typeof createConnectionServer>[0]): Promise<readonly Server[]> {
  const prepared = (server: Server): Server => {
    server.maxConnections = httpServer.maxConnections
    return server
  }
  if (httpServer.insecureHttp) return sockets.map(() => prepared(createServer(onConnection)))
  const secure = {
    ...secureContext(httpServer, await readTlsMaterial(httpServer, clientCaFile)),
    ...clientCertificates(clientCaFile),
    ALPNProtocols: [...protocols],
    handshakeTimeout: httpServer.headerTimeoutMs,
  }
  return sockets.map(() => prepared(createTlsServer(secure, onConnection)))
}
