import {
  type HskCekOffer,
  type HygonCertificateSource,
  HygonCertificatesUnavailable,
  hskCekOffer,
} from './hygon-certificate-source.ts'
import type { HygonDirectory } from './hygon-directory.ts'
import { RecentMap } from './recent-map.ts'

export interface HygonCertificateCacheOptions {
  /** What is asked when nothing is cached: the key service. */
  readonly source: HygonCertificateSource
  /** Milliseconds from any origin that never goes back, such as `performance.now`. */
  readonly now: () => number
  /** Keeps verified certificates over a restart. What is read from it is verified again. */
  readonly directory?: HygonDirectory
  /** Is told when a file could not be read or written; the certificates serve all the same. */
  readonly onDirectoryFailure?: (error: unknown) => void
  /** Chips in memory, and as many negative answers; default 1024. */
  readonly maxChips?: number
  /** How long an unknown chip or a refused certificate is remembered; default 60 000. */
  readonly negativeMs?: number
  /** How long a failure of the source is remembered; default 5 000. */
  readonly failureMs?: number
}

/**
 * Remembers the verified HSK and CEK of chips. They have no validity dates, so they stay until others push them out.
 * At any time there is one request under way for a chip. A chip that is unknown, or whose certificates did not verify,
 * is not asked for again for a minute, so that evidence with invented chip ids cannot set the service to work.
 */
export function hygonCertificateCache(options: HygonCertificateCacheOptions): HygonCertificateSource {
  return new HygonCertificateCache(options)
}

/** What is known not to be there, or why not, until a time. */
interface NegativeAnswer {
  readonly until: number
  /** Absent: the source has nothing for the chip. */
  readonly failure?: string
}

class HygonCertificateCache implements HygonCertificateSource {
  readonly name: string
  readonly #options: HygonCertificateCacheOptions
  readonly #known: RecentMap<string, Uint8Array>
  readonly #negative: RecentMap<string, NegativeAnswer>
  /** Chips whose file did not verify; it is not read again until it is replaced. */
  readonly #badFiles: RecentMap<string, true>
  readonly #underWay = new Map<string, Promise<HskCekOffer | undefined>>()

  constructor(options: HygonCertificateCacheOptions) {
    const { source, maxChips = 1024 } = options
    this.name = `cache of ${source.name}`
    this.#options = options
    this.#known = new RecentMap(maxChips)
    this.#negative = new RecentMap(maxChips)
    this.#badFiles = new RecentMap(maxChips)
  }

  async hskCek(chipId: string): Promise<HskCekOffer | undefined> {
    const known = this.#known.get(chipId)
    if (known !== undefined) return hskCekOffer(known)
    const negative = this.#negative.get(chipId)
    if (negative !== undefined && this.#options.now() < negative.until) {
      if (negative.failure === undefined) return undefined
      throw new HygonCertificatesUnavailable(negative.failure)
    }
    return await (this.#underWay.get(chipId) ?? this.#start(chipId))
  }

  #start(chipId: string): Promise<HskCekOffer | undefined> {
    const search = this.#search(chipId).finally(() => this.#underWay.delete(chipId))
    this.#underWay.set(chipId, search)
    return search
  }

  async #search(chipId: string): Promise<HskCekOffer | undefined> {
    const file = await this.#file(chipId)
    if (file !== undefined) return this.#fileOffer(chipId, file.certificates)
    const { source, negativeMs = 60_000, failureMs = 5_000 } = this.#options
    try {
      const offer = await source.hskCek(chipId)
      if (offer !== undefined) return this.#sourceOffer(chipId, offer)
      this.#deny(chipId, negativeMs)
      return undefined
    } catch (error) {
      this.#deny(chipId, failureMs, 'the source failed a moment ago')
      throw error
    }
  }

  async #file(chipId: string): Promise<HskCekOffer | undefined> {
    if (this.#badFiles.get(chipId)) return undefined
    try {
      return await this.#options.directory?.hskCek(chipId)
    } catch (error) {
      this.#options.onDirectoryFailure?.(error)
      return undefined
    }
  }

  #fileOffer(chipId: string, certificates: Uint8Array): HskCekOffer {
    return {
      certificates,
      accept: () => this.#known.set(chipId, certificates),
      refuse: () => this.#badFiles.set(chipId, true),
    }
  }

  #sourceOffer(chipId: string, offer: HskCekOffer): HskCekOffer {
    const { certificates } = offer
    return {
      certificates,
      accept: () => {
        offer.accept()
        if (this.#known.get(chipId) !== undefined) return
        this.#known.set(chipId, certificates)
        void this.#store(chipId, certificates)
      },
      refuse: () => {
        offer.refuse()
        this.#deny(chipId, this.#options.negativeMs ?? 60_000, 'its certificates did not verify a moment ago')
      },
    }
  }

  async #store(chipId: string, certificates: Uint8Array): Promise<void> {
    try {
      await this.#options.directory?.store(chipId, certificates)
      this.#badFiles.delete(chipId)
    } catch (error) {
      this.#options.onDirectoryFailure?.(error)
    }
  }

  #deny(chipId: string, milliseconds: number, failure?: string): void {
    const until = this.#options.now() + milliseconds
    this.#negative.set(chipId, failure === undefined ? { until } : { until, failure })
  }
}
