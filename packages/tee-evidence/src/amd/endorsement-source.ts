/** Where VCEK certificates and CRLs come from when the evidence brings none. Implementations are in `kds/`. */
import type { AmdGeneration } from './generation.ts'
import type { SigningKey } from './report.ts'
import type { TcbVersion } from './tcb-version.ts'

export interface VcekRequest {
  readonly generation: AmdGeneration
  /** Lowercase hex: 128 digits, on Turin 16. */
  readonly hwid: string
  /** REPORTED_TCB. */
  readonly tcb: TcbVersion
}

export interface CrlRequest {
  readonly generation: AmdGeneration
  /** `vcek`: the list that names ASKs; `vlek`: the one that names ASVKs. */
  readonly kind: SigningKey
}

/** A certificate that a source holds for the right one. Nothing of it has been verified. */
export interface EndorsementOffer {
  /** DER or PEM. */
  readonly certificate: Uint8Array
  /** The certificate has been verified for the request: the source may keep it. */
  accept(): void
  /**
   * It has not: the source must not offer it again soon.
   * @param damaged it is no certificate of AMD's at all; else it is one, but another than was asked for
   */
  refuse(damaged: boolean): void
}

export interface EndorsementSource {
  /** For the operator: `KDS`, `OfflineStore`. */
  readonly name: string
  /**
   * Offers candidates, the most likely first; the caller takes the first that verifies.
   * Ends without an offer when there is none; throws `EndorsementUnavailable` when it cannot tell, or to say why not.
   */
  vceks(request: VcekRequest): AsyncIterable<EndorsementOffer>
  /** The DER CRL, not verified. Throws `EndorsementUnavailable`. */
  crl(request: CrlRequest): Promise<Uint8Array>
}

/** A source could not give what it was asked for. The message is for the operator. */
export class EndorsementUnavailable extends Error {
  override readonly name = 'EndorsementUnavailable'
  /** True: the source knows that it has none. False: it could not be asked, or its answer is none. */
  readonly absent: boolean
  constructor(message: string, { absent = false, ...options }: { cause?: unknown; absent?: boolean } = {}) {
    super(message, options)
    this.absent = absent
  }
}
