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

/** More devices than a host can hold are not evidence. */
const maxDevices = 64

/** The posted attestation cannot be turned into evidence; the text is for the client. */
export class AttestationShapeError extends Error {
  override readonly name = 'AttestationShapeError'
}

/**
 * What the attestation service has to evaluate: the primary evidence, bound to key, nonce and the text of the device
 * evidence, then each device, bound to key and nonce, in the order of their TEE names so that `gpu0`, `gpu1` mean the
 * same in every token (spec 01 §2.6; spec 02 §2.3).
 */
export function evaluationItems(tee: Tee, hash: RuntimeDataHash, request: AttestRequest): EvaluationItem[] {
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

function deviceEvidence(text: string): [Tee, JsonValue][] {
  if (text === '') return []
  const value = parseDevices(text)
  const entries = Object.entries(value)
  if (entries.length > maxDevices)
    throw new AttestationShapeError(`more than ${maxDevices} additional evidences`)
  return entries
    .map(([name, evidence]): [Tee, JsonValue] => {
      const tee = parseTee(name)
      if (tee === undefined) throw new AttestationShapeError('additional_evidence names an unknown TEE')
      return [tee, evidence]
    })
    .sort(([a], [b]) => (a < b ? -1 : 1))
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
