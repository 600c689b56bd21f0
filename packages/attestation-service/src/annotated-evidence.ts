import { isJsonObject, type JsonObject, type JsonValue, jsonObject, type Tee } from '@passport-kbs/protocol'
import { AttestationPolicyError } from './attestation-service.ts'

/** What stands beside a verifier's claims in the input of a policy. */
export interface EvidenceContext {
  readonly tee: Tee
  readonly initDataClaims: JsonValue
  readonly runtimeDataClaims: JsonValue
  /** False: the policy and the token do not see `additional-evidence`. */
  readonly verboseToken: boolean
}

/**
 * The input of an attestation policy and the `ear.veraison.annotated-evidence` of its submod (spec 02 §2.6): the
 * verifier's `init_data` and `report_data` move to the top and bring the data behind them along; all other claims stay
 * under the name of the TEE. Members are in order of their names.
 */
export function annotateEvidence(claims: JsonObject, context: EvidenceContext): JsonObject {
  const { init_data: initData, report_data: reportData, ...rest } = claims
  const members = new Map<string, JsonValue>([[context.tee, jsonObject(rest)]])
  if (initData !== undefined) {
    members.set('init_data', digestText('init_data', initData))
    members.set('init_data_claims', context.initDataClaims)
  }
  if (reportData !== undefined) {
    members.set('report_data', digestText('report_data', reportData))
    members.set('runtime_data_claims', runtimeDataClaims(context))
  }
  return jsonObject(Object.fromEntries([...members].sort(([a], [b]) => (a < b ? -1 : 1))))
}

function digestText(name: string, value: JsonValue): string {
  if (typeof value !== 'string')
    throw new AttestationPolicyError(`the verifier's claim ${name} is not a string`)
  return value
}

function runtimeDataClaims({ runtimeDataClaims, verboseToken }: EvidenceContext): JsonValue {
  if (verboseToken || !isJsonObject(runtimeDataClaims)) return runtimeDataClaims
  const { 'additional-evidence': _, ...rest } = runtimeDataClaims
  return jsonObject(rest)
}
