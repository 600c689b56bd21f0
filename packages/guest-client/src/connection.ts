import { rootCertificates } from 'node:tls'
import { Agent, fetch as undiciFetch } from 'undici'
import { GuestError } from './guest-error.ts'

/** As the standard has it; what a test or a benchmark may replace. */
export type Fetch = (url: string, init: FetchInit) => Promise<Response>

export interface FetchInit {
  readonly method: string
  readonly headers: Record<string, string>
  readonly body?: Uint8Array<ArrayBuffer> | string
  readonly signal: AbortSignal
}

export interface ConnectionOptions {
  /** Roots to trust beside those of Node, in PEM form. */
  readonly ca?: string
  /** Instead of Node's own; `ca` is then its affair. */
  readonly fetch?: Fetch
  /** `User-Agent`; that of the attestation agent unless told. */
  readonly userAgent?: string
  /** For the whole of a request; the guest's 60 s unless told. */
  readonly timeoutMs?: number
  /** Larger answers are refused; 64 MiB unless told. */
  readonly maxAnswerBytes?: number
}

/** The name by which the guest's own client goes (spec 01 §9.1). */
export const guestUserAgent = 'attestation-agent-kbs-client/0.1.0'

const guestTimeoutMs = 60_000
const largestAnswer = 64 * 1024 * 1024

export interface Answer {
  readonly status: number
  readonly body: Uint8Array
  readonly setCookies: readonly string[]
}

export interface Connection {
  /** @throws GuestError `unreachable` (also after the time-out) or `malformed-answer` (too large). */
  send(request: {
    readonly url: URL
    readonly method: string
    readonly headers?: Record<string, string>
    readonly body?: Uint8Array<ArrayBuffer> | string
  }): Promise<Answer>
}

/** Sends requests to a KBS, each within one time-out, and reads answers up to a size. Redirects are followed. */
export function createConnection(options: ConnectionOptions = {}): Connection {
  const { userAgent = guestUserAgent, timeoutMs = guestTimeoutMs, maxAnswerBytes = largestAnswer } = options
  const fetch = options.fetch ?? fetchTrusting(options.ca)
  return {
    async send({ url, method, headers = {}, body }) {
      try {
        const response = await fetch(url.href, {
          method,
          headers: { 'user-agent': userAgent, ...headers },
          signal: AbortSignal.timeout(timeoutMs),
          ...(body === undefined ? {} : { body }),
        })
        return {
          status: response.status,
          body: await limitedBody(response, maxAnswerBytes),
          setCookies: response.headers.getSetCookie(),
        }
      } catch (cause) {
        if (cause instanceof GuestError) throw cause
        throw new GuestError('unreachable', `no answer from ${url.origin}: ${reasonOf(cause)}`, { cause })
      }
    },
  }
}

function fetchTrusting(ca: string | undefined): Fetch {
  if (ca === undefined) return (url, init) => fetch(url, init)
  const dispatcher = new Agent({ connect: { ca: [...rootCertificates, ca] } })
  return async (url, init) => (await undiciFetch(url, { ...init, dispatcher })) as unknown as Response
}

async function limitedBody(response: Response, limit: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.length
    if (size > limit) {
      throw new GuestError('malformed-answer', 'the answer is too large', { status: response.status })
    }
    chunks.push(chunk)
  }
  return new Uint8Array(Buffer.concat(chunks))
}

/** What OpenSSL says of a chain that ends in no certificate we trust. */
const untrusted = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
])

/** The innermost cause says why: `fetch failed` does not. */
/** A code or a name only: the texts of the client quote what it could not send, tokens included. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown'
  const { cause } = error
  if (cause instanceof Error) {
    const reason = 'code' in cause ? String(cause.code) : cause.name
    return untrusted.has(reason) ? `no trusted authority vouches for its certificate (${reason})` : reason
  }
  return error.name
}
