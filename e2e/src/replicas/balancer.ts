import { connect, createServer, type Server, type Socket } from 'node:net'

/**
 * A plain TCP balancer, as simple as one can be had: each connection goes to the next server in turn that lets itself be
 * connected to, bytes pass as they come, and an end or a reset of one side is passed on to the other. It knows nothing of
 * HTTP, and of a server's health no more than whether it accepts connections.
 */
export interface Balancer {
  /** `127.0.0.1:port`, the same after a restart. */
  readonly address: string
  readonly url: string
  /** Ends all connections at once, and listens no more. */
  stop(): Promise<void>
  /** Stops if need be, and listens again at the same address. */
  restart(): Promise<void>
}

const connectTimeoutMs = 1_000

/** @param servers `host:port` of each; they need not run yet */
export async function startBalancer(servers: readonly string[]): Promise<Balancer> {
  const open = new Set<Socket>()
  let next = 0

  const track = (socket: Socket) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
  }
  const accept = async (client: Socket) => {
    track(client)
    client.on('error', () => {})
    const first = next++
    for (let turn = 0; turn < servers.length; turn++) {
      const server = await connected(servers[(first + turn) % servers.length] ?? '')
      if (server === undefined) continue
      track(server)
      if (client.destroyed) server.destroy()
      else join(client, server)
      return
    }
    client.resetAndDestroy()
  }
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (client) => {
    void accept(client)
  })
  const port = await listen(server, 0)
  const address = `127.0.0.1:${port}`
  const stop = async () => {
    if (!server.listening) return
    const closed = new Promise((resolve) => server.close(resolve))
    for (const socket of open) socket.resetAndDestroy()
    await closed
  }
  return {
    address,
    url: `http://${address}`,
    stop,
    async restart() {
      await stop()
      await listen(server, port)
    },
  }
}

/** Passes on everything that happens to one of two connections, resets included, to the other. */
export function join(client: Socket, server: Socket): void {
  for (const [from, to] of [
    [client, server],
    [server, client],
  ] as const) {
    from.on('error', () => {})
    from.pipe(to)
    from.once('close', (hadError) => {
      if (hadError || !from.readableEnded) to.resetAndDestroy()
    })
  }
}

/** @returns the port */
export function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => {
      server.off('error', reject)
      const address = server.address()
      resolve(typeof address === 'object' && address !== null ? address.port : port)
    })
  })
}

/** A connection, or undefined where nobody accepts one. */
export function connected(address: string): Promise<Socket | undefined> {
  const [host = '', port] = address.split(':')
  const socket = connect({ host, port: Number(port), allowHalfOpen: true, noDelay: true })
  return new Promise((resolve) => {
    const give = (result: Socket | undefined) => {
      clearTimeout(timer)
      socket.off('error', refuse).off('connect', accept)
      if (result === undefined) socket.on('error', () => {}).destroy()
      resolve(result)
    }
    const refuse = () => give(undefined)
    const accept = () => give(socket)
    const timer = setTimeout(refuse, connectTimeoutMs)
    socket.once('error', refuse).once('connect', accept)
  })
}
