import { type JsonObject, jsonObject, type TrustTier, type TrustVector } from '@passport-kbs/protocol'
import { policyExtension } from './extensions.ts'

/** What one entry of a token says about one attester. */
export interface Appraisal {
  readonly status: TrustTier
  readonly vector: TrustVector
  /** Id of the policy without its class. */
  readonly policyId: string
  /** Id as stored, and the hash of the text applied. */
  readonly policy: { readonly id: string; readonly sha384: string }
  readonly annotatedEvidence: JsonObject
  /** Members that the policy added. */
  readonly extensions: JsonObject
}

/** What every token of a service says (spec 02 §3.5). */
export interface TokenProfile {
  readonly profileName: string
  readonly developerName: string
  readonly buildName: string
  readonly issuerName: string
  readonly audience: string | readonly string[] | undefined
  readonly durationSeconds: number
  /** Minted where unsafe things are possible: marked. */
  readonly development: boolean
}

/** Top-level claim of a token that was minted in the profile `development`. */
export const profileClaim = 'passport-kbs.profile'

/** The payload of an EAR token (spec 02 §3.2), with `nbf` and `jti` always and `aud` where one is configured. */
export function earPayload(
  submods: readonly { readonly name: string; readonly appraisal: Appraisal }[],
  profile: TokenProfile,
  { now, jti }: { readonly now: Date; readonly jti: string },
): JsonObject {
  const entries = submods
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, appraisal }) => [name, submod(appraisal)])
  const iat = Math.floor(now.getTime() / 1000)
  return jsonObject({
    eat_profile: profile.profileName,
    iat,
    nbf: iat,
    exp: iat + profile.durationSeconds,
    jti,
    iss: profile.issuerName,
    ...(profile.audience === undefined
      ? {}
      : { aud: typeof profile.audience === 'string' ? profile.audience : [...profile.audience] }),
    'ear.verifier-id': jsonObject({ developer: profile.developerName, build: profile.buildName }),
    ...(profile.development ? { [profileClaim]: 'development' } : {}),
    submods: jsonObject(Object.fromEntries(entries)),
  })
}

function submod({ status, vector, policyId, policy, annotatedEvidence, extensions }: Appraisal): JsonObject {
  return jsonObject({
    'ear.status': status,
    'ear.trustworthiness-vector': jsonObject(vector as Record<string, number>),
    'ear.appraisal-policy-id': policyId,
    'ear.veraison.annotated-evidence': annotatedEvidence,
    ...extensions,
    [policyExtension]: jsonObject({ ...policy }),
  })
}
