import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'

/** How a document is fetched. */
export interface DocumentOptions {
  /** PEM certificates to check the server against, instead of the system's. */
  readonly ca?: string | undefined
  readonly timeoutMs: number
  readonly maxBytes: number
}

/** Fetches a document over HTTP; injectable for tests. */
export type FetchDocument = (url: URL, options: DocumentOptions) => Promise<Buffer>

/** The document cannot be had; the message names host and path, never credentials or query. */
export class DocumentUnavailable extends Error {
  override readonly name = 'DocumentUnavailable'
  /** Whether the server has answered, though not with the document. */
  readonly answered: boolean
  constructor(
    message: string,
    { cause, answered }: { readonly cause?: unknown; readonly answered: boolean },
  ) {
    super(message, cause === undefined ? undefined : { cause })
    this.answered = answered
  }
}

/**
 * GETs a document: status 200 only, no redirects, one time limit for everything, a size limit, no compression.
 * @throws DocumentUnavailable
 */
export const fetchDocument: FetchDocument = (url, { ca, timeoutMs, maxBytes }) =>
  new Promise((resolve, reject) => {
    let answered = false
    const fail = (why: string, cause?: unknown) =>
      reject(new DocumentUnavailable(`${documentName(url)}: ${why}`, { cause, answered }))
    const options = {
      headers: {
        accept: 'application/json, */*;q=0.1',
        'accept-encoding': 'identity',
        'user-agent': 'passport-kbs',
      },
      signal: AbortSignal.timeout(timeoutMs),
      // a list, for an empty text would mean the system's CAs
      ...(ca === undefined ? {} : { ca: [ca] }),
    }
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest
    const request = send(url, { ...options, agent: false }, (response) => {
      answered = true
      if (response.statusCode !== 200) {
        response.destroy()
        return fail(`status ${response.statusCode}`)
      }
      readLimited(response, maxBytes).then(resolve, (cause) => fail(messageOf(cause), cause))
    })
    request.on('error', (cause) => fail(messageOf(cause), cause))
    request.end()
  })

async function readLimited(response: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.byteLength
    if (size > maxBytes) {
      response.destroy()
      throw new Error(`larger than ${maxBytes} bytes`)
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** A URL without what may be secret in it. */
export function documentName(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`
}

function messageOf(cause: unknown): string {
  if (!(cause instanceof Error)) return 'failed'
  return cause.name === 'AbortError' || cause.name === 'TimeoutError' ? 'no answer in time' : cause.message
}
