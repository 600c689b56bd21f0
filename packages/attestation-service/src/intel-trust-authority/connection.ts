import {
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
} from 'node:http'
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https'
import { setTimeout as pause } from 'node:timers/promises'
import { isJsonObject, type JsonValue, parseJson } from '@passport-kbs/protocol'
import { EvidenceRejected } from '@passport-kbs/tee-evidence'
import { AttestationUnavailable } from '../attestation-service.ts'

export interface ConnectionOptions {
  /** `https://api.trustauthority.intel.com`; a slash at its end does not matter. */
  readonly baseUrl: string
  /** The key as it is now. */
  readonly apiKey: () => Promise<string>
  /** PEM certificates to check the server against, instead of the system's. */
  readonly ca?: string | undefined
  /** For one evaluation, retries and pauses included. Default 40 s: guests give up after 60 s. */
  readonly totalTimeoutMs?: number
  /** For one call. Default 15 s. */
  readonly callTimeoutMs?: number
  /** Before the first retry; doubled for the next, at most 10 s. Default 2 s, as Intel's client has it. */
  readonly backoffMs?: number
  /** Told of every retry. */
  readonly onNotice?: ((notice: string, cause?: unknown) => void) | undefined
  /** A monotonic clock in milliseconds. */
  readonly clock?: () => number
}

export interface Connection {
  /**
   * Posts a request and gives the token of the answer, unverified.
   * @throws EvidenceRejected where Intel refuses the evidence, AttestationUnavailable for all else.
   */
  attest(path: string, body: string): Promise<string>
  close(): void
}

const maxAnswerBytes = 1_048_576
const maxRetries = 2
const longestBackoffMs = 10_000
/** Without `Retry-After`. */
const quotaPauseMs = 5_000
const retriedStatus = [429, 500, 502, 503, 504]
/** What may be over the next time; a certificate that does not verify will not. */
const passingFaults = [
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EAI_AGAIN',
]

/** The way to Intel: kept connections, limited time and size, limited retries, and a quota that all callers respect. */
export function openConnection(options: ConnectionOptions): Connection {
  const base = options.baseUrl.replace(/\/+$/, '')
  const clock = options.clock ?? (() => performance.now())
  const agent = agentFor(base)
  const { totalTimeoutMs = 40_000, callTimeoutMs = 15_000, backoffMs = 2_000 } = options
  /** When the quota allows a call again. */
  let quotaUntil = Number.NEGATIVE_INFINITY

  /** Waits while that leaves time for an answer. */
  const wait = async (milliseconds: number, deadline: number, why: Failure) => {
    if (clock() + milliseconds >= deadline) throw unavailable(why.text, why.cause)
    if (milliseconds > 0) await pause(milliseconds)
  }
  const call = async (path: string, body: string, deadline: number): Promise<Answer | Failure> => {
    const apiKey = await options.apiKey().catch((cause: unknown) => {
      throw unavailable('the API key cannot be read', cause)
    })
    const timeoutMs = Math.max(1, Math.ceil(Math.min(callTimeoutMs, deadline - clock())))
    return await post(new URL(`${base}${path}`), { body, apiKey, ca: options.ca, agent, timeoutMs })
  }

  return {
    async attest(path, body) {
      const deadline = clock() + totalTimeoutMs
      for (let attempt = 0; ; attempt++) {
        await wait(quotaUntil - clock(), deadline, { text: 'the quota is used up' })
        const result = await call(path, body, deadline)
        if (!('text' in result) && !retriedStatus.includes(result.status)) return tokenOf(result)
        const failure = 'text' in result ? result : { text: describe(result), retry: true }
        const retryAfter = 'text' in result ? undefined : retryAfterMs(result.headers)
        if ('status' in result && result.status === 429) quotaUntil = clock() + (retryAfter ?? quotaPauseMs)
        if (!failure.retry || attempt >= maxRetries) throw unavailable(failure.text, failure.cause)
        options.onNotice?.(`Intel Trust Authority is asked again: ${failure.text}`, failure.cause)
        await wait(retryAfter ?? backoff(backoffMs, attempt), deadline, failure)
      }
    },
    close: () => agent.destroy(),
  }
}

