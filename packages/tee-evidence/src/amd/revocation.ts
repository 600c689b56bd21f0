/** Whether AMD has revoked the intermediate in use (spec 03 §4.6). VCEKs themselves all have serial number 0. */
import { fail } from '../rejection.ts'
import { bytesEqual, commonName } from '../x509/certificate.ts'
import { type CertificateRevocationList, freshnessAt, parseCertificateRevocationList } from '../x509/crl.ts'
import { isSignedByAmdKey, type VekChain } from './chain.ts'
import type { EndorsementSource } from './endorsement-source.ts'

/** `off`: no check. `soft`: reject what a usable list names. `require`: also reject when there is no usable list. */
export type CrlPolicy = 'off' | 'soft' | 'require'

export const crlLimit = 256 * 1024

/** Checks chains against CRLs from the sources; a verified list is used until its nextUpdate. */
export class RevocationCheck {
  readonly #policy: CrlPolicy
  readonly #sources: readonly EndorsementSource[]
  readonly #lists = new Map<string, CertificateRevocationList>()
  readonly #loading = new Map<string, Promise<CertificateRevocationList | undefined>>()
  /** Lists that no source had when they were last asked for. */
  readonly #missing = new Set<string>()

  constructor(policy: CrlPolicy, sources: readonly EndorsementSource[]) {
    this.#policy = policy
    this.#sources = sources
  }

  get enabled(): boolean {
    return this.#policy !== 'off'
  }

  /** Rejects with CERT_REVOKED or, when the policy demands a list, CRL_UNAVAILABLE. */
  async check(chain: VekChain, now: Date): Promise<void> {
    if (!this.enabled) return
    const list = await this.#listFor(chain, now)
    if (list === undefined) {
      if (this.#policy === 'require') fail('CRL_UNAVAILABLE', `no usable CRL for ${chain.generation}`)
      return
    }
    if (list.revoked.has(chain.intermediate.serialNumber)) {
      fail('CERT_REVOKED', `${commonName(chain.intermediate.subject)} is revoked`)
    }
  }

  async #listFor(chain: VekChain, now: Date): Promise<CertificateRevocationList | undefined> {
    const name = `${chain.generation}/${chain.kind}`
    const known = this.#lists.get(name)
    if (known !== undefined && freshnessAt(known, now) === 'fresh') return known
    const loading = this.#load(name, chain, now)
    // With `soft`, a source that has failed before must not delay every guest: it is tried again beside them.
    if (this.#policy === 'soft' && this.#missing.has(name)) return undefined
    return await loading
  }

  /** One load at a time for each list; never rejects. */
  #load(name: string, chain: VekChain, now: Date): Promise<CertificateRevocationList | undefined> {
    const pending = this.#loading.get(name)
    if (pending !== undefined) return pending
    const loading = this.#firstUsable(name, chain, now).finally(() => this.#loading.delete(name))
    this.#loading.set(name, loading)
    return loading
  }

  async #firstUsable(
    name: string,
    chain: VekChain,
    now: Date,
  ): Promise<CertificateRevocationList | undefined> {
    for (const source of this.#sources) {
      const list = await usableList(source, chain, now)
      if (list === undefined) continue
      this.#lists.set(name, list)
      this.#missing.delete(name)
      return list
    }
    this.#missing.add(name)
    return undefined
  }
}

/** The source's list when it is fresh and signed by the pinned ARK, else undefined. */
async function usableList(
  source: EndorsementSource,
  chain: VekChain,
  now: Date,
): Promise<CertificateRevocationList | undefined> {
  try {
    const der = await source.crl({ generation: chain.generation, kind: chain.kind })
    if (der.length > crlLimit) return undefined
    const list = parseCertificateRevocationList(der)
    const usable =
      bytesEqual(list.issuer.raw, chain.ark.certificate.subject.raw) &&
      isSignedByAmdKey(list, chain.ark.key) &&
      !list.extensions.some(({ critical }) => critical) &&
      freshnessAt(list, now) === 'fresh'
    return usable ? list : undefined
  } catch {
    // Whatever is wrong with a list or its source, it is not usable; `require` makes that a rejection.
    return undefined
  }
}
