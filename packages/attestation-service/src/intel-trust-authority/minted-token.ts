import {
  canonicalJson,
  decodeBase64UrlNoPad,
  decodeHex,
  EncodingError,
  encodeHex,
  isJsonObject,
  type JsonObject,
  JsonSyntaxError,
  parseJson,
  type Tee,
} from '@passport-kbs/protocol'
import { EvidenceRejected, type RejectionCode } from '@passport-kbs/tee-evidence'
import { z } from 'zod'
import { AttestationPolicyError, AttestationUnavailable, type Evaluation } from '../attestation-service.ts'
import type { ExpectedEvidence, PolicyChoice } from './attest-request.ts'

/** Verifies signature, issuer and times of a token by Intel's published keys, which it keeps up to date. */
export interface TokenVerifier {
  /** Rejects for a token that is not to be trusted. */
  verify(token: string): Promise<{ readonly claims: JsonObject; readonly expiresAt: Date }>
  /** Rejects while no keys are at hand. */
  ping(): Promise<void>
  close(): void
}

/** What Intel signs with (spec 02 §8.4). */
const algorithms = ['PS384', 'RS256']

/** Intel's regions have portals of their own. */
const profileForm = /^https:\/\/portal\.(?:[a-z0-9-]+\.)?trustauthority\.intel\.com\/eat_profile\.html$/

const policyEntries = z
  .array(z.looseObject({ id: z.string().max(64) }))
  .max(256)
  .nullish()

const claimsSchema = z.looseObject({
  jti: z.string().min(1).max(256),
  eat_profile: z.string().regex(profileForm),
  policy_ids_matched: policyEntries,
  policy_ids_unmatched: policyEntries,
})

type Claims = z.infer<typeof claimsSchema>

/**
 * Verifies the token that Intel answered with, before it is handed out: as a token of Intel, never by a key that it brings
 * along itself, and as one for this very evidence, key and nonce.
 * @throws AttestationUnavailable for a token that Intel would not mint, EvidenceRejected for one that is for other evidence
 * or for a guest that its host may debug, AttestationPolicyError where a policy does not match.
 */
export async function readMintedToken(
  token: string,
  expected: ExpectedEvidence,
  context: {
    readonly tokens: TokenVerifier
    readonly policies: PolicyChoice
    readonly allowDebug: boolean
  },
): Promise<Evaluation> {
  requireIntelHeader(token)
  const verified = await context.tokens.verify(token).catch((cause: unknown) => {
    throw untrusted(cause instanceof Error ? cause.message : 'it does not verify', cause)
  })
  const claims = claimsSchema.safeParse(verified.claims)
  if (!claims.success)
    throw untrusted(`unusable claims ${claims.error.issues.map(({ path }) => path.join('.')).join(', ')}`)
  requireBoundTo(expected, verified.claims, context.allowDebug)
  const matched = matchedPolicies(claims.data, context.policies)
  return {
    token,
    jti: claims.data.jti,
    expiresAt: verified.expiresAt,
    submods: submodsOf(expected, matched),
  }
}

/** A key in the header is no reason for trust, and Intel's tokens have none (spec 02 W-18a). */
function requireIntelHeader(token: string): void {
  const header = headerOf(token)
  for (const name of ['jwk', 'x5c', 'x5u'])
    if (Object.hasOwn(header, name)) throw untrusted(`its header brings its own key (${name})`)
  if (typeof header.alg !== 'string' || !algorithms.includes(header.alg))
    throw untrusted(`its algorithm is not one of ${algorithms.join(', ')}`)
  if (typeof header.kid !== 'string') throw untrusted('it names no key')
}

function headerOf(token: string): JsonObject {
  try {
    const header = parseJson(decodeBase64UrlNoPad(token.slice(0, token.indexOf('.'))))
    if (isJsonObject(header)) return header
  } catch (cause) {
    if (!(cause instanceof EncodingError || cause instanceof JsonSyntaxError)) throw cause
  }
  throw untrusted('its header is no JSON object')
}

