import { z } from 'zod'
import {
  decodeBase64,
  decodeBase64UrlNoPad,
  decodeUtf8,
  EncodingError,
  encodeBase64,
  encodeBase64Url,
  encodeUtf8,
} from './encoding.ts'
import {
  isJsonObject,
  type JsonObject,
  JsonSyntaxError,
  type JsonValue,
  jsonObject,
  parseJson,
  stringifyJson,
} from './json.ts'
import { checkedMessage, MessageError } from './message-schema.ts'

/** The messages of administrators: policies and reference values (spec 01 §1.2, §1.5). */

/** Base64 of a policy of at most 1 MiB (spec 05 §12). */
const longestPolicy = 1_398_104
const longestPayload = 2_796_204
const longestName = 256

export interface AttestationPolicyMessage {
  /** Letters, digits, `.`, `_` and `-`, not starting with a dot. */
  readonly policyId: string
  /** Rego. */
  readonly policy: string
}

const policyText = z.string().max(longestPolicy)

const attestationPolicySchema = z.object({
  policy_id: z
    .string()
    .max(longestName)
    .regex(/^[A-Za-z0-9_-][A-Za-z0-9._-]*$/),
  policy: policyText,
})

/** Reads POST /attestation-policy; `type` is ignored. @throws MessageError */
export function parseAttestationPolicyMessage(body: JsonValue): AttestationPolicyMessage {
  const { policy_id: policyId, policy } = checkedMessage(attestationPolicySchema, body)
  return { policyId, policy: decodedPolicy(policy) }
}

/** Writes POST /attestation-policy. */
export function attestationPolicyBody(
  { policyId, policy }: AttestationPolicyMessage,
  type = 'rego',
): JsonObject {
  return jsonObject({ type, policy_id: policyId, policy: encodeBase64Url(encodeUtf8(policy)) })
}

const resourcePolicySchema = z.object({ policy: policyText })

/** Reads POST /resource-policy. Returns Rego. @throws MessageError */
export function parseResourcePolicyMessage(body: JsonValue): string {
  return decodedPolicy(checkedMessage(resourcePolicySchema, body).policy)
}

/** Writes POST /resource-policy. */
export function resourcePolicyBody(policy: string): JsonObject {
  return jsonObject({ policy: encodeBase64Url(encodeUtf8(policy)) })
}

/** An RVPS message: `payload` is for the extractor of that type. */
export interface ReferenceValueMessage {
  readonly type: string
  readonly payload: string
}

const referenceValueVersion = '0.1.0'

const referenceValueSchema = z.object({
  version: z.string().max(longestName).optional(),
  type: z.string().max(longestName),
  payload: z.string().max(longestPayload),
})

/** Reads POST /reference-value. @throws MessageError */
export function parseReferenceValueMessage(body: JsonValue): ReferenceValueMessage {
  const { version = referenceValueVersion, type, payload } = checkedMessage(referenceValueSchema, body)
  if (version !== referenceValueVersion) throw new MessageError('version', `not ${referenceValueVersion}`)
  return { type, payload }
}

/** Reads the payload of type `sample`: standard base64 of an object from name to value. @throws MessageError */
export function parseSamplePayload(payload: string): JsonObject {
  const values = decodedMember('payload', 'base64 of JSON', () => parseJson(decodeBase64(payload)))
  if (!isJsonObject(values)) throw new MessageError('payload', 'not an object')
  return values
}

/** Writes POST /reference-value with a payload of type `sample`. */
export function sampleReferenceValueBody(values: JsonObject): JsonObject {
  const payload = encodeBase64(encodeUtf8(stringifyJson(values)))
  return jsonObject({ version: referenceValueVersion, type: 'sample', payload })
}

function decodedPolicy(encoded: string): string {
  return decodedMember('policy', 'base64url of UTF-8 without padding', () =>
    decodeUtf8(decodeBase64UrlNoPad(encoded)),
  )
}

function decodedMember<T>(path: string, form: string, decode: () => T): T {
  try {
    return decode()
  } catch (cause) {
    if (cause instanceof EncodingError || cause instanceof JsonSyntaxError) {
      throw new MessageError(path, `not ${form}`, { cause })
    }
    throw cause
  }
}
