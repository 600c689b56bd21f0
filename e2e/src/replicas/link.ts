import { createServer, type Socket } from 'node:net'
import { connected, join, listen } from './balancer.ts'

/**
 * How a line between two networks fails: `refused`, connections are turned away; `silent`, they are accepted, but no byte
 * passes; `reset`, they break in the middle of the first answer.
 */
export type LinkFault = 'refused' | 'silent' | 'reset'

/** A line to one server, which a test may cut and mend. */
export interface Link {
  /** Where the server is reached through this line. */
  readonly url: string
  /** Connections made since the last `cut` or `mend`. */
  readonly attempts: number
  cut(fault: LinkFault): Promise<void>
  mend(): Promise<void>
  close(): Promise<void>
}

/** @param target `host:port` */
export async function startLink(target: string): Promise<Link> {
  const open = new Set<Socket>()
  let fault: LinkFault | undefined
  let attempts = 0

  const track = (socket: Socket) => {
    open.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => open.delete(socket))
  }
  const accept = async (client: Socket) => {
    attempts++
    track(client)
    if (fault === 'silent') return
    const server = await connected(target)
    if (server === undefined) {
      client.resetAndDestroy()
      return
    }
    track(server)
    if (fault === 'reset') breakAnswer(client, server)
    else join(client, server)
  }
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => void accept(client))
  const port = await listen(server, 0)
  const close = async () => {
    if (!server.listening) return
    const closed = new Promise((resolve) => server.close(resolve))
    for (const socket of open) socket.resetAndDestroy()
    await closed
  }
  return {
    url: `http://127.0.0.1:${port}`,
    get attempts() {
      return attempts
    },
    async cut(kind) {
      await close()
      fault = kind
      attempts = 0
      if (kind !== 'refused') await listen(server, port)
    },
    async mend() {
      await close()
      fault = undefined
      attempts = 0
      await listen(server, port)
    },
    close,
  }
}

/** Passes on half of the first bytes of the answer. */
function breakAnswer(client: Socket, server: Socket): void {
  client.pipe(server)
  server.once('data', (bytes: Buffer) => {
    server.destroy()
    client.write(bytes.subarray(0, bytes.length >> 1), () => client.resetAndDestroy())
  })
}
