import type { TdQuoteOptions, VirtualPlatform } from '../intel/platform.ts'

export interface TdEvidenceOptions extends Omit<TdQuoteOptions, 'fields'> {
  /** At most 64 bytes; zeros follow. */
  readonly reportData: Uint8Array
  /** Init-data digest, at most 48 bytes; zeros follow. */
  readonly mrConfigId?: Uint8Array
  /** RTMR 0 to 3. */
  readonly rtmrs?: readonly Uint8Array[]
  /** CC event log that replays to `rtmrs`. */
  readonly eventLog?: Uint8Array
  /** Further fields of the TD report. */
  readonly fields?: TdQuoteOptions['fields']
}

/** Evidence as the `tdx` attester of the attestation agent sends it. */
export function tdEvidence(
  platform: VirtualPlatform,
  options: TdEvidenceOptions,
): { quote: string; cc_eventlog?: string } {
  const { reportData, mrConfigId, rtmrs = [], eventLog, fields, ...quote } = options
  const registers = Object.fromEntries(rtmrs.map((rtmr, index) => [`rtmr_${index}`, rtmr]))
  const report = {
    report_data: reportData,
    ...(mrConfigId === undefined ? {} : { mr_config_id: mrConfigId }),
    ...registers,
    ...fields,
  }
  return {
    quote: base64(platform.tdQuote({ ...quote, fields: report })),
    ...(eventLog === undefined ? {} : { cc_eventlog: base64(eventLog) }),
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}
