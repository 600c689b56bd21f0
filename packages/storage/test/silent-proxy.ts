import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** A way to a server of 127.0.0.1 that can fall silent without closing, as when a network is cut. */
export interface SilentProxy {
  readonly port: number
  pause(): void
  resume(): void
  close(): Promise<void>
}

export async function startSilentProxy(target: number): Promise<SilentProxy> {
  const sockets = new Set<Socket>()
  let silent = false
  const proxy = createServer((client) => {
    const server = connect(target, '127.0.0.1')
    const ends = [
      [client, server],
      [server, client],
    ] as const
    for (const [from, to] of ends) {
      sockets.add(from)
      from.on('data', (data) => silent || to.write(data))
      from.on('error', () => to.destroy())
      from.on('close', () => {
        sockets.delete(from)
        to.destroy()
      })
    }
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  return {
    port: (proxy.address() as AddressInfo).port,
    pause() {
      silent = true
    },
    resume() {
      silent = false
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => proxy.close(resolve))
    },
  }
}
