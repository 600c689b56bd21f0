import { STATUS_CODES } from 'node:http'
import { KbsProblem, problemBody, problems, stringifyJson } from '@passport-kbs/protocol'
import { StorageUnavailable } from '@passport-kbs/storage'
import type { ErrorHandler, NotFoundHandler } from 'hono'
import { describeReason } from '../observability/logger.ts'
import type { ServiceEnv } from './service-env.ts'

/** Headers that every answer has; nothing here is for a browser, or for a cache. */
export const securityHeaderFields: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
}

/** The problem that a client is told for an error: its own, 503 for a store that is down, else 500 without a cause. */
export function problemOf(error: unknown): KbsProblem {
  if (error instanceof KbsProblem) return error
  if (error instanceof StorageUnavailable) return problems.serviceUnavailable(error, 5)
  return problems.internalError(error)
}

/** The answer for a problem: JSON, never cached, with the request id (spec 01 §1.3). */
export function problemResponse(problem: KbsProblem, requestId: string | undefined): Response {
  const headers = new Headers({ 'content-type': 'application/json', ...securityHeaderFields })
  if (problem.retryAfter !== undefined) headers.set('retry-after', String(Math.ceil(problem.retryAfter)))
  if (requestId !== undefined) headers.set('x-request-id', requestId)
  return new Response(stringifyJson(problemBody(problem, requestId)), { status: problem.status, headers })
}

/** The same for node's own interface. The connection closes after it. */
export function problemMessage(
  problem: KbsProblem,
  requestId: string,
): { readonly headers: Record<string, string>; readonly body: string } {
  const body = stringifyJson(problemBody(problem, requestId))
  const headers = {
    ...securityHeaderFields,
    'content-type': 'application/json',
    'content-length': String(Buffer.byteLength(body)),
    'x-request-id': requestId,
    connection: 'close',
  }
  return { headers, body }
}

/** The same as bytes of HTTP/1.1, for requests that never became one. */
export function problemBytes(problem: KbsProblem, requestId: string): string {
  const { headers, body } = problemMessage(problem, requestId)
  const status = `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status] ?? 'Error'}`
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  return [status, ...lines, '', body].join('\r\n')
}

/**
 * For `app.onError`: the client gets the problem, the log gets the cause, both get the request id. Faults of the server
 * are logged as errors, refusals as information.
 */
export const errorHandler: ErrorHandler<ServiceEnv> = (error, c) => {
  const problem = problemOf(error)
  const cause = problem.cause ?? (error === problem ? undefined : error)
  const fields = { problem: problem.kind, status: problem.status }
  const logger = c.get('logger')
  if (problem.status >= 500) logger?.error({ ...fields, err: cause }, problem.message)
  else
    logger?.info(
      { ...fields, reason: cause === undefined ? undefined : describeReason(cause) },
      problem.message,
    )
  return problemResponse(problem, c.get('requestId'))
}

/** For `app.notFound`. */
export const notFoundHandler: NotFoundHandler<ServiceEnv> = (c) =>
  problemResponse(problems.notFound(), c.get('requestId'))
