import { createSnpVerifier } from '@passport-kbs/tee-evidence'
import type { CaseRunner } from '../vector-case.ts'
import { claimsOf } from '../verified-claims.ts'

const verifier = createSnpVerifier()

export const runner: CaseRunner = {
  async run(vectorCase) {
    return claimsOf(await verifier.verify(vectorCase.evidence(), vectorCase.request))
  },
}
