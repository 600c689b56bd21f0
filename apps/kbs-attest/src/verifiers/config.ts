import type { BuiltInAttestationConfig, Config } from '@passport-kbs/service'

export type VerifierConfig = BuiltInAttestationConfig['verifierConfig']
export type Profile = Config['profile']

/** The schema admits 0, 1 and 2 only. */
export function evidenceVersion(version: number): 0 | 1 | 2 {
  return version === 2 ? 2 : version === 1 ? 1 : 0
}
