import type { EvaluationItem, RuntimeDataHash } from '@passport-kbs/attestation-service'
import {
  type AttestRequest,
  deviceRuntimeData,
  isJsonObject,
  type JsonObject,
  type JsonValue,
  parseJson,
  parseTee,
  primaryRuntimeData,
  type Tee,
} from '@passport-kbs/protocol'

/** The posted attestation cannot be turned into evidence; the text is for the client. */
export class AttestationShapeError extends Error {
  override readonly name = 'AttestationShapeError'
}

/**
 * What the attestation service has to evaluate: the primary evidence, bound to key, nonce and the text of the device
 * evidence, then each device, bound to key and nonce, in the order of their TEE names so that `gpu0`, `gpu1` mean the
 * same in every token (spec 01 §2.6; spec 02 §2.3).
 */
export function evaluationItems(
  tee: Tee,
  hash: RuntimeDataHash,
  request: AttestRequest,
): [EvaluationItem, ...EvaluationItem[]] {
  const { nonce, teePublicKeyJson } = request.runtimeData
  const { additionalEvidence, initData } = request
  if (initData && initData.format !== 'toml') {
    throw new AttestationShapeError(
      `init-data format ${JSON.stringify(initData.format)} is not supported, only "toml"`,
    )
  }
  const primary: EvaluationItem = {
    tee,
    evidence: request.primaryEvidence,
    runtimeData: {
      kind: 'structured',
      value: primaryRuntimeData({ nonce, teePublicKeyJson, additionalEvidence }),
    },
    runtimeDataHash: hash,
    ...(initData ? { initData: { kind: 'toml' as const, text: initData.body } } : {}),
  }
  const devices = deviceEvidence(additionalEvidence).map(
    ([device, evidence]): EvaluationItem => ({
      tee: device,
      evidence,
      runtimeData: { kind: 'structured', value: deviceRuntimeData({ nonce, teePublicKeyJson }) },
      runtimeDataHash: 'sha384',
    }),
  )
  return [primary, ...devices]
}

/** One evidence a TEE, whichever of its names is used. */
function deviceEvidence(text: string): [Tee, JsonValue][] {
  if (text === '') return []
  const byTee = new Map<Tee, JsonValue>()
  for (const [name, evidence] of Object.entries(parseDevices(text))) {
    const tee = parseTee(name)
    if (tee === undefined) throw new AttestationShapeError('additional_evidence names an unknown TEE')
    if (byTee.has(tee)) throw new AttestationShapeError('additional_evidence names a TEE twice')
    byTee.set(tee, evidence)
  }
  return [...byTee].sort(([a], [b]) => (a < b ? -1 : 1))
}

function parseDevices(text: string): JsonObject {
  let value: JsonValue
  try {
    value = parseJson(text)
  } catch (cause) {
    throw new AttestationShapeError('additional_evidence is not JSON text', { cause })
  }
  if (!isJsonObject(value)) {
    throw new AttestationShapeError('additional_evidence is not the text of a JSON object')
  }
  return value
}
