import type { EnclaveQuoteOptions, VirtualPlatform } from '../intel/platform.ts'

export interface EnclaveEvidenceOptions extends EnclaveQuoteOptions {
  /** At most 64 bytes; zeros follow. */
  readonly reportData: Uint8Array
  /** Init-data digest, at most 64 bytes; zeros follow. */
  readonly configId?: Uint8Array
}

/** Evidence as the `sgx` attester of the attestation agent sends it. */
export function enclaveEvidence(
  platform: VirtualPlatform,
  options: EnclaveEvidenceOptions,
): { quote: string } {
  const { reportData, configId, fields, ...quote } = options
  const report = {
    report_data: reportData,
    ...(configId === undefined ? {} : { config_id: configId }),
    ...fields,
  }
  return { quote: Buffer.from(platform.enclaveQuote({ ...quote, fields: report })).toString('base64') }
}
