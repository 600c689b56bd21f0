import { encodeHex, type JsonObject, jsonObject } from '@passport-kbs/protocol'
import type { AmdGeneration } from '../amd/generation.ts'
import { hasBit, platformBit, policyBit, type SnpReport } from '../amd/report.ts'
import { decodeTcbVersion } from '../amd/tcb-version.ts'
import type { VekProfile } from '../amd/vek-profile.ts'

/** The claims of `snp`, names and types exactly as existing policies read them (spec 03 §6.3). */
export function snpClaims(report: SnpReport, generation: AmdGeneration): JsonObject {
  const tcb = decodeTcbVersion(report.reportedTcb, generation)
  return jsonObject({
    policy_abi_major: Number((report.policy >> 8n) & 0xffn),
    policy_abi_minor: Number(report.policy & 0xffn),
    policy_smt_allowed: hasBit(report.policy, policyBit.smt),
    policy_migrate_ma: hasBit(report.policy, policyBit.migrateMa),
    policy_debug_allowed: hasBit(report.policy, policyBit.debug),
    policy_single_socket: hasBit(report.policy, policyBit.singleSocket),
    reported_tcb_bootloader: tcb.bootloader,
    reported_tcb_tee: tcb.tee,
    reported_tcb_snp: tcb.snp,
    reported_tcb_microcode: tcb.microcode,
    platform_tsme_enabled: hasBit(report.platformInfo, platformBit.tsme),
    platform_smt_enabled: hasBit(report.platformInfo, platformBit.smt),
    measurement: encodeHex(report.measurement),
    report_data: encodeHex(report.reportData),
    init_data: encodeHex(report.hostData),
    chip_id: encodeHex(report.chipId),
  })
}

/** What the report says beyond the claims above; emitted under the one key `ext` (spec 03 §6.3). */
export function extendedClaims(
  report: SnpReport,
  generation: AmdGeneration,
  profile: VekProfile,
): JsonObject {
  const tcb = (bytes: Uint8Array) => jsonObject({ ...decodeTcbVersion(bytes, generation) })
  return jsonObject({
    generation,
    report_version: report.version,
    vmpl: report.vmpl,
    guest_svn: report.guestSvn,
    signing_key: profile.kind,
    csp_id: profile.cspId ?? null,
    policy: integerOf(report.policy),
    platform_info: integerOf(report.platformInfo),
    reported_tcb_fmc: decodeTcbVersion(report.reportedTcb, generation).fmc,
    current_tcb: tcb(report.currentTcb),
    committed_tcb: tcb(report.committedTcb),
    launch_tcb: tcb(report.launchTcb),
    family_id: encodeHex(report.familyId),
    image_id: encodeHex(report.imageId),
    id_key_digest: encodeHex(report.idKeyDigest),
    author_key_digest: encodeHex(report.authorKeyDigest),
    report_id: encodeHex(report.reportId),
    launch_mit_vector: report.launchMitVector === null ? null : integerOf(report.launchMitVector),
    current_mit_vector: report.currentMitVector === null ? null : integerOf(report.currentMitVector),
  })
}

/** Integers are numbers where a number is exact (`JsonValue`). */
function integerOf(value: bigint): number | bigint {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value
}
