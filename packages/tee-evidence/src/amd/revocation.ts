/** Whether AMD has revoked the intermediate in use (spec 03 §4.6). VCEKs themselves all have serial number 0. */
import { fail, failForOutage } from '../rejection.ts'
import { bytesEqual, commonName } from '../x509/certificate.ts'
import { type CertificateRevocationList, freshnessAt, parseCertificateRevocationList } from '../x509/crl.ts'
import { isSignedByAmdKey, type VekChain } from './chain.ts'
import { type EndorsementSource, EndorsementUnavailable } from './endorsement-source.ts'

/** `off`: no check. `soft`: reject what a usable list names. `require`: also reject when there is no usable list. */
export type CrlPolicy = 'off' | 'soft' | 'require'

export const crlLimit = 256 * 1024

/** How long after a look for a newer list the next one is made, where the operator wants lists to be young. */
const lookAgainMs = 3_600_000

/** Checks chains against CRLs from the sources; a verified list is used until its nextUpdate. */
export class RevocationCheck {
  readonly #policy: CrlPolicy
  readonly #sources: readonly EndorsementSource[]
  readonly #maxAgeMs: number
  readonly #lists = new Map<string, CertificateRevocationList>()
  /** When each list was last asked for. */
  readonly #askedAt = new Map<string, number>()
  readonly #loading = new Map<string, Promise<CertificateRevocationList | undefined>>()
  /** Lists that no source had when they were last asked for, and why. */
  readonly #missing = new Map<string, 'absent' | 'outage'>()

  /** @param maxAgeMs a list older than this is asked for anew although it is still valid; whether it is too old is not judged here */
  constructor(
    policy: CrlPolicy,
    sources: readonly EndorsementSource[],
    maxAgeMs: number = Number.POSITIVE_INFINITY,
  ) {
    this.#policy = policy
    this.#sources = sources
    this.#maxAgeMs = maxAgeMs
  }

  get enabled(): boolean {
    return this.#policy !== 'off'
  }

  /**
   * Rejects with CERT_REVOKED or, when the policy demands a list, CRL_UNAVAILABLE, which is an outage unless every source
   * has said that it has none. Gives the list that was looked at, if there is one.
   */
  async check(chain: VekChain, now: Date): Promise<CertificateRevocationList | undefined> {
    if (!this.enabled) return undefined
    const list = await this.#listFor(chain, now)
    if (list === undefined) {
      if (this.#policy !== 'require') return undefined
      const failed = this.#missing.get(nameOf(chain)) === 'outage' ? failForOutage : fail
      return failed('CRL_UNAVAILABLE', `no usable CRL for ${chain.generation}`)
    }
    if (list.revoked.has(chain.intermediate.serialNumber)) {
      fail('CERT_REVOKED', `${commonName(chain.intermediate.subject)} is revoked`)
    }
    return list
  }

  async #listFor(chain: VekChain, now: Date): Promise<CertificateRevocationList | undefined> {
    const name = nameOf(chain)
    const list = this.#lists.get(name)
    const known = list !== undefined && freshnessAt(list, now) === 'fresh' ? list : undefined
    if (known !== undefined && !this.#isAged(name, known, now)) return known
    const loading = this.#load(name, chain, now)
    // With `soft`, a source that has failed before must not delay every guest: it is tried again beside them.
    if (this.#policy === 'soft' && this.#missing.has(name)) return known
    return (await loading) ?? known
  }

  /** Whether a younger list may be there: sources are asked once an hour, for they may have none. */
  #isAged(name: string, list: CertificateRevocationList, now: Date): boolean {
    if (now.getTime() - list.thisUpdate.getTime() <= this.#maxAgeMs) return false
    return now.getTime() - (this.#askedAt.get(name) ?? 0) >= lookAgainMs
  }

  /** One load at a time for each list; never rejects. */
  #load(name: string, chain: VekChain, now: Date): Promise<CertificateRevocationList | undefined> {
    const pending = this.#loading.get(name)
    if (pending !== undefined) return pending
    this.#askedAt.set(name, now.getTime())
    const loading = this.#firstUsable(name, chain, now).finally(() => this.#loading.delete(name))
    this.#loading.set(name, loading)
    return loading
  }

  async #firstUsable(
    name: string,
    chain: VekChain,
    now: Date,
  ): Promise<CertificateRevocationList | undefined> {
    let missing: 'absent' | 'outage' = 'absent'
    for (const source of this.#sources) {
      const list = await usableList(source, chain, now)
      if (list === 'outage') missing = list
      if (list === 'absent' || list === 'outage') continue
      this.#lists.set(name, list)
      this.#missing.delete(name)
      return list
    }
    this.#missing.set(name, missing)
    return undefined
  }
}

function nameOf({ generation, kind }: VekChain): string {
  return `${generation}/${kind}`
}

/** The source's list when it is fresh and signed by the pinned ARK; else whether the source says that it has none. */
async function usableList(
  source: EndorsementSource,
  chain: VekChain,
  now: Date,
): Promise<CertificateRevocationList | 'absent' | 'outage'> {
  try {
    const der = await source.crl({ generation: chain.generation, kind: chain.kind })
    if (der.length > crlLimit) return 'outage'
    const list = parseCertificateRevocationList(der)
    const usable =
      bytesEqual(list.issuer.raw, chain.ark.certificate.subject.raw) &&
      isSignedByAmdKey(list, chain.ark.key) &&
      !list.extensions.some(({ critical }) => critical) &&
      freshnessAt(list, now) === 'fresh'
    return usable ? list : 'outage'
  } catch (error) {
    // Whatever is wrong with a list or its source, it is not usable; `require` makes that a rejection.
    return error instanceof EndorsementUnavailable && error.absent ? 'absent' : 'outage'
  }
}
