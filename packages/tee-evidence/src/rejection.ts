/** Reason codes of spec 03 §2.3 and spec 04 §1.3; part of the public interface, never renamed. */
export const rejectionCodes = [
  // any evidence
  'EVIDENCE_MALFORMED',
  'EVIDENCE_VERSION_TOO_OLD',
  'INPUT_INVALID',
  'TEE_NOT_ENABLED',
  'REPORT_DATA_MISMATCH',
  'INIT_DATA_MISMATCH',
  'DEBUG_NOT_ALLOWED',
  // certificates
  'CERT_MALFORMED',
  'CERT_PROFILE_INVALID',
  'CERT_CHAIN_INCOMPLETE',
  'CERT_CHAIN_INVALID',
  'CERT_EXPIRED',
  'CERT_NOT_YET_VALID',
  'CERT_REVOKED',
  'CRL_UNAVAILABLE',
  // AMD SEV-SNP
  'REPORT_VERSION_UNSUPPORTED',
  'REPORT_MALFORMED',
  'REPORT_RESERVED_NONZERO',
  'PRODUCT_UNSUPPORTED',
  'SIGNATURE_ALGO_UNSUPPORTED',
  'SIGNING_KEY_UNSUPPORTED',
  'SIGNING_KEY_MISMATCH',
  'VEK_UNAVAILABLE',
  'REPORT_SIGNATURE_INVALID',
  'CHIP_ID_MISMATCH',
  'TCB_MISMATCH',
  'VMPL_UNSUPPORTED',
  // virtual TPM on Azure, generic TPM
  'HCL_MALFORMED',
  'HCL_REPORT_TYPE_UNSUPPORTED',
  'HCL_HASH_TYPE_UNSUPPORTED',
  'AK_NOT_FOUND',
  'AK_UNSUPPORTED',
  'TPM_SIGNATURE_INVALID',
  'TPM_QUOTE_MALFORMED',
  'TPM_NOT_A_QUOTE',
  'TPM_NONCE_MISMATCH',
  'PCR_SELECTION_UNSUPPORTED',
  'PCR_DIGEST_MISMATCH',
  'VAR_DATA_MISMATCH',
  'USER_DATA_MISMATCH',
  // the TD quote as the Azure TDX verifier reads it
  'TD_QUOTE_MALFORMED',
  'TD_QUOTE_TYPE_UNSUPPORTED',
  'TD_QUOTE_SIGNATURE_INVALID',
  'TD_REPORT_MISMATCH',
  // Intel quotes (DCAP)
  'QUOTE_MALFORMED',
  'QUOTE_TRAILING_DATA',
  'QUOTE_VERSION_UNSUPPORTED',
  'TEE_TYPE_MISMATCH',
  'QUOTE_BODY_UNSUPPORTED',
  'ATT_KEY_TYPE_UNSUPPORTED',
  'QE_VENDOR_UNSUPPORTED',
  'CERT_DATA_UNSUPPORTED',
  'PCK_CHAIN_INVALID',
  'PCK_EXTENSION_INVALID',
  'QE_REPORT_SIGNATURE_INVALID',
  'QE_REPORT_DATA_MISMATCH',
  'QUOTE_SIGNATURE_INVALID',
  // Intel collateral
  'COLLATERAL_UNAVAILABLE',
  'COLLATERAL_MALFORMED',
  'COLLATERAL_CHAIN_INVALID',
  'COLLATERAL_SIGNATURE_INVALID',
  'COLLATERAL_EXPIRED',
  'COLLATERAL_NOT_YET_VALID',
  'CRL_INVALID',
  'TCB_INFO_VERSION_UNSUPPORTED',
  'QE_IDENTITY_VERSION_UNSUPPORTED',
  'TCB_INFO_MISMATCH',
  'QE_IDENTITY_MISMATCH',
  'TDX_MODULE_MISMATCH',
  'TCB_LEVEL_UNSUPPORTED',
  'TCB_STATUS_UNRECOGNIZED',
  'TCB_REVOKED',
  // CC event log
  'EVENTLOG_MALFORMED',
  'EVENTLOG_UNBOUND_EVENT',
  'EVENTLOG_REPLAY_MISMATCH',
  // Hygon CSV
  'INIT_DATA_UNSUPPORTED',
  'CSV_REPORT_UNSUPPORTED',
  'CSV_SERIAL_INVALID',
  'CSV_SERIAL_MISMATCH',
  'CSV_PEK_MISMATCH',
  'CSV_CHAIN_UNAVAILABLE',
  'CSV_CERT_MALFORMED',
  'CSV_CHAIN_INVALID',
  'CSV_REPORT_ALGORITHM_UNSUPPORTED',
  'CSV_REPORT_SIGNATURE_INVALID',
  'CSV_RTMR0_MISMATCH',
  // risk rules of the operator
  'PRODUCT_REFUSED',
  'CHIP_NOT_ALLOWED',
  'TCB_BELOW_MINIMUM',
  'TCB_STATUS_REFUSED',
  'TCB_DATE_TOO_OLD',
  'TCB_EVALUATION_TOO_OLD',
  'CERT_TOO_OLD',
  'CRL_TOO_OLD',
  'COLLATERAL_TOO_OLD',
] as const

