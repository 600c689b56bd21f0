import { z } from 'zod'
import { JsonDecimal, type JsonObject, type JsonValue } from './json.ts'
import { resolvePointer } from './json-pointer.ts'
import { checkedMessage } from './message-schema.ts'
import { parseTeePublicKey, type TeeKeyPolicy, type TeePublicKey } from './tee-key.ts'

/** Claims of attestation tokens: EAT Attestation Results as Trustee writes them (spec 02 §3), and what others share. */

/** Tiers of AR4SI, from the best to the worst that a verifier can say; `none` says nothing (spec 02 §2.8). */
export const trustTiers = ['none', 'affirming', 'warning', 'contraindicated'] as const

export type TrustTier = (typeof trustTiers)[number]

/** The claims of a trustworthiness vector, in the order in which tokens list them. */
export const trustClaimNames = [
  'instance-identity',
  'configuration',
  'executables',
  'file-system',
  'hardware',
  'runtime-opaque',
  'storage-opaque',
  'sourced-data',
] as const

export type TrustClaimName = (typeof trustClaimNames)[number]

/** −128 to 127 each. */
export type TrustVector = { readonly [name in TrustClaimName]?: number }

/** `ear.veraison.annotated-evidence`: the evidence's claims under the TEE's name, and what they bind. */
export interface AnnotatedEvidence extends JsonObject {
  [tee: string]: JsonValue
}

export interface EarSubmod extends JsonObject {
  'ear.status': TrustTier
  'ear.trustworthiness-vector': { [name in TrustClaimName]?: number } & JsonObject
  'ear.appraisal-policy-id': string
  'ear.veraison.annotated-evidence': AnnotatedEvidence
}

export interface EarClaims extends JsonObject {
  eat_profile: string
  /** Seconds since 1970. */
  iat: number
  exp: number
  iss: string
  'ear.verifier-id': { developer: string; build: string }
  submods: { [name: string]: EarSubmod }
}

/** The tier of one claim of the vector; values outside −128 to 127 have none (spec 02 §2.8). */
export function trustTier(value: number): TrustTier | undefined {
  if (!Number.isInteger(value) || value < -128 || value > 127) return undefined
  if (value >= -1 && value <= 1) return 'none'
  const magnitude = value < 0 ? -value - 1 : value
  if (magnitude < 32) return 'affirming'
  return magnitude < 96 ? 'warning' : 'contraindicated'
}

/** The status of a submod: the worst tier of its claims. Claims that are not set count as `none`. */
export function worstTier(vector: TrustVector): TrustTier | undefined {
  const tiers = Object.values(vector).map(trustTier)
  if (tiers.includes(undefined)) return undefined
  return trustTiers.findLast((tier) => tiers.includes(tier)) ?? 'none'
}

const text = z.string().min(1).max(1024)
const seconds = z.number().int().nonnegative()
const vectorSchema = z.partialRecord(z.enum(trustClaimNames), z.number().int().min(-128).max(127))

const submodSchema = z.looseObject({
  'ear.status': z.enum(trustTiers),
  'ear.trustworthiness-vector': vectorSchema.optional(),
  'ear.appraisal-policy-id': text,
  'ear.veraison.annotated-evidence': z.looseObject({}),
})

/** Payload of the tokens that our attestation service mints. */
export const earSchema = z.looseObject({
  eat_profile: text,
  iat: seconds,
  exp: seconds,
  iss: text,
  'ear.verifier-id': z.looseObject({ developer: text, build: text }),
  submods: z
    .record(z.string().max(64), submodSchema)
    .refine((submods) => Object.keys(submods).length > 0, 'at least one submod expected'),
})

/** Checks the shape of an EAR. Returns the same object, typed. @throws MessageError */
export function parseEarClaims(claims: JsonValue): EarClaims {
  checkedMessage(earSchema, claims)
  return claims as EarClaims
}

/** What every attestation token has, whoever issued it. Times are in seconds since 1970, fractions cut off. */
export interface TokenClaims {
  readonly exp: number
  readonly iat?: number
  readonly nbf?: number
  readonly iss?: string
  readonly aud?: readonly string[]
  readonly eatProfile?: string
  /** All claims, unmodified: the input of the resource policy. */
  readonly all: JsonObject
}

const numericDate = z
  .union([z.number(), z.instanceof(JsonDecimal).transform((decimal) => decimal.toNumber())])
  .pipe(z.number().min(0).max(Number.MAX_SAFE_INTEGER))
  .transform(Math.floor)

const tokenSchema = z.looseObject({
  exp: numericDate,
  iat: numericDate.optional(),
  nbf: numericDate.optional(),
  iss: z.string().max(1024).optional(),
  aud: z
    .union([
      z
        .string()
        .max(1024)
        .transform((audience) => [audience]),
      z.array(z.string().max(1024)).max(64),
    ])
    .optional(),
  eat_profile: z.string().max(1024).optional(),
})

/**
 * Checks the shape of any attestation token's payload: `exp` is required and numeric (spec 01 §4.2). Whether times,
 * issuer and audience are right is for the caller, who has a clock and a configuration.
 * @throws MessageError
 */
export function parseTokenClaims(claims: JsonValue): TokenClaims {
  const { exp, iat, nbf, iss, aud, eat_profile: eatProfile } = checkedMessage(tokenSchema, claims)
  return {
    exp,
    ...(iat === undefined ? {} : { iat }),
    ...(nbf === undefined ? {} : { nbf }),
    ...(iss === undefined ? {} : { iss }),
    ...(aud === undefined ? {} : { aud }),
    ...(eatProfile === undefined ? {} : { eatProfile }),
    all: claims as JsonObject,
  }
}

/** Where tokens of known issuers carry the TEE's key, after the operator's own pointers (spec 01 §4.3). */
export const teeKeyPointers: readonly string[] = Object.freeze([
  '/tdx/attester_runtime_data/tee-pubkey',
  '/tdx/attester_user_data/tee-pubkey',
  '/sgx/attester_runtime_data/tee-pubkey',
  '/customized_claims/runtime_data/tee-pubkey',
  '/submods/cpu0/ear.veraison.annotated-evidence/runtime_data_claims/tee-pubkey',
  '/tee-pubkey',
])

/** Where the claims of the init-data document are, for plugins (spec 01 §1.4). */
export const initDataClaimsPointer = '/submods/cpu0/ear.veraison.annotated-evidence/init_data_claims'

/**
 * The TEE's key in verified claims: the first pointer that exists decides, whatever is there.
 * @param extraPaths the operator's JSON pointers, tried first.
 * @returns undefined if no pointer exists.
 * @throws TeeKeyError if what is there is no usable key; TypeError if a pointer is malformed.
 */
export function findTeePublicKey(
  claims: JsonValue,
  extraPaths: readonly string[] = [],
  policy?: TeeKeyPolicy,
): TeePublicKey | undefined {
  for (const pointer of [...extraPaths, ...teeKeyPointers]) {
    const found = resolvePointer(claims, pointer)
    if (found !== undefined) return parseTeePublicKey(found, policy)
  }
  return undefined
}
