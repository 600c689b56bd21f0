import { createSnpVerifier, type SnpPolicy } from '@passport-kbs/tee-evidence'
import type { CaseRunner } from '../vector-case.ts'
import { claimsOf } from '../verified-claims.ts'
import { snpPolicyOf, verifierByPolicy } from './snp-policy.ts'

const verifierFor = verifierByPolicy((policy: SnpPolicy) => createSnpVerifier({ policy }))

export const runner: CaseRunner = {
  async run(vectorCase) {
    const verifier = verifierFor(snpPolicyOf(vectorCase))
    return claimsOf(await verifier.verify(vectorCase.evidence(), vectorCase.request))
  },
}
