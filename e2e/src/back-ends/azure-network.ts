import { createServer, type Server } from 'node:http'
import { connect, type Socket } from 'node:net'

/** A proxy through which a program reaches public names that stand for servers of this machine. */
export interface AzureNetwork {
  /** For `HTTPS_PROXY`. */
  readonly url: string
  close(): Promise<void>
}

/**
 * Answers CONNECT. Names that are in no row of `hosts` do not exist, but for `localhost`.
 * @param hosts port on 127.0.0.1 by `name:443`
 */
export async function startAzureNetwork(hosts: Readonly<Record<string, number>>): Promise<AzureNetwork> {
  const server: Server = createServer((_, response) => response.writeHead(405).end())
  const open = new Set<Socket>()
  server.on('connection', (socket) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
  })
  server.on('connect', ({ url = '' }, client) => {
    const [host, port] = url.split(':')
    const target = hosts[url] ?? (host === 'localhost' ? Number(port) : undefined)
    client.on('error', () => {})
    if (target === undefined) {
      client.end('HTTP/1.1 502 Bad Gateway\r\n\r\n')
      return
    }
    const onward = connect(target, '127.0.0.1')
    onward.once('connect', () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n')
      client.pipe(onward).pipe(client)
    })
    onward.on('error', () => client.destroy())
    client.once('close', () => onward.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return {
    url: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of open) socket.destroy()
      }),
  }
}
