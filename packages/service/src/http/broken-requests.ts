import { randomUUID } from 'node:crypto'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { KbsProblem, problems } from '@passport-kbs/protocol'
import type { Logger } from 'pino'
import { problemBytes, problemMessage } from './answers.ts'

/** How long a refused client may still send, in milliseconds. */
const lingerMs = 500

/**
 * Gives requests that the HTTP parser refuses the same kind of answer as all others, because a guest that cannot parse an
 * error body stops instead of retrying (spec 01 §0.3): 431 for a large head, 408 for a slow one, else 400.
 */
export function answerBrokenRequests(server: Server, logger: Logger): void {
  const answered = new WeakSet<Duplex>()
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => {
    if (answered.has(socket)) return
    answered.add(socket)
    const problem = problemOfParserError(error.code)
    if (!socket.writable || hasBegunAnswer(socket) || error.code === 'ECONNRESET') {
      socket.destroy()
      return
    }
    const requestId = randomUUID()
    logger.info(
      { requestId, problem: problem.kind, status: problem.status, code: error.code },
      'broken request',
    )
    closeAfter(socket, problemBytes(problem, requestId))
  })
  server.on('checkExpectation', (_: IncomingMessage, response: ServerResponse) => {
    refuse(response, expectationFailed(), logger)
  })
}

/** What is wrong with a request head that the parser has let through; undefined when nothing is. */
export function headProblem(incoming: IncomingMessage, maxHeaders: number): KbsProblem | undefined {
  if (incoming.rawHeaders.length / 2 > maxHeaders) return problems.headerTooLarge()
  // node keeps the first of these and drops the rest, a proxy in front may do otherwise
  for (const name of ['host', 'authorization', 'content-length', 'content-type']) {
    if ((incoming.headersDistinct[name]?.length ?? 0) > 1)
      return problems.malformedRequest(`There are several ${name} headers`)
  }
  // URL parsing reads a backslash as a slash: what is authorised would not be what is executed
  if (incoming.url?.includes('\\'))
    return problems.malformedRequest('The request target contains a backslash')
  const { host } = incoming.headers
  if (host === undefined && incoming.httpVersion !== '1.0')
    return problems.malformedRequest('The host header is missing')
  if (host !== undefined && !/^[A-Za-z0-9._~%!$&'()*+,;=:[\]-]*$/.test(host)) {
    return problems.malformedRequest('The host header is malformed')
  }
  return undefined
}

/**
 * Answers a request without an app, in its turn, and closes the connection. What is still coming is read for a moment:
 * with unread data the reset of the connection would overtake the answer.
 */
export function refuse(response: ServerResponse, problem: KbsProblem, logger: Logger): void {
  const requestId = randomUUID()
  logger.info({ requestId, problem: problem.kind, status: problem.status }, problem.message)
  const { headers, body } = problemMessage(problem, requestId)
  response.writeHead(problem.status, headers).write(body)
  const finish = () => response.end()
  response.req.once('end', finish).once('error', finish).resume()
  setTimeout(finish, lingerMs).unref()
}

function problemOfParserError(code: string | undefined): KbsProblem {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return problems.headerTooLarge()
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return problems.payloadTooLarge()
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new KbsProblem({
        kind: 'MalformedRequest',
        status: 408,
        title: 'Request timeout',
        detail: 'the request was not received in time',
      })
    default:
      return problems.malformedRequest('The request is not valid HTTP')
  }
}

function expectationFailed(): KbsProblem {
  return new KbsProblem({
    kind: 'MalformedRequest',
    status: 417,
    title: 'Expectation failed',
    detail: 'only the expectation 100-continue is known',
  })
}

/** Whether bytes of an answer are already on their way on this connection. */
function hasBegunAnswer(socket: Duplex): boolean {
  const current: unknown = Reflect.get(socket, '_httpMessage')
  return typeof current === 'object' && current !== null && Reflect.get(current, 'headersSent') === true
}

/**
 * Sends the last bytes of a connection. It is torn down a moment later, not at once: with unread data in the receive
 * buffer the reset would overtake the answer.
 */
function closeAfter(socket: Duplex, bytes: string): void {
  socket.end(bytes)
  setTimeout(() => socket.destroy(), lingerMs).unref()
}