function requireBoundTo(expected: ExpectedEvidence, claims: JsonObject, allowDebug: boolean): void {
  const name = expected.tee === 'sgx' ? 'sgx' : 'tdx'
  const evidence = claims[name]
  if (!isJsonObject(evidence)) throw untrusted(`there are no claims "${name}"`)
  const type = evidence.attester_type
  if (typeof type !== 'string' || !type.toLowerCase().includes(name))
    throw untrusted(`attester_type is not ${name}`)
  const runtimeData = evidence[expected.runtimeDataClaim]
  if (runtimeData === undefined || canonicalJson(runtimeData) !== canonicalJson(expected.runtimeData))
    throw rejected('REPORT_DATA_MISMATCH', `${name}.${expected.runtimeDataClaim} is of another session`)
  requirePrefix(evidence, `${name}_report_data`, expected.reportData, 'REPORT_DATA_MISMATCH')
  if (expected.initDataDigest !== undefined) {
    const [claim, size] = name === 'tdx' ? ['tdx_mrconfigid', 48] : ['sgx_config_id', 64]
    requirePrefix(evidence, claim, padded(expected.initDataDigest, size), 'INIT_DATA_MISMATCH')
  }
  if (!allowDebug && evidence[`${name}_is_debuggable`] !== false)
    throw rejected('DEBUG_NOT_ALLOWED', `${name}_is_debuggable is not false`)
  if (expected.hasGpu) requireGpu(claims)
}

/** Of evidence that was sent nothing may be missing (spec 02 W-18). */
function requireGpu({ nvgpu }: JsonObject): void {
  if (!isJsonObject(nvgpu)) throw untrusted('there are no claims "nvgpu"')
  if (nvgpu['x-nvidia-overall-att-result'] !== true)
    throw rejected('EVIDENCE_MALFORMED', 'the GPUs did not pass')
}

/** Longer digests are cut to the field, shorter ones followed by zeros (spec 04 §3). */
function padded(digest: Uint8Array, size: number): Uint8Array {
  const field = new Uint8Array(size)
  field.set(digest.subarray(0, size))
  return field
}

function requirePrefix(claims: JsonObject, name: string, bytes: Uint8Array, code: RejectionCode): void {
  const value = claims[name]
  const same = typeof value === 'string' && hexBytes(value)?.startsWith(encodeHex(bytes)) === true
  if (!same) throw rejected(code, `${name} is not the expected one`)
}

function hexBytes(text: string): string | undefined {
  try {
    return encodeHex(decodeHex(text))
  } catch {
    return undefined
  }
}

/** Intel enforces `policy_must_match`; what its token says of it is not taken on faith. */
function matchedPolicies(claims: Claims, policies: PolicyChoice): readonly string[] {
  const ids = (entries: Claims['policy_ids_matched']) => (entries ?? []).map(({ id }) => id.toLowerCase())
  const matched = ids(claims.policy_ids_matched)
  const wanted = policies.policyIds.map((id) => id.toLowerCase())
  const missing = wanted.filter((id) => !matched.includes(id))
  if (!policies.allowUnmatchedPolicy) {
    if (missing.length > 0)
      throw new AttestationPolicyError(`Intel Trust Authority: policies not matched: ${missing.join(', ')}`)
    if (wanted.length > 0 && ids(claims.policy_ids_unmatched).length > 0)
      throw new AttestationPolicyError('Intel Trust Authority: the token has unmatched policies')
  }
  return wanted.filter((id) => matched.includes(id))
}

/** Intel's tokens have no tiers: evidence that passed policies counts as affirmed, without policies nothing is said. */
function submodsOf(expected: ExpectedEvidence, matched: readonly string[]): Evaluation['submods'] {
  const appraisal = {
    status: matched.length > 0 ? 'affirming' : 'none',
    policyId: matched.join(' '),
    policySha384: '',
  } as const
  const tees: [string, Tee][] = [['cpu0', expected.tee]]
  if (expected.hasGpu) tees.push(['gpu0', 'nvidia'])
  return tees.map(([name, tee]) => ({ name, tee, ...appraisal }))
}

function rejected(code: RejectionCode, detail: string): EvidenceRejected {
  return new EvidenceRejected(code, 'intel-trust-authority', detail)
}

function untrusted(why: string, cause?: unknown): AttestationUnavailable {
  return new AttestationUnavailable(`Intel Trust Authority: the token is refused: ${why}`, { cause })
}
