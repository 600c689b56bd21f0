import { z } from 'zod'
import { isJsonObject, type JsonObject, type JsonValue, jsonObject, stringifyJson } from './json.ts'
import { anyJson, checkedMessage, MessageError } from './message-schema.ts'
import { type HashAlgorithm, hashAlgorithms, parseHashAlgorithm } from './runtime-data.ts'
import { parseTee, type Tee } from './tee.ts'
import { parseTeePublicKey, TeeKeyError, type TeeKeyPolicy, type TeePublicKey } from './tee-key.ts'

/** The messages of the RCAR handshake (spec 01 §2): parsers for what arrives, builders for what is sent. */

/** The one version of the protocol that this house speaks. */
export const protocolVersion = '0.4.0'

/** Name of the session's cookie. */
export const sessionCookieName = 'kbs-session-id'

/** Sizes in UTF-16 units, beyond the limit of the body as a whole. */
export const messageLimits = Object.freeze({
  version: 64,
  teeName: 32,
  /** JSON text of `extra-params`. */
  extraParams: 16_384,
  /** Secure Execution's nonce is a whole attestation request. */
  nonce: 262_144,
  initDataFormat: 32,
  initDataBody: 4_194_304,
  additionalEvidence: 16_777_216,
  token: 1_048_576,
})

/** POST /auth. */
export interface AuthRequest {
  readonly tee: Tee
  /** The spelling that was received, for old aliases. */
  readonly teeName: string
  readonly extraParams: JsonValue
  /** What the guest can compute; absent if it sent no list. Unknown names are left out; not a list counts as empty. */
  readonly supportedHashAlgorithms?: readonly HashAlgorithm[]
}

/** POST /attest. */
export interface AttestRequest {
  readonly initData?: { readonly format: string; readonly body: string }
  readonly runtimeData: {
    readonly nonce: string
    readonly teePublicKey: TeePublicKey
    /** Exactly the members that are hashed. */
    readonly teePublicKeyJson: JsonObject
  }
  readonly primaryEvidence: JsonValue
  /** JSON text of an object from TEE name to evidence, or `""`. Hashed as it is. */
  readonly additionalEvidence: string
}

const authSchema = z.object({
  version: z.string().max(messageLimits.version),
  tee: z.string().max(messageLimits.teeName),
  'extra-params': anyJson.optional(),
})

const malformedRequest = 'deserialize Request'

/**
 * Reads POST /auth. `extra-params` may be missing (spec 01 §2.2); unknown members are ignored.
 * @throws MessageError with `contractText` as /auth answers it: malformed, not a version, another version.
 */
export function parseAuthRequest(body: JsonValue): AuthRequest {
  const {
    version,
    tee: teeName,
    'extra-params': extraParams = '',
  } = checkedMessage(authSchema, body, malformedRequest)
  const tee = parseTee(teeName)
  if (tee === undefined) throw new MessageError('tee', 'unknown', { contractText: malformedRequest })
  if (stringifyJson(extraParams).length > messageLimits.extraParams) {
    throw new MessageError('extra-params', 'too large', { contractText: malformedRequest })
  }
  checkVersion(version)
  const offered = isJsonObject(extraParams) ? extraParams['supported-hash-algorithms'] : undefined
  if (offered === undefined) return { tee, teeName, extraParams }
  return { tee, teeName, extraParams, supportedHashAlgorithms: knownAlgorithms(offered) }
}

/** Semantic versions without a pre-release; build metadata is allowed and ignored (requirement `=0.4.0`). */
function checkVersion(version: string): void {
  const numeric = '(?:0|[1-9][0-9]*)'
  const identifiers = '[0-9A-Za-z-]+(?:\\.[0-9A-Za-z-]+)*'
  const parts = new RegExp(
    `^(${numeric}\\.${numeric}\\.${numeric})(-${identifiers})?(?:\\+${identifiers})?$`,
  ).exec(version)
  if (parts === null) {
    throw new MessageError('version', 'not a semantic version', {
      contractText: 'failed to parse KBS version',
    })
  }
  if (parts[1] !== protocolVersion || parts[2] !== undefined) {
    const contractText = `KBS Client Protocol Version Mismatch: expect =${protocolVersion} while the request is ${version}`
    throw new MessageError('version', `not ${protocolVersion}`, { contractText })
  }
}

function knownAlgorithms(offered: JsonValue): HashAlgorithm[] {
  if (!Array.isArray(offered)) return []
  return offered
    .map((name) => (typeof name === 'string' ? parseHashAlgorithm(name) : undefined))
    .filter((algorithm) => algorithm !== undefined)
}

