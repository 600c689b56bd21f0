import { createHash } from 'node:crypto'
import { canonicalJson } from './jcs.ts'
import { type JsonObject, type JsonValue, jsonObject } from './json.ts'

/** Digests that the challenge can select (spec 01 §2.4), by the names that messages use. */
export const hashAlgorithms = ['sha256', 'sha384', 'sha512', 'sm3'] as const

export type HashAlgorithm = (typeof hashAlgorithms)[number]

/** The algorithm of that name, whatever its case; undefined if there is none. */
export function parseHashAlgorithm(name: string): HashAlgorithm | undefined {
  const lower = name.toLowerCase()
  return hashAlgorithms.find((algorithm) => algorithm === lower)
}

/**
 * What the primary evidence proves: the key, the nonce and the text of the device evidence. The member is spelled
 * `additional-evidence` here, although the message spells it with an underscore (spec 01 §2.6).
 * @param additionalEvidence the string as posted, never parsed and written again; `""` when there is none.
 */
export function primaryRuntimeData(fields: {
  readonly nonce: string
  readonly teePublicKeyJson: JsonObject
  readonly additionalEvidence: string
}): JsonObject {
  return jsonObject({
    'additional-evidence': fields.additionalEvidence,
    nonce: fields.nonce,
    'tee-pubkey': fields.teePublicKeyJson,
  })
}

/** What each additional device's evidence proves: the key and the nonce. */
export function deviceRuntimeData(fields: {
  readonly nonce: string
  readonly teePublicKeyJson: JsonObject
}): JsonObject {
  return jsonObject({ nonce: fields.nonce, 'tee-pubkey': fields.teePublicKeyJson })
}

/** Digest of the canonical JSON of `value`: the report data before any padding (32, 48 or 64 bytes). */
export function runtimeDataDigest(value: JsonValue, hash: HashAlgorithm): Uint8Array {
  return digest(canonicalJson(value), hash)
}

/** Digest of an init-data document over its bytes exactly as transmitted (spec 01 §2.8). */
export function initDataDigest(body: string, hash: HashAlgorithm): Uint8Array {
  return digest(body, hash)
}

function digest(text: string, hash: HashAlgorithm): Uint8Array {
  return new Uint8Array(createHash(hash).update(text, 'utf8').digest())
}
