import { download, type Fetch, saysAbsent } from '../amd/kds/download.ts'
import { isChipId } from './csv-evidence.ts'
import {
  type HygonCertificateSource,
  HygonCertificatesUnavailable,
  hskCekOffer,
} from './hygon-certificate-source.ts'

/** Hygon's public key service. */
export const hygonKeyServiceUrl = 'https://cert.hygon.cn/'

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
 * The client of a Hygon key service: `GET hsk_cek?snumber=<chip id>` (spec 04 §9.5, step 4). 400, 404, 410 and
 * 422 mean that the chip is unknown; everything else but 200 is a failure. Redirects are not followed.
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
        const certificates = await hskCekAt(fetch, requestUrl(url, chipId), timeoutMs)
        return certificates === undefined ? undefined : hskCekOffer(certificates)
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

/** Undefined when the service says that it does not know the chip. */
async function hskCekAt(fetch: Fetch, url: string, timeoutMs: number): Promise<Uint8Array | undefined> {
  try {
    return await download(fetch, url, maxAnswerBytes, timeoutMs)
  } catch (error) {
    if (saysAbsent(error)) return undefined
    const message = `the key service could not be asked: ${reasonOf(error)}`
    throw new HygonCertificatesUnavailable(message, { cause: error })
  }
}

/** `fetch` says only that it failed; why is in its cause. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  if (!(cause instanceof Error)) return 'the request failed'
  const code = 'code' in cause && typeof cause.code === 'string' ? cause.code : undefined
  return code === undefined || cause.message.includes(code) ? cause.message : `${cause.message} (${code})`
}
