import type { AddressInfo, Server, Socket } from 'node:net'
import { type SecureContextOptions, Server as TlsServer } from 'node:tls'
import type { Logger } from 'pino'
import { splitSocket } from '../config/addresses.ts'
import type { HttpServerConfig } from '../config/config.ts'
import type { ProxyTrust } from './client-address.ts'
import { readTlsMaterial, type TlsMaterial, tlsParameters } from './tls.ts'

/** Binds a server to `ip:port`. Rejects with the listen error. */
export function listen(server: Server, socket: string): Promise<void> {
  const { host, port } = splitSocket(socket)
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host, port }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/** The bound address, e.g. `http://127.0.0.1:8080`. */
export function urlOf(server: Server, insecure: boolean): string {
  const { address, family, port } = server.address() as AddressInfo
  return `${insecure ? 'http' : 'https'}://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}

/** The connections of a server, TLS handshakes under way included, which node's own list does not have. */
export interface Connections {
  /** Destroys those on which nothing has ever come, handshakes apart; node takes them for requests under way. */
  cutSilent(): void
  /** Destroys all that are open, and all that come. */
  cut(): void
}

/** Limits the connections of one client at once; a trusted proxy speaks for many. */
export function watchConnections(server: Server, config: HttpServerConfig, proxies: ProxyTrust): Connections {
  const open = new Set<Socket>()
  const perClient = new Map<string, number>()
  /** Those whose handshake is done. */
  const secure = new Set<Socket>()
  let isCut = false
  if (server instanceof TlsServer)
    server.on('secureConnection', (socket) => {
      secure.add(socket)
      socket.once('close', () => secure.delete(socket))
    })
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
    cutSilent() {
      const heard = [...(server instanceof TlsServer ? secure : open)].filter(
        ({ bytesRead }) => bytesRead > 0,
      )
      const speakers = new Set(heard.map(peerOf))
      for (const socket of open) if (!speakers.has(peerOf(socket))) socket.destroy()
    },
    cut() {
      isCut = true
      for (const socket of open) socket.destroy()
    },
  }
}

/** The same for a connection and for what TLS makes of it. */
function peerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}

/** Everything that a TLS listener is made with, and made again with when the certificate changes. */
export function secureContext(
  config: HttpServerConfig,
  { key, cert, clientCa }: TlsMaterial,
): SecureContextOptions {
  return { ...tlsParameters(config), key, cert, ...(clientCa === undefined ? {} : { ca: clientCa }) }
}

/** Asks clients for a certificate of that CA; whoever has none is told apart by `authorized`, not turned away. */
export function clientCertificates(clientCaFile: string | undefined) {
  return clientCaFile === undefined ? {} : { requestCert: true, rejectUnauthorized: false }
}

/** Takes a changed certificate, and a changed CA of clients, into use without a restart. Files are compared, not watched: mounts swap links. */
export async function watchCertificates(
  servers: readonly Server[],
  config: HttpServerConfig,
  logger: Logger,
  options: { readonly intervalMs: number; readonly clientCaFile?: string | undefined },
): Promise<{ check(): Promise<void>; stop(): void }> {
  if (config.insecureHttp) return { check: async () => {}, stop: () => {} }
  let inUse = await readTlsMaterial(config, options.clientCaFile)
  const check = async () => {
    try {
      const found = await readTlsMaterial(config, options.clientCaFile)
      if (found.digest === inUse.digest) return
      for (const server of servers) {
        if (server instanceof TlsServer) server.setSecureContext(secureContext(config, found))
      }
      inUse = found
      logger.info({ validTo: found.validTo }, 'TLS certificate taken into use')
    } catch (err) {
      logger.error({ err }, 'changed TLS certificate cannot be used; the former stays in use')
    }
  }
  const timer = setInterval(() => void check(), options.intervalMs).unref()
  return { check, stop: () => clearInterval(timer) }
}
