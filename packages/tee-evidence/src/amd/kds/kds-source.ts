/** AMD's Key Distribution Service as an endorsement source (spec 03 §5.2; AMD 57230). */
import { join } from 'node:path'
import { certificateLimit } from '../chain.ts'
import {
  type CrlRequest,
  type EndorsementOffer,
  type EndorsementSource,
  EndorsementUnavailable,
  type VcekRequest,
} from '../endorsement-source.ts'
import { crlLimit } from '../revocation.ts'
import { crlUrl, kdsBaseUrl, vcekFile, vcekUrl } from './addresses.ts'
import { download, type Fetch, fetchWithConnectDeadline, saysAbsent } from './download.ts'
import { FailureMemory } from './failure-memory.ts'
import { nodeStoreFiles, type StoreFiles } from './store-files.ts'

export interface KdsOptions {
  /** Default `https://kdsintf.amd.com`. Plain http only when it says so. */
  readonly baseUrl?: string
  /** Default: node:https with a connection deadline of 5 s. */
  readonly fetch?: Fetch
  /** Where verified certificates are kept across restarts, in the layout of an offline store. Default: nowhere. */
  readonly cacheDirectory?: string
  /** Default: the file system. */
  readonly files?: StoreFiles
  /** For back-off. Default: the system clock. */
  readonly clock?: () => Date
  /** For all of one request, in milliseconds. Default 10 000. */
  readonly timeout?: number
  /** Certificates kept in memory. Default 4096. */
  readonly cacheSize?: number
}

/**
 * Fetches VCEKs and CRLs. A VCEK for a chip and TCB never changes, so an accepted one is kept without expiry; one
 * request a URL is in flight; failures are remembered (`FailureMemory`).
 */
export function createKdsSource(options: KdsOptions = {}): EndorsementSource {
  const baseUrl = checkedBaseUrl(options.baseUrl ?? kdsBaseUrl)
  const clock = options.clock ?? (() => new Date())
  const kds = new KdsClient(options.fetch ?? fetchWithConnectDeadline(), clock, options.timeout)
  const cache = new VcekCache(
    options.cacheSize ?? 4096,
    options.cacheDirectory,
    options.files ?? nodeStoreFiles,
  )
  return {
    name: 'KDS',
    async *vceks(request: VcekRequest): AsyncGenerator<EndorsementOffer> {
      const url = vcekUrl(baseUrl, request)
      const cached = await cache.get(url, request)
      if (cached !== undefined) yield cached
      const certificate = await kds.get(url, certificateLimit)
      // AMD answers with DER; PEM from this address is a sign of something else in the way.
      if (certificate[0] !== 0x30) {
        kds.refuse(url, true)
        throw new EndorsementUnavailable('the answer is not a DER certificate')
      }
      yield {
        certificate,
        accept: () => cache.put(url, request, certificate),
        refuse: (damaged) => kds.refuse(url, damaged),
      }
    },
    crl: (request: CrlRequest) => kds.get(crlUrl(baseUrl, request), crlLimit),
  }
}

/** Throws `TypeError` for a URL that is neither https nor http; a trailing slash is dropped. */
function checkedBaseUrl(text: string): string {
  const { protocol } = new URL(text)
  if (protocol !== 'https:' && protocol !== 'http:') throw new TypeError(`KDS base URL with ${protocol}`)
  return text.replace(/\/+$/, '')
}

/** Requests to one server, one at a time for each URL. */
class KdsClient {
  readonly #fetch: Fetch
  readonly #timeout: number | undefined
  readonly #failures: FailureMemory
  readonly #inFlight = new Map<string, Promise<Uint8Array>>()

  constructor(fetch: Fetch, clock: () => Date, timeout: number | undefined) {
    this.#fetch = fetch
    this.#timeout = timeout
    this.#failures = new FailureMemory(clock)
  }

  /** Throws `EndorsementUnavailable`. */
  get(url: string, limit: number): Promise<Uint8Array> {
    const pending = this.#inFlight.get(url)
    if (pending !== undefined) return pending
    const request = this.#request(url, limit).finally(() => this.#inFlight.delete(url))
    this.#inFlight.set(url, request)
    return request
  }

  refuse(url: string, damaged: boolean): void {
    this.#failures.refused(url, damaged)
  }

  async #request(url: string, limit: number): Promise<Uint8Array> {
    const reason = this.#failures.reasonToWait(url)
    if (reason !== undefined) throw new EndorsementUnavailable(reason.text, { absent: reason.absent })
    try {
      const body = await download(this.#fetch, url, limit, this.#timeout)
      this.#failures.succeeded()
      return body
    } catch (cause) {
      this.#failures.failed(url, cause)
      const message = cause instanceof Error ? cause.message : 'request failed'
      throw new EndorsementUnavailable(message, { cause, absent: saysAbsent(cause) })
    }
  }
}

/** Accepted certificates: in memory, least recently used go first; and on disk when there is a directory. */
class VcekCache {
  readonly #size: number
  readonly #directory: string | undefined
  readonly #files: StoreFiles
  readonly #certificates = new Map<string, Uint8Array>()

  constructor(size: number, directory: string | undefined, files: StoreFiles) {
    this.#size = size
    this.#directory = directory
    this.#files = files
  }

  async get(url: string, request: VcekRequest): Promise<EndorsementOffer | undefined> {
    const certificate = this.#certificates.get(url) ?? (await this.#readFile(request))
    if (certificate === undefined) return undefined
    return {
      certificate,
      accept: () => this.#keep(url, certificate),
      refuse: () => this.#certificates.delete(url),
    }
  }

  put(url: string, request: VcekRequest, certificate: Uint8Array): void {
    this.#keep(url, certificate)
    if (this.#directory === undefined) return
    // The verification does not wait for the disk, and a full disk only means that the next start fetches again.
    this.#files.write(join(this.#directory, vcekFile(request)), certificate).catch(() => {})
  }

  #keep(url: string, certificate: Uint8Array): void {
    this.#certificates.delete(url)
    this.#certificates.set(url, certificate)
    const oldest = this.#certificates.keys().next()
    if (this.#certificates.size > this.#size && oldest.done === false) this.#certificates.delete(oldest.value)
  }

  async #readFile(request: VcekRequest): Promise<Uint8Array | undefined> {
    if (this.#directory === undefined) return undefined
    try {
      return await this.#files.read(join(this.#directory, vcekFile(request)), certificateLimit)
    } catch {
      // The directory is only a cache: what cannot be read is fetched.
      return undefined
    }
  }
}
