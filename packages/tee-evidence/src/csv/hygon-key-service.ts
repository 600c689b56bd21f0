import { isChipId } from './csv-evidence.ts'
import {
  type HygonCertificateSource,
  HygonCertificatesUnavailable,
  hskCekOffer,
} from './hygon-certificate-source.ts'

/** Hygon's public key service. */
export const hygonKeyServiceUrl = 'https://cert.hygon.cn/'

/** The part of the Fetch standard that the client needs. */
export type Fetch = (
  url: string,
  init: { readonly signal: AbortSignal; readonly redirect: 'error' },
) => Promise<Pick<Response, 'status' | 'body'>>

export interface HygonKeyServiceOptions {
  readonly fetch: Fetch
  /** Base URL; the path `hsk_cek` is looked up under it. Default: Hygon's. */
  readonly url?: string
  /** For one request with its body; default 10 000. */
  readonly timeoutMs?: number
  /** Requests under way at once; one more fails at once. Default 8: chip ids come from unverified evidence. */
  readonly maxConcurrent?: number
}

/** Largest answer that is read, in bytes; a right one has 2916. */
const maxAnswerBytes = 64 * 1024

/**
 * The client of a Hygon key service: `GET hsk_cek?snumber=<chip id>` (spec 04 §9.5, step 4). 404 and 410 mean that the
 * chip is unknown; everything else but 200 is a failure. Redirects are not followed.
 */
export function hygonKeyService({
  fetch,
  url = hygonKeyServiceUrl,
  timeoutMs = 10_000,
  maxConcurrent = 8,
}: HygonKeyServiceOptions): HygonCertificateSource {
  let underWay = 0
  return {
    name: `key service ${new URL(url).host}`,
    async hskCek(chipId) {
      if (!isChipId(chipId)) throw new TypeError('not a chip id')
      if (underWay >= maxConcurrent) {
        throw new HygonCertificatesUnavailable(`already ${underWay} requests to the key service`)
      }
      underWay += 1
      try {
        const certificates = await download(fetch, requestUrl(url, chipId), timeoutMs)
        return certificates === undefined ? undefined : hskCekOffer(certificates)
      } catch (cause) {
        if (cause instanceof HygonCertificatesUnavailable) throw cause
        throw new HygonCertificatesUnavailable('the key service could not be asked', { cause })
      } finally {
        underWay -= 1
      }
    },
  }
}

function requestUrl(base: string, chipId: string): string {
  const url = new URL('hsk_cek', base)
  url.searchParams.set('snumber', chipId)
  return url.href
}

async function download(fetch: Fetch, url: string, timeoutMs: number): Promise<Uint8Array | undefined> {
  const signal = AbortSignal.timeout(timeoutMs)
  const response = await fetch(url, { signal, redirect: 'error' })
  if (response.status === 200 && response.body !== null) return await limitedBody(response.body, signal)
  await response.body?.cancel()
  if (response.status === 404 || response.status === 410) return undefined
  throw new HygonCertificatesUnavailable(`the key service answered ${response.status}`)
}

/** The whole body, or a failure as soon as it is too large or too slow. */
async function limitedBody(body: ReadableStream<Uint8Array>, signal: AbortSignal): Promise<Uint8Array> {
  const reader = body.getReader()
  const stop = () => void reader.cancel(signal.reason).catch(() => {})
  signal.addEventListener('abort', stop, { once: true })
  const chunks: Uint8Array[] = []
  let size = 0
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (signal.aborted) throw new HygonCertificatesUnavailable('the key service is too slow')
      if (done) return Buffer.concat(chunks)
      size += value.length
      if (size > maxAnswerBytes) {
        stop()
        throw new HygonCertificatesUnavailable(`the key service answered more than ${maxAnswerBytes} bytes`)
      }
      chunks.push(value)
    }
  } finally {
    signal.removeEventListener('abort', stop)
  }
}