export type RejectionCode = (typeof rejectionCodes)[number]

/** The one exception a verifier throws. `detail` is for the operator: it names fields and numbers, never secrets. */
export class EvidenceRejected extends Error {
  override readonly name = 'EvidenceRejected'
  readonly code: RejectionCode
  /** The check that failed. */
  readonly check: string
  readonly detail: string
  /** Names of the checks that were made and passed before, in order; what is in neither was not reached. */
  readonly passed: readonly string[]
  /**
   * True: no verdict on the evidence. A source of certificates, lists or collateral could not be asked, or gave nothing
   * that can be used; the same evidence may pass once the source is mended. Evidence alone never makes it true.
   */
  readonly outage: boolean
  constructor(
    code: RejectionCode,
    check: string,
    detail: string,
    options: { cause?: unknown; passed?: readonly string[]; outage?: boolean } = {},
  ) {
    super(`${code}: ${detail}`, 'cause' in options ? { cause: options.cause } : undefined)
    this.code = code
    this.check = check
    this.detail = detail
    this.passed = Object.freeze([...(options.passed ?? [])])
    this.outage = options.outage ?? false
  }
}

/**
 * What parsers and comparisons shared between verifiers throw: they know the reason but not the name of the
 * check that called them. `CheckRun` (verifier.ts) turns it into `EvidenceRejected`.
 */
export class CheckFailure extends Error {
  override readonly name = 'CheckFailure'
  readonly code: RejectionCode
  /** As in `EvidenceRejected`. */
  readonly outage: boolean
  constructor(
    code: RejectionCode,
    detail: string,
    { outage = false, ...options }: { cause?: unknown; outage?: boolean } = {},
  ) {
    super(detail, options)
    this.code = code
    this.outage = outage
  }
}

/** Throws `CheckFailure`; for use in expressions. */
export function fail(code: RejectionCode, detail: string, cause?: unknown): never {
  throw new CheckFailure(code, detail, cause === undefined ? undefined : { cause })
}

/** As `fail`, for what is the fault of a source and says nothing of the evidence. */
export function failForOutage(code: RejectionCode, detail: string, cause?: unknown): never {
  throw new CheckFailure(code, detail, { outage: true, ...(cause === undefined ? {} : { cause }) })
}

/** Makes a check of nothing but what a source gave: where it fails, that is the source's fault. */
export function blamingSource<T>(make: () => T): T {
  try {
    return make()
  } catch (error) {
    if (!(error instanceof CheckFailure)) throw error
    return failForOutage(error.code, error.message, error)
  }
}
