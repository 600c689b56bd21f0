import { encodeHex, type JsonObject } from '@passport-kbs/protocol'
import type { AuthenticCollateral, ValidityClaims } from './collateral-validity.ts'
import type { PckExtension } from './pck-certificate.ts'
import type { TcbStanding } from './tcb-level.ts'

const sgxTypes = ['Standard', 'Scalable', 'Scalable with Integrity']

/** What the DCAP claims are made of. */
export interface DcapFindings {
  readonly launch: TcbStanding
  /** The TCB that the TD runs on now; the same as `launch` for quotes that carry one TCB only. */
  readonly current: TcbStanding
  readonly pck: PckExtension
  readonly collateral: AuthenticCollateral
  readonly validity: ValidityClaims
  readonly rootKeyId: string
}

/** The claims that `tdx`, `sgx` and `az-tdx-vtpm` have in common (spec 04 §7.3, second table). */
export function dcapClaims({
  launch,
  current,
  pck,
  collateral,
  validity,
  rootKeyId,
}: DcapFindings): JsonObject {
  return {
    tcb_status: launch.status,
    tcb_date: launch.date,
    advisory_ids: [...launch.advisoryIds],
    tcb_status_current: current.status,
    tcb_date_current: current.date,
    advisory_ids_current: [...current.advisoryIds],
    collateral_expiration_status: validity.expired ? '1' : '0',
    earliest_issue_date: validity.earliestIssueDate,
    latest_issue_date: validity.latestIssueDate,
    earliest_expiration_date: validity.earliestExpirationDate,
    pck_crl_num: collateral.pckCrl.number,
    root_ca_crl_num: collateral.rootCaCrl.number,
    tcb_eval_num: tcbEvaluationNumber(collateral),
    platform_provider_id: encodeHex(pck.ppid),
    sgx_type: sgxTypes[pck.sgxType] ?? `Unknown (${pck.sgxType})`,
    ...configurationClaims(pck),
    root_key_id: rootKeyId,
  }
}

/** The older of the two TCB recoveries that platform and quoting enclave are judged by. */
export function tcbEvaluationNumber({ tcbInfo, qeIdentity }: AuthenticCollateral): number {
  return Math.min(tcbInfo.evaluationDataNumber, qeIdentity.evaluationDataNumber)
}

function configurationClaims({ sgxType, platform }: PckExtension): JsonObject {
  if (sgxType === 0 || platform === undefined) return {}
  return {
    is_dynamic_platform: platform.dynamic,
    is_cached_keys: platform.cachedKeys,
    is_smt_enabled: platform.smtEnabled,
  }
}

/** The claim `platform_instance_id`: the octets in reverse, as Trustee has it; no claim under the Processor CA. */
export function platformInstanceClaim({ platform }: PckExtension): JsonObject {
  return platform === undefined ? {} : { platform_instance_id: encodeHex(platform.instanceId.toReversed()) }
}
