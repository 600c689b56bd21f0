import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { Fault, Mend } from './faults.ts'
import { Front, type FrontOptions } from './front.ts'

type Answer = (request: IncomingMessage, response: ServerResponse) => void

/** The server that answers rightly, with the CA of its certificate where it has one. */
interface Upstream {
  readonly url: string
  readonly ca?: string
}

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

export async function startWebBackEnd(upstream: Upstream, options: FrontOptions = {}): Promise<WebBackEnd> {
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

  /** Answers with the head that the real server gives, and another body. */
  const instead =
    (body: (response: ServerResponse) => void): Answer =>
    (request, response) =>
      ask(upstream, request, response, (answer) => {
        answer.resume()
        const { 'content-length': length, ...headers } = answer.headers
        response.writeHead(answer.statusCode ?? 502, headers)
        body(response)
      })
  const answers: Partial<Record<Fault, Answer>> = {
    slow: () => {},
    trickling: instead(trickle),
    quota: (_, response) => send(response, 429, '{"errors":["too many requests"]}'),
    'quota with Retry-After': (_, response) =>
      send(response, 429, '{"errors":["too many requests"]}', { 'retry-after': '1' }),
    'no format': instead((response) => response.end('{"data": "half')),
    'wrong shape': instead((response) => response.end('{"something":["else"]}')),
    'huge answer': instead(flood),
    'truncated answer': instead((response) => {
      response.write('{"data":', () => setTimeout(() => response.destroy(), 50))
    }),
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
      const mend = await front.begin(fault)
      if (mend !== undefined) return mend
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
export function forward(upstream: Upstream): Answer {
  return (request, response) =>
    ask(upstream, request, response, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    })
}

function ask(
  upstream: Upstream,
  request: IncomingMessage,
  response: ServerResponse,
  answered: (answer: IncomingMessage) => void,
): void {
  const url = new URL(request.url ?? '/', upstream.url)
  const sendTo = url.protocol === 'https:' ? httpsRequest : httpRequest
  const ca = upstream.ca === undefined ? {} : { ca: upstream.ca }
  const { host, connection, ...headers } = request.headers
  const onward = sendTo(url, { ...ca, method: request.method, headers }, answered)
  onward.on('error', () => response.destroy())
  request.pipe(onward)
}

function send(response: ServerResponse, status: number, body: string, headers = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body)
}

/** Blanks before what may be JSON one day. */
function trickle(response: ServerResponse): void {
  const timer = setInterval(() => response.write(' '), 40)
  response.once('close', () => clearInterval(timer))
}

const floodBytes = 96 * 1024 * 1024

/** More than anybody should take, as fast as it is taken. */
function flood(response: ServerResponse): void {
  const blanks = Buffer.alloc(65_536, ' ')
  let sent = 0
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
