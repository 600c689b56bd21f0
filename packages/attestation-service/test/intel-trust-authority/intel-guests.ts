import type { EvaluationItem, RuntimeDataHash } from '@passport-kbs/attestation-service'
import {
  deviceRuntimeData,
  generateTeeKeyPair,
  type JsonValue,
  jsonObject,
  primaryRuntimeData,
  runtimeDataDigest,
  stringifyJson,
} from '@passport-kbs/protocol'
import {
  createVirtualAzureTdxVm,
  createVirtualIntel,
  enclaveEvidence,
  tdEvidence,
  virtualEventLog,
} from '@passport-kbs/testing'

const platform = createVirtualIntel(new Date()).platform()
const azure = createVirtualAzureTdxVm(platform)
const { publicKey } = generateTeeKeyPair()
const bound = { nonce: Buffer.alloc(32, 7).toString('base64'), teePublicKeyJson: publicKey.jwk }

export const teePublicKeyJson = bound.teePublicKeyJson

const eventLog = virtualEventLog().bytes

const evidenceOf = {
  tdx: (reportData: Uint8Array) => tdEvidence(platform, { reportData, eventLog }),
  sgx: (reportData: Uint8Array) => enclaveEvidence(platform, { reportData }),
  'az-tdx-vtpm': (reportData: Uint8Array) => azure.evidence({ reportData }),
} as const

export type GuestTee = keyof typeof evidenceOf

export const guestHashes = {
  tdx: 'sha512',
  sgx: 'sha256',
  'az-tdx-vtpm': 'sha256',
} as const satisfies Record<GuestTee, RuntimeDataHash>

/** What KBS1 hands to the attestation service for a guest on a virtual Intel machine. */
export function guest(tee: GuestTee, options: { evidence?: JsonValue; nonce?: string } = {}): EvaluationItem {
  const value = primaryRuntimeData({ ...bound, additionalEvidence: '' })
  const evidence = options.evidence ?? evidenceOf[tee](runtimeDataDigest(value, guestHashes[tee]))
  const claimed = primaryRuntimeData({
    ...bound,
    ...(options.nonce === undefined ? {} : { nonce: options.nonce }),
    additionalEvidence: '',
  })
  return {
    tee,
    evidence: evidence as JsonValue,
    runtimeData: { kind: 'structured', value: claimed },
    runtimeDataHash: guestHashes[tee],
  }
}

/** The same TD with other fields in its report, or with the digest of a document in its config id. */
export function specialTd(options: {
  readonly mrConfigId?: Uint8Array
  readonly attributes?: Uint8Array
}): EvaluationItem {
  const value = primaryRuntimeData({ ...bound, additionalEvidence: '' })
  const { mrConfigId, attributes } = options
  return guest('tdx', {
    evidence: tdEvidence(platform, {
      reportData: runtimeDataDigest(value, 'sha512'),
      ...(mrConfigId === undefined ? {} : { mrConfigId }),
      ...(attributes === undefined ? {} : { fields: { td_attributes: attributes } }),
    }) as JsonValue,
  })
}

/** Azure evidence in one of its three formats. */
export function azureGuest(version: 0 | 1 | 2): EvaluationItem {
  const value = primaryRuntimeData({ ...bound, additionalEvidence: '' })
  const evidence = azure.evidence({ reportData: runtimeDataDigest(value, 'sha256'), version })
  return guest('az-tdx-vtpm', { evidence })
}

/** A TD with GPUs: the text of their evidence is bound by the TD's report data. */
export function guestWithGpus(architectures: readonly string[]): readonly [EvaluationItem, EvaluationItem] {
  const list = architectures.map((arch) =>
    jsonObject({ arch, evidence: 'ZXZpZGVuY2U=', certificate: 'Y2VydA==' }),
  )
  const evidence = jsonObject({ device_evidence_list: list })
  const value = primaryRuntimeData({
    ...bound,
    additionalEvidence: stringifyJson(jsonObject({ nvidia: evidence })),
  })
  return [
    {
      tee: 'tdx',
      evidence: tdEvidence(platform, { reportData: runtimeDataDigest(value, 'sha512') }) as JsonValue,
      runtimeData: { kind: 'structured', value },
      runtimeDataHash: 'sha512',
    },
    {
      tee: 'nvidia',
      evidence,
      runtimeData: { kind: 'structured', value: deviceRuntimeData(bound) },
      runtimeDataHash: 'sha384',
    },
  ]
}
