/** One bounded GET: deadlines, size limit, no redirects (spec 03 §5.2). */
import { get as httpGet } from 'node:http'
import { get as httpsGet } from 'node:https'
import { Readable } from 'node:stream'
import type { ReadableStream as NodeReadableStream } from 'node:stream/web'

/** The part of `fetch` that is used here; the global `fetch` has this shape. */
export type Fetch = (
  url: string,
  init: { readonly signal: AbortSignal; readonly redirect: 'error' },
) => Promise<Response>

/** The server answered, but not with what was asked for. */
export class DownloadRefused extends Error {
  override readonly name = 'DownloadRefused'
  readonly status: number
  /** Content of Retry-After, when there is one. */
  readonly retryAfter: string | undefined
  constructor(status: number, retryAfter: string | undefined) {
    super(`status ${status}`)
    this.status = status
    this.retryAfter = retryAfter
  }
}

/**
 * Whether the server has looked and has nothing: what was asked for is unknown to it, or nothing that could exist. Both
 * may be invented by whoever made the evidence, so neither is a failure of the server.
 */
export function saysAbsent(error: unknown): boolean {
  return error instanceof DownloadRefused && [400, 404, 410, 422].includes(error.status)
}

export const connectTimeout = 5_000
export const totalTimeout = 10_000

/**
 * The body of a 200 answer. Throws `DownloadRefused` for another status, any other error when the network fails, time
 * runs out after `timeout` ms in total, or the body exceeds `limit` bytes.
 */
export async function download(
  fetch: Fetch,
  url: string,
  limit: number,
  timeout = totalTimeout,
): Promise<Uint8Array> {
  const abort = new AbortController()
  const timer = setTimeout(() => abort.abort(new Error(`no answer within ${timeout} ms`)), timeout)
  try {
    const response = await fetch(url, { signal: abort.signal, redirect: 'error' })
    if (response.status !== 200) {
      await response.body?.cancel()
      throw new DownloadRefused(response.status, response.headers.get('retry-after') ?? undefined)
    }
    return await boundedBody(response, limit, abort.signal)
  } catch (error) {
    // clients say only that they were told to stop
    throw abort.signal.aborted ? abort.signal.reason : error
  } finally {
    clearTimeout(timer)
    // Ends the transfer when it was given up half way; without effect after a complete one.
    abort.abort()
  }
}

async function boundedBody(response: Response, limit: number, signal: AbortSignal): Promise<Uint8Array> {
  const reader = response.body?.getReader()
  if (reader === undefined) return new Uint8Array()
  signal.addEventListener('abort', () => void reader.cancel(signal.reason).catch(() => {}), { once: true })
  const chunks: Uint8Array[] = []
  let size = 0
  for (;;) {
    const { done, value } = await reader.read()
    if (signal.aborted) throw signal.reason
    if (done) return Buffer.concat(chunks)
    size += value.length
    if (size > limit) throw new Error(`answer of more than ${limit} bytes`)
    chunks.push(value)
  }
}

const bodyless = new Set([101, 204, 205, 304])

/**
 * A `fetch` with a deadline of its own for the connection (TCP and TLS), which the global one does not offer. Follows
 * no redirect: every status is given to the caller.
 */
export function fetchWithConnectDeadline(deadline = connectTimeout): Fetch {
  return (url, { signal }) =>
    new Promise((resolve, reject) => {
      const get = url.startsWith('https:') ? httpsGet : httpGet
      const request = get(url, { signal }, (message) => {
        const status = message.statusCode ?? 0
        const retryAfter = message.headers['retry-after']
        const headers = new Headers(retryAfter === undefined ? {} : { 'retry-after': retryAfter })
        if (status < 200 || status > 599 || bodyless.has(status)) {
          message.resume()
          reject(new DownloadRefused(status, retryAfter))
          return
        }
        const body = Readable.toWeb(message) as NodeReadableStream<Uint8Array> as ReadableStream<Uint8Array>
        resolve(new Response(body, { status, headers }))
      })
      request.on('error', reject)
      request.on('socket', (socket) => {
        if (!socket.connecting) return
        const timer = setTimeout(
          () => request.destroy(new Error(`no connection within ${deadline} ms`)),
          deadline,
        )
        const done = () => clearTimeout(timer)
        socket.once(url.startsWith('https:') ? 'secureConnect' : 'connect', done).once('close', done)
      })
    })
}
