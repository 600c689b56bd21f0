import type { AttestationServiceConfig, Config } from '@passport-kbs/service'

export type VerifierConfig = AttestationServiceConfig['verifierConfig']
export type Profile = Config['profile']

/** The schema admits 0, 1 and 2 only. */
export function evidenceVersion(version: number): 0 | 1 | 2 {
  return version === 2 ? 2 : version === 1 ? 1 : 0
}
