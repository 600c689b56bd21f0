import { createTdxVerifier } from '@passport-kbs/tee-evidence'
import type { CaseRunner } from '../vector-case.ts'
import { caseDcap, runVerifier } from './dcap-case.ts'

/** Runs `tdx` cases with the collateral bundle and trust root that they name. */
export const runner: CaseRunner = {
  run(vectorCase) {
    const { options } = vectorCase
    const verifier = createTdxVerifier({
      dcap: caseDcap(vectorCase),
      allowDebug: options.allow_debug === true,
      requireEventLog: options.require_eventlog === true,
    })
    return runVerifier(verifier, vectorCase)
  },
}
