import { type AzureEvidenceVersion, createAzureSnpVtpmVerifier } from '@passport-kbs/tee-evidence'
import type { CaseRunner } from '../vector-case.ts'
import { claimsOf } from '../verified-claims.ts'

const verifiers = ([0, 1, 2] as const).map((minEvidenceVersion) =>
  createAzureSnpVtpmVerifier({ policy: { minEvidenceVersion } }),
)

/** `min_evidence_version` of a case selects the verifier. */
export const runner: CaseRunner = {
  async run(vectorCase) {
    const version = Number(vectorCase.option('min_evidence_version') ?? 0) as AzureEvidenceVersion
    const verifier = verifiers[version]
    if (verifier === undefined) throw new Error(`min_evidence_version ${version}`)
    return claimsOf(await verifier.verify(vectorCase.evidence(), vectorCase.request))
  },
}
