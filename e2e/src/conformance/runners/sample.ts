import { createSampleVerifier } from '@passport-kbs/tee-evidence'
import type { CaseRunner } from '../vector-case.ts'
import { claimsOf } from '../verified-claims.ts'

/** Off unless the option `enabled` of a case says otherwise, as in the service. */
export const runner: CaseRunner = {
  async run(vectorCase) {
    const verifier = createSampleVerifier({ enabled: vectorCase.option('enabled') === true })
    return claimsOf(await verifier.verify(vectorCase.evidence(), vectorCase.request))
  },
}
