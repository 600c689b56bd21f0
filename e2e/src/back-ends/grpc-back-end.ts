import { createServer, type ServerHttp2Stream } from 'node:http2'
import type { Fault, Mend } from './faults.ts'
import { Front } from './front.ts'
import { join } from './stream-back-end.ts'

/** A server of gRPC, reached through a front over TLS. */
export interface GrpcBackEnd {
  readonly front: Front
  begin(fault: Fault): Promise<Mend>
  strayed(): number
  close(): Promise<void>
}

type Answer = (stream: ServerHttp2Stream) => void

const answered = { ':status': 200, 'content-type': 'application/grpc' } as const
const webPage = '<html>Please log in</html>'

/** @param upstream port of the real server on 127.0.0.1, HTTP/2 without TLS */
export async function startGrpcBackEnd(upstream: number): Promise<GrpcBackEnd> {
  const front = await Front.start({ alpn: ['h2'] })
  const elsewhere = await Front.start({ alpn: ['h2'], ca: front.ca })
  let strayed = 0
  elsewhere.connected = (socket) => {
    strayed++
    join(socket, upstream, (chunk) => void socket.write(chunk))
  }
  let answer: Answer | undefined
  const faulty = createServer()
  faulty.on('stream', (stream) => {
    stream.on('error', () => {})
    answer?.(stream)
  })
  faulty.on('sessionError', () => {})
  front.connected = (socket) => {
    if (answer === undefined) join(socket, upstream, (chunk) => void socket.write(chunk))
    else faulty.emit('connection', socket)
  }

  const answers: Partial<Record<Fault, Answer>> = {
    slow: () => {},
    trickling: (stream) => {
      stream.respond(answered)
      stream.write(frame(1_000))
      const timer = setInterval(() => stream.write('.'), 50)
      stream.once('close', () => clearInterval(timer))
    },
    quota: (stream) => fail(stream, 8, 'too many requests'),
    'no format': (stream) => succeed(stream, Buffer.from('this is no protobuf')),
    // AttestationResponse.attestation_token and HealthCheckResponse.status are field 1; this is field 9
    'wrong shape': (stream) => succeed(stream, Buffer.from([0x4a, 1, 0x78])),
    'huge answer': (stream) => {
      stream.respond(answered)
      stream.end(Buffer.concat([frame(33_554_432), Buffer.alloc(33_554_432)]))
    },
    'truncated answer': (stream) => {
      stream.respond(answered)
      stream.write(Buffer.concat([frame(1_000), Buffer.from('half')]), () => stream.session?.destroy())
    },
    'web page': (stream) => {
      stream.respond({ ':status': 200, 'content-type': 'text/html' })
      stream.end(webPage)
    },
    redirect: (stream) => {
      stream.respond({ ':status': 307, location: elsewhere.url, 'content-type': 'text/html' })
      stream.end()
    },
  }
  return {
    front,
    strayed: () => strayed,
    async begin(fault) {
      const mend = await front.begin(fault)
      if (mend !== undefined) return mend
      const chosen = answers[fault]
      if (chosen === undefined) throw new Error(`a gRPC server cannot fail like this: ${fault}`)
      answer = chosen
      front.drop()
      return async () => {
        answer = undefined
        front.drop()
      }
    },
    async close() {
      await front.close()
      await elsewhere.close()
    },
  }
}

/** The head of a message: not compressed, of so many bytes. */
function frame(length: number): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(length, 1)
  return head
}

function succeed(stream: ServerHttp2Stream, message: Buffer): void {
  stream.respond(answered, { waitForTrailers: true })
  stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
  stream.end(Buffer.concat([frame(message.length), message]))
}

function fail(stream: ServerHttp2Stream, code: number, message: string): void {
  stream.respond({ ...answered, 'grpc-status': String(code), 'grpc-message': message }, { endStream: true })
}
