import { createHash, type KeyObject } from 'node:crypto'
import {
  isJsonObject,
  type JsonObject,
  type JsonValue,
  parseJson,
  parseTee,
  type Tee,
} from '@passport-kbs/protocol'
import { calculateJwkThumbprint, compactVerify, decodeProtectedHeader } from 'jose'
import { AttestationUnavailable, type Evaluation } from '../attestation-service.ts'
import { policyExtension } from '../extensions.ts'

/** A public key of a remote attestation service. */
export interface RemoteKey {
  readonly kid: string | undefined
  /** RFC 7638, SHA-256, base64url. */
  readonly thumbprint: string
  /** The values of `alg` that it is for. */
  readonly algorithms: readonly string[]
  readonly key: KeyObject
}

/** Keys of a remote attestation service, kept up to date. */
export interface RemoteKeys {
  keys(): readonly RemoteKey[]
  /** Looks for more keys, once in a while, where none at hand fits. */
  find(selector: { readonly kid: string } | { readonly thumbprint: string }): Promise<readonly RemoteKey[]>
}

/** Longest token, in characters; guests and KBS2 take no longer header. */
const longestToken = 1_048_576
/** Keys tried for a token that names none. */
const maxTried = 16

/**
 * Makes sure that a token was signed with one of the service's keys. A key in the token's header only says which of
 * them to try.
 * @throws AttestationUnavailable: the service mints what nobody could verify.
 */
export async function assertSignedBy(token: string, source: RemoteKeys): Promise<void> {
  for (const { key, algorithms } of (await candidates(token, source)).slice(0, maxTried)) {
    const verified = await compactVerify(token, key, { algorithms: [...algorithms] }).catch(() => undefined)
    if (verified !== undefined) return
  }
  throw new AttestationUnavailable(
    'the token of the remote attestation service is signed with none of its keys',
  )
}

async function candidates(token: string, source: RemoteKeys): Promise<readonly RemoteKey[]> {
  const { kid, jwk } = readHeader(token)
  const byKid = kid === undefined ? [] : await source.find({ kid })
  if (byKid.length > 0) return byKid
  // Trustee's tokens have no kid, but their key (spec 02 §3.1)
  if (jwk !== undefined) return await source.find({ thumbprint: await calculateJwkThumbprint(jwk) })
  return source.keys()
}

function readHeader(token: string) {
  try {
    return decodeProtectedHeader(token)
  } catch (cause) {
    throw notToken(cause)
  }
}

/**
 * What a token says of itself, for answer and audit. Trustee's tokens have no `jti`: the hash of the token stands for it.
 * @param nonce that the token must repeat wherever it repeats runtime data.
 * @throws AttestationUnavailable for a text that is no EAR token, or one about another handshake.
 */
export function readEvaluation(
  token: string,
  nonce: string | undefined,
  issuer: string | undefined,
): Evaluation {
  const claims = readClaims(token)
  const { exp, iss, jti, submods } = claims
  if (typeof exp !== 'number' || !isJsonObject(submods)) throw notToken()
  if (issuer !== undefined && iss !== issuer)
    throw new AttestationUnavailable('the token of the remote attestation service has another issuer')
  const entries = Object.entries(submods)
  for (const [, submod] of entries) {
    const runtimeData = member(member(submod, 'ear.veraison.annotated-evidence'), 'runtime_data_claims')
    if (nonce !== undefined && isJsonObject(runtimeData) && runtimeData.nonce !== nonce)
      throw new AttestationUnavailable(
        'the token of the remote attestation service is about another handshake',
      )
  }
  return {
    token,
    jti: typeof jti === 'string' ? jti : `sha256:${createHash('sha256').update(token).digest('hex')}`,
    expiresAt: new Date(exp * 1000),
    submods: entries.flatMap(([name, submod]) => submodOf(name, submod)),
  }
}

/** As KBS2 takes them. */
const deepestClaims = 96

function readClaims(token: string): JsonObject {
  const [, payload = ''] = token.split('.', 3)
  if (token.length > longestToken) throw notToken()
  let claims: JsonValue
  try {
    claims = parseJson(Buffer.from(payload, 'base64url'), { maxDepth: deepestClaims })
  } catch (cause) {
    throw notToken(cause)
  }
  if (!isJsonObject(claims)) throw notToken()
  return claims
}

const statuses = ['none', 'affirming', 'warning', 'contraindicated'] as const

function submodOf(name: string, submod: JsonValue): Evaluation['submods'] {
  const evidence = member(submod, 'ear.veraison.annotated-evidence')
  const tee = isJsonObject(evidence) ? teeOf(evidence) : undefined
  const status = statuses.find((known) => known === member(submod, 'ear.status'))
  if (tee === undefined || status === undefined) return []
  const policy = member(submod, policyExtension)
  const id = text(member(policy, 'id')) ?? text(member(submod, 'ear.appraisal-policy-id')) ?? ''
  return [{ name, tee, status, policyId: id, policySha384: text(member(policy, 'sha384')) ?? '' }]
}

/** The member that has the name of a TEE. */
function teeOf(evidence: JsonObject): Tee | undefined {
  for (const name of Object.keys(evidence)) {
    const tee = parseTee(name)
    if (tee !== undefined) return tee
  }
  return undefined
}

function member(value: JsonValue | undefined, name: string): JsonValue | undefined {
  return isJsonObject(value) ? value[name] : undefined
}

function text(value: JsonValue | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined
}

function notToken(cause?: unknown): AttestationUnavailable {
  return new AttestationUnavailable('the remote attestation service answers what is no EAR token', { cause })
}
