import {
  isJsonObject,
  type JsonValue,
  type TrustClaimName,
  type TrustTier,
  type TrustVector,
  trustClaimNames,
  worstTier,
} from '@passport-kbs/protocol'
import { AttestationPolicyError } from './attestation-service.ts'

/** What stands in a token whose policy makes no statement at all. */
export const emptyTrustVector: TrustVector = Object.freeze(
  Object.fromEntries(trustClaimNames.map((name) => [name, 0])),
)

/**
 * Reads the `trust_claims` of a policy (spec 02 §2.8), in the order of a token.
 * @throws AttestationPolicyError unless it is an object with at least one claim, known names only, and integers from
 * −128 to 127. Trustee lets larger ones wrap around, where 258 becomes an affirming 2.
 */
export function readTrustVector(value: JsonValue): TrustVector {
  if (!isJsonObject(value)) throw new AttestationPolicyError('trust_claims is not an object')
  const entries = Object.entries(value)
  if (entries.length === 0)
    throw new AttestationPolicyError('trust_claims is empty: at least one claim must be set')
  const unknown = entries.find(([name]) => !(trustClaimNames as readonly string[]).includes(name))
  if (unknown) {
    throw new AttestationPolicyError(
      `trust_claims has the unknown claim ${JSON.stringify(unknown[0].slice(0, 64))}`,
    )
  }
  return Object.fromEntries(
    trustClaimNames.flatMap((name) => {
      const claim = value[name]
      return claim === undefined ? [] : [[name, claimValue(name, claim)]]
    }),
  )
}

/** The worst tier over all claims. A claim that is not set counts as `none`. */
export function trustStatus(vector: TrustVector): TrustTier {
  const tier = worstTier(vector)
  if (tier === undefined) throw new AttestationPolicyError('trust_claims has a value outside -128 to 127')
  return tier
}

function claimValue(name: TrustClaimName, value: JsonValue): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < -128 || value > 127) {
    throw new AttestationPolicyError(`trust_claims: ${name} is not an integer from -128 to 127`)
  }
  return value
}
