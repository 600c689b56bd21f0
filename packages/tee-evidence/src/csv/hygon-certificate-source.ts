/** Where the HSK and CEK of a chip come from when the guest sends none: a directory, a service, a cache of either. */

/** HSK and CEK that a source holds for a chip's. Nothing of them has been verified. */
export interface HskCekOffer {
  /** 832 and 2084 bytes, one behind the other. */
  readonly certificates: Uint8Array
  /** They have been verified: the source may keep them. */
  accept(): void
  /** They do not verify: the source must not ask for them again soon. */
  refuse(): void
}

export interface HygonCertificateSource {
  /** For the operator. */
  readonly name: string
  /**
   * Looks up a chip; undefined when the source knows that it has nothing.
   * @param chipId 1 to 64 ASCII letters and digits.
   * @throws HygonCertificatesUnavailable when it cannot tell.
   */
  hskCek(chipId: string): Promise<HskCekOffer | undefined>
}

/** A source could not give what it was asked for. The message is for the operator. */
export class HygonCertificatesUnavailable extends Error {
  override readonly name = 'HygonCertificatesUnavailable'
}

/** An offer of a source that keeps nothing. */
export function hskCekOffer(certificates: Uint8Array): HskCekOffer {
  return { certificates, accept: () => {}, refuse: () => {} }
}

/**
 * Asks `sources` in order and takes the first offer. A source that fails does not keep the next from being asked, but
 * when none offers, its failure is the answer.
 */
export function firstHygonSource(sources: readonly HygonCertificateSource[]): HygonCertificateSource {
  return {
    name: sources.map(({ name }) => name).join(', '),
    async hskCek(chipId) {
      const failures: unknown[] = []
      for (const source of sources) {
        try {
          const offer = await source.hskCek(chipId)
          if (offer !== undefined) return offer
        } catch (error) {
          failures.push(error)
        }
      }
      if (failures.length === 0) return undefined
      const reasons = failures.map((error) => (error instanceof Error ? error.message : 'unknown'))
      throw new HygonCertificatesUnavailable(
        `no source has the certificates, and not all could be asked: ${reasons.join('; ')}`,
        { cause: failures.length === 1 ? failures[0] : new AggregateError(failures) },
      )
    },
  }
}
