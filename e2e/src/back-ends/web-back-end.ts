import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { Fault, Mend } from './faults.ts'
import { Front, type FrontOptions } from './front.ts'

type Answer = (request: IncomingMessage, response: ServerResponse) => void

/** A server that speaks HTTP, reached through a front over HTTPS. */
export interface WebBackEnd {
  /** `https://localhost:port` */
  readonly url: string
  readonly front: Front
  /** Lets it fail in one of `webFaults`. */
  begin(fault: Fault): Promise<Mend>
  /** How often somebody came to where the redirect leads. */
  strayed(): number
  close(): Promise<void>
}

/** @param upstream the server that answers rightly, with the CA of its certificate where it has one */
export async function startWebBackEnd(
  upstream: { readonly url: string; readonly ca?: string },
  options: FrontOptions = {},
): Promise<WebBackEnd> {
  const front = await Front.start(options)
  const elsewhere = await Front.start({ ...options, names: ['localhost'], ca: front.ca })
  let strayed = 0
  let answer: Answer = forward(upstream)
  connect(front, (request, response) => answer(request, response))
  // answers as well as the real one, so that only the count tells who was sent here
  connect(elsewhere, (request, response) => {
    strayed++
    forward(upstream)(request, response)
  })

  const answers: Partial<Record<Fault, Answer>> = {
    slow: () => {},
    trickling: trickle,
    quota: (_, response) => send(response, 429, '{"errors":["too many requests"]}'),
    'quota with Retry-After': (_, response) =>
      send(response, 429, '{"errors":["too many requests"]}', { 'retry-after': '1' }),
    'no format': (_, response) => send(response, 200, '{"data": "half'),
    'wrong shape': (_, response) => send(response, 200, '{"something":["else"]}'),
    'huge answer': flood,
    'truncated answer': (_, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '1000' })
      response.write('{"data":', () => response.destroy())
    },
    'web page': (_, response) =>
      send(response, 200, '<html>Please log in</html>', { 'content-type': 'text/html' }),
    redirect: (request, response) =>
      send(response, 307, '', { location: `${elsewhere.url}${request.url ?? '/'}` }),
  }
  return {
    url: front.url,
    front,
    strayed: () => strayed,
    async begin(fault) {
      if (fault === 'down') {
        await front.goDown()
        return () => front.comeBack()
      }
      if (fault === 'unknown CA' || fault === 'wrong name' || fault === 'expired certificate') {
        front.show(fault)
        return async () => front.show()
      }
      const faulty = answers[fault]
      if (faulty === undefined) throw new Error(`a web server cannot fail like this: ${fault}`)
      answer = faulty
      return async () => {
        answer = forward(upstream)
        front.drop()
      }
    },
    async close() {
      await front.close()
      await elsewhere.close()
    },
  }
}

/** Lets HTTP be spoken on what a front takes. */
export function connect(front: Front, answer: Answer): void {
  const server = createServer(answer)
  front.connected = (socket) => void server.emit('connection', socket)
}

/** Passes requests on as they are. */
export function forward(upstream: { readonly url: string; readonly ca?: string }): Answer {
  return (request, response) => {
    const url = new URL(request.url ?? '/', upstream.url)
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest
    const ca = upstream.ca === undefined ? {} : { ca: upstream.ca }
    const { host, connection, ...headers } = request.headers
    const onward = send(url, { ...ca, method: request.method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    })
    onward.on('error', () => response.destroy())
    request.pipe(onward)
  }
}

function send(response: ServerResponse, status: number, body: string, headers = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body)
}

/** Blanks before what may be JSON one day. */
const trickle: Answer = (_, response) => {
  response.writeHead(200, { 'content-type': 'application/json' })
  const timer = setInterval(() => response.write(' '), 40)
  response.once('close', () => clearInterval(timer))
}

const floodBytes = 96 * 1024 * 1024

/** More than anybody should take, as fast as it is taken. */
const flood: Answer = (_, response) => {
  const blanks = Buffer.alloc(65_536, ' ')
  let sent = 0
  response.writeHead(200, { 'content-type': 'application/json' })
  const more = () => {
    while (sent < floodBytes && !response.destroyed) {
      sent += blanks.length
      if (!response.write(blanks)) return
    }
    if (!response.destroyed) response.end('{}')
  }
  response.on('drain', more)
  more()
}