const attestSchema = z.object({
  'init-data': z
    .object({
      format: z.string().max(messageLimits.initDataFormat),
      body: z.string().max(messageLimits.initDataBody),
    })
    .nullish(),
  'runtime-data': z.object({ nonce: z.string().max(messageLimits.nonce), 'tee-pubkey': anyJson }),
  'tee-evidence': z.object({
    primary_evidence: anyJson,
    additional_evidence: z.string().max(messageLimits.additionalEvidence),
  }),
})

/**
 * Reads POST /attest; unknown members are ignored. The TEE key is checked here already, so that no token is ever issued
 * for a key to which nothing can be encrypted.
 * @throws MessageError
 */
export function parseAttestRequest(body: JsonValue, teeKeyPolicy?: TeeKeyPolicy): AttestRequest {
  const message = checkedMessage(attestSchema, body)
  const runtimeData = message['runtime-data']
  const evidence = message['tee-evidence']
  const initData = message['init-data']
  const teePublicKey = teeKeyAt('runtime-data.tee-pubkey', runtimeData['tee-pubkey'], teeKeyPolicy)
  return {
    ...(initData ? { initData } : {}),
    runtimeData: { nonce: runtimeData.nonce, teePublicKey, teePublicKeyJson: teePublicKey.jwk },
    primaryEvidence: evidence.primary_evidence,
    additionalEvidence: evidence.additional_evidence,
  }
}

function teeKeyAt(path: string, value: JsonValue, policy?: TeeKeyPolicy): TeePublicKey {
  try {
    return parseTeePublicKey(value, policy)
  } catch (cause) {
    if (cause instanceof TeeKeyError) throw new MessageError(path, cause.message, { cause })
    throw cause
  }
}

/** Answer to POST /auth. Without a selected hash, `extra-params` is the empty string and the guest uses SHA-384. */
export function challengeBody(nonce: string, selectedHash?: HashAlgorithm): JsonObject {
  const extraParams =
    selectedHash === undefined ? '' : jsonObject({ 'selected-hash-algorithm': selectedHash })
  return jsonObject({ nonce, 'extra-params': extraParams })
}

/** Answer to POST /attest. */
export function tokenBody(token: string): JsonObject {
  return jsonObject({ token })
}

/** Body of POST /auth, as the guest sends it. */
export function authRequestBody(teeName: string, extraParams?: JsonObject): JsonObject {
  const offered = extraParams ?? jsonObject({ 'supported-hash-algorithms': [...hashAlgorithms] })
  return jsonObject({ version: protocolVersion, tee: teeName, 'extra-params': offered })
}

/** Body of POST /attest, as the guest sends it. */
export function attestRequestBody(fields: {
  readonly initData?: { readonly format: string; readonly body: string }
  readonly nonce: string
  readonly teePublicKeyJson: JsonObject
  readonly primaryEvidence: JsonValue
  readonly additionalEvidence: string
}): JsonObject {
  return jsonObject({
    'init-data': fields.initData ? jsonObject({ ...fields.initData }) : null,
    'runtime-data': jsonObject({ nonce: fields.nonce, 'tee-pubkey': fields.teePublicKeyJson }),
    'tee-evidence': jsonObject({
      primary_evidence: fields.primaryEvidence,
      additional_evidence: fields.additionalEvidence,
    }),
  })
}

export interface Challenge {
  readonly nonce: string
  /** What the server selected, or SHA-384. */
  readonly hashAlgorithm: HashAlgorithm
}

const challengeSchema = z.object({ nonce: z.string().max(messageLimits.nonce), 'extra-params': anyJson })

/** Reads the answer to POST /auth as the guest does: a selected hash that it does not know stops it. @throws MessageError */
export function parseChallenge(body: JsonValue): Challenge {
  const { nonce, 'extra-params': extraParams } = checkedMessage(challengeSchema, body)
  const selected = isJsonObject(extraParams) ? extraParams['selected-hash-algorithm'] : undefined
  if (selected === undefined) return { nonce, hashAlgorithm: 'sha384' }
  const hashAlgorithm = typeof selected === 'string' ? parseHashAlgorithm(selected) : undefined
  if (hashAlgorithm === undefined) throw new MessageError('extra-params.selected-hash-algorithm', 'unknown')
  return { nonce, hashAlgorithm }
}

const tokenSchema = z.object({ token: z.string().max(messageLimits.token) })

/** Reads the answer to POST /attest. @throws MessageError */
export function parseTokenBody(body: JsonValue): string {
  return checkedMessage(tokenSchema, body).token
}

const errorInformationSchema = z.object({ type: z.string(), detail: z.string() })

/** Reads the body of any answer but 200. @throws MessageError */
export function parseErrorInformation(body: JsonValue): { type: string; detail: string } {
  return checkedMessage(errorInformationSchema, body)
}
