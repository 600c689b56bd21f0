import type { CollateralDocument } from './collateral.ts'
import type { PckCa } from './pck-certificate.ts'

/** Which of Intel's parallel TCB recoveries is asked for: at once after publication, or after a grace period. */
export type TcbUpdateType = 'early' | 'standard'

/** Names one document of Intel's, apart from the update type. */
export type CollateralKey =
  | { readonly kind: 'tcb-info'; readonly tee: 'tdx' | 'sgx'; readonly fmspc: string }
  | { readonly kind: 'qe-identity'; readonly tee: 'tdx' | 'sgx' }
  | { readonly kind: 'pck-crl'; readonly ca: PckCa }
  | { readonly kind: 'root-ca-crl' }

/** A text for maps, file names and logs: letters, digits and hyphens. CRLs have no update type. */
export function collateralName(key: CollateralKey, update: TcbUpdateType): string {
  switch (key.kind) {
    case 'tcb-info':
      return `${key.tee}-tcb-info-${key.fmspc}-${update}`
    case 'qe-identity':
      return `${key.tee}-qe-identity-${update}`
    case 'pck-crl':
      return `pck-crl-${key.ca}`
    case 'root-ca-crl':
      return 'root-ca-crl'
  }
}

/** Why an upstream gave no document. */
export type UpstreamFault =
  /** It does not have the document (404, 410, not in the file). */
  | 'absent'
  /** No answer in time, connection refused, reset, TLS. */
  | 'unreachable'
  /** An answer that cannot be used: other status, too large, redirect, header missing. */
  | 'unusable'
  /** It asked to wait (429, 503). */
  | 'busy'

/** The one exception of an upstream. The message names host and status, never what was served. */
export class UpstreamError extends Error {
  override readonly name = 'UpstreamError'
  readonly fault: UpstreamFault
  /** From `Retry-After`, in milliseconds. */
  readonly retryAfterMs: number | undefined
  constructor(
    fault: UpstreamFault,
    message: string,
    options: { cause?: unknown; retryAfterMs?: number } = {},
  ) {
    super(message, options)
    this.fault = fault
    this.retryAfterMs = options.retryAfterMs
  }
}

/** One place that has collateral: Intel's PCS, a PCCS, a file, a directory. */
export interface CollateralUpstream {
  /** For logs, metrics and health: scheme and host, or a path. No user names or passwords. */
  readonly name: string
  /**
   * Fetches one document, unverified. Ends after `timeoutMs` at the latest.
   * @throws UpstreamError
   */
  fetch(key: CollateralKey, timeoutMs: number): Promise<CollateralDocument>
}