function agentFor(base: string): HttpAgent {
  const settings = { keepAlive: true, maxSockets: 32, timeout: 60_000 }
  return base.startsWith('https:') ? new HttpsAgent(settings) : new HttpAgent(settings)
}

/** Spread, so that callers that failed together do not come back together. */
function backoff(firstMs: number, attempt: number): number {
  return Math.min(longestBackoffMs, firstMs * 2 ** attempt) * (1 + Math.random() / 4)
}

interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

interface Failure {
  readonly text: string
  readonly cause?: unknown
  readonly retry?: boolean
}

interface Call {
  readonly body: string
  readonly apiKey: string
  readonly ca: string | undefined
  readonly agent: HttpAgent
  readonly timeoutMs: number
}

function post(url: URL, { body, apiKey, ca, agent, timeoutMs }: Call): Promise<Answer | Failure> {
  return new Promise((resolve) => {
    const failed = (cause: unknown) => resolve(failureOf(cause))
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest
    const headers = {
      'user-agent': 'passport-kbs',
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      accept: 'application/json',
      'accept-encoding': 'identity',
      'x-api-key': apiKey,
    }
    const signal = AbortSignal.timeout(timeoutMs)
    const request = send(
      url,
      { method: 'POST', headers, agent, signal, ...(ca === undefined ? {} : { ca: [ca] }) },
      (response) => {
        readLimited(response).then(
          (bytes) => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: bytes }),
          failed,
        )
      },
    )
    request.on('error', failed)
    request.end(body)
  })
}

class AnswerTooLarge extends Error {
  override readonly name = 'AnswerTooLarge'
}

async function readLimited(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.byteLength
    if (size > maxAnswerBytes) {
      response.destroy()
      throw new AnswerTooLarge(`the answer is larger than ${maxAnswerBytes} bytes`)
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function failureOf(cause: unknown): Failure {
  if (!(cause instanceof Error)) return { text: 'the call failed', cause }
  if (cause instanceof AnswerTooLarge) return { text: cause.message }
  if (cause.name === 'AbortError' || cause.name === 'TimeoutError')
    return { text: 'no answer in time', cause, retry: true }
  const { code = cause.name } = cause as NodeJS.ErrnoException
  return { text: `the connection failed (${code})`, cause, retry: passingFaults.includes(code) }
}

/** Seconds or a date (RFC 9110 §10.2.3). */
function retryAfterMs(headers: IncomingHttpHeaders): number | undefined {
  const value = headers['retry-after']
  if (value === undefined) return undefined
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000
  const at = Date.parse(value)
  return Number.isNaN(at) ? undefined : Math.max(0, at - Date.now())
}

function tokenOf(answer: Answer): string {
  const { status } = answer
  if (status === 400 || status === 422)
    throw new EvidenceRejected('EVIDENCE_MALFORMED', 'intel-trust-authority', describe(answer))
  if (status !== 200) throw unavailable(describe(answer))
  const value = jsonOf(answer)
  const token = isJsonObject(value) ? value.token : undefined
  if (typeof token !== 'string' || !/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token))
    throw unavailable(`${describe(answer)}, without a token`)
  return token
}

/** Status, Intel's own words where there are some, and the ids under which Intel knows the call. */
function describe(answer: Answer): string {
  const { status, headers } = answer
  const value = status === 200 ? undefined : jsonOf(answer)
  const words = isJsonObject(value) && typeof value.error === 'string' ? `: ${printable(value.error)}` : ''
  const ids = (['request-id', 'trace-id'] as const).flatMap((name) =>
    typeof headers[name] === 'string' ? [`${name} ${printable(headers[name])}`] : [],
  )
  const meaning = status === 401 || status === 403 ? ', the API key is refused' : ''
  return `status ${status}${meaning}${words}${ids.length === 0 ? '' : ` (${ids.join(', ')})`}`
}

function jsonOf({ body }: Answer): JsonValue | undefined {
  try {
    return parseJson(body)
  } catch {
    return undefined
  }
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]+/g, ' ').slice(0, 200)
}

function unavailable(why: string, cause?: unknown): AttestationUnavailable {
  return new AttestationUnavailable(`Intel Trust Authority: ${why}`, { cause })
}
