import { encodeBase64, encodeHex, type JsonObject, jsonObject } from '@passport-kbs/protocol'
import type { AmdGeneration } from '../amd/generation.ts'
import type { SnpReport } from '../amd/report.ts'
import type { VekProfile } from '../amd/vek-profile.ts'
import { extendedClaims, snpClaims } from '../snp/claims.ts'
import type { AzureEvidenceVersion, VtpmState } from '../vtpm/azure-evidence.ts'
import { pcrClaims } from '../vtpm/tpm-quote.ts'

/**
 * The claims of `az-snp-vtpm` (spec 03 §9.3): those of `snp`, but every scalar a string, the measurement in base64,
 * no chip id; nonce and PCR 8 stand in for report data and init data. Policies in the field depend on it.
 */
export function azureSnpClaims(report: SnpReport, generation: AmdGeneration, state: VtpmState): JsonObject {
  const claims = snpClaims(report, generation)
  delete claims.chip_id
  for (const [name, value] of Object.entries(claims)) claims[name] = String(value)
  claims.measurement = encodeBase64(report.measurement)
  claims.report_data = encodeHex(state.quote.extraData)
  claims.init_data = encodeHex(state.pcrs[8] ?? new Uint8Array())
  claims.tpm = pcrClaims(state.pcrs)
  return claims
}

/** The claim `ext`: what report, variable data and TPM say beyond upstream's claims. */
export function azureSnpExtendedClaims(
  report: SnpReport,
  generation: AmdGeneration,
  profile: VekProfile,
  version: AzureEvidenceVersion,
  state: VtpmState,
): JsonObject {
  const { quote, variableData } = state
  return jsonObject({
    ...extendedClaims(report, generation, profile),
    chip_id: encodeHex(report.chipId),
    evidence_version: version,
    vm_configuration: variableData['vm-configuration'] ?? null,
    tpm_clock: String(quote.clock),
    tpm_reset_count: quote.resetCount,
    tpm_restart_count: quote.restartCount,
    tpm_firmware_version: encodeHex(bigEndian(quote.firmwareVersion)),
  })
}

function bigEndian(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, value)
  return bytes
}
