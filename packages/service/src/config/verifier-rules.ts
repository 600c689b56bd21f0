import type { ConfigProblem } from './config-error.ts'
import type { RawConfig } from './schema.ts'

type VerifierConfig = Extract<
  RawConfig['attestation_service'],
  { type: 'coco_as_builtin' }
>['verifier_config']

const section = 'attestation_service.verifier_config'

/** Settings of verifiers that cannot work together. */
export function verifierContradictions({ snp_verifier: snp }: VerifierConfig): ConfigProblem[] {
  if (snp.risk.max_crl_age_days === undefined || snp.crl_policy !== 'off') return []
  return [
    {
      path: `${section}.snp_verifier.risk.max_crl_age_days`,
      problem: 'no revocation list is read, so that every guest would break this rule',
      remedy: 'Set crl_policy = "require"',
    },
  ]
}

/** Settings with which guests that their host may debug would get passports. For the production profile. */
export function debugPermissions(config: VerifierConfig): ConfigProblem[] {
  const { snp_verifier: snp, dcap_verifier: dcap, csv_verifier: csv } = config
  const permissions: [boolean, string][] = [
    [snp.reject_debug === false, 'snp_verifier.reject_debug'],
    [dcap.allow_debug, 'dcap_verifier.allow_debug'],
    [csv.allow_debug, 'csv_verifier.allow_debug'],
  ]
  return permissions
    .filter(([given]) => given)
    .map(([, key]) => ({
      path: `${section}.${key}`,
      problem: 'guests whose memory the host may read would get passports',
      remedy: 'Remove it, or set profile = "development"',
    }))
}
