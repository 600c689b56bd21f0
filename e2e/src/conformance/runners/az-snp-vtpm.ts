import { type AzureSnpVtpmPolicy, createAzureSnpVtpmVerifier } from '@passport-kbs/tee-evidence'
import type { CaseRunner } from '../vector-case.ts'
import { claimsOf } from '../verified-claims.ts'
import { snpPolicyOf, verifierByPolicy } from './snp-policy.ts'

const verifierFor = verifierByPolicy((policy: AzureSnpVtpmPolicy) => createAzureSnpVtpmVerifier({ policy }))

/** `min_evidence_version` of a case, and the knobs of `snp`, select the verifier. */
export const runner: CaseRunner = {
  async run(vectorCase) {
    const version = vectorCase.option('min_evidence_version') ?? 0
    if (version !== 0 && version !== 1 && version !== 2) throw new Error(`min_evidence_version ${version}`)
    const { allowedVmpl: _, ...policy } = snpPolicyOf(vectorCase)
    const verifier = verifierFor({ ...policy, minEvidenceVersion: version })
    return claimsOf(await verifier.verify(vectorCase.evidence(), vectorCase.request))
  },
}
