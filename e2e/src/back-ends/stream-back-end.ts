import { connect, type Socket } from 'node:net'
import type { Fault, Mend } from './faults.ts'
import { Front, type FrontOptions } from './front.ts'

/** A server whose protocol is not HTTP, reached through a front that passes bytes. */
export interface StreamBackEnd {
  readonly front: Front
  /** Lets it fail by `down`, `slow`, `trickling`, a certificate, `no format` or `truncated answer`. */
  begin(fault: Fault): Promise<Mend>
  close(): Promise<void>
}

/**
 * @param upstream port of the real server on 127.0.0.1
 * @param options.noise what it says where it says nonsense; default: text of another protocol
 * @param options.cutAfter bytes of an answer that come, before `truncated answer` cuts the connection
 */
export async function startStreamBackEnd(
  upstream: number,
  options: FrontOptions & { readonly noise?: string; readonly cutAfter: number },
): Promise<StreamBackEnd> {
  const { noise = '220 mail.example ESMTP\r\n', cutAfter } = options
  const front = await Front.start(options)
  const pass = (socket: Socket) => join(socket, upstream, (chunk) => void socket.write(chunk))
  front.connected = pass

  const faulty: Partial<Record<Fault, (socket: Socket) => void>> = {
    slow: (socket) => socket.resume(),
    trickling: (socket) => join(socket, upstream, drops(socket)),
    'no format': (socket) => socket.resume().write(noise),
    'truncated answer': (socket) => join(socket, upstream, upTo(cutAfter, socket)),
  }
  return {
    front,
    async begin(fault) {
      const mend = await front.begin(fault)
      if (mend !== undefined) return mend
      const behaviour = faulty[fault]
      if (behaviour === undefined) throw new Error(`a stream cannot fail like this: ${fault}`)
      front.connected = behaviour
      front.drop()
      return async () => {
        front.connected = pass
        front.drop()
      }
    },
    close: () => front.close(),
  }
}

/** Connects a client with the real server; `answer` gets what the server says. */
export function join(client: Socket, upstream: number, answer: (chunk: Buffer) => void): void {
  const server = connect(upstream, '127.0.0.1')
  server.on('error', () => client.destroy())
  server.on('data', answer)
  server.once('close', () => client.end())
  client.once('close', () => server.destroy())
  client.pipe(server)
}

/** A byte now and then. */
function drops(client: Socket): (chunk: Buffer) => void {
  let waiting = Buffer.alloc(0)
  const timer = setInterval(() => {
    client.write(waiting.subarray(0, 1))
    waiting = waiting.subarray(1)
  }, 100)
  client.once('close', () => clearInterval(timer))
  return (chunk) => {
    waiting = Buffer.concat([waiting, chunk])
  }
}

function upTo(bytes: number, client: Socket): (chunk: Buffer) => void {
  let left = bytes
  return (chunk) => {
    client.write(chunk.subarray(0, left))
    left -= chunk.length
    if (left <= 0) client.destroySoon()
  }
}
