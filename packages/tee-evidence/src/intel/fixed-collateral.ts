import { fail } from '../rejection.ts'
import type { CollateralDocument, CollateralSource, QuoteCollateral } from './collateral.ts'

/**
 * A source that answers every request with the same documents, for tests and for verifying at a time in the past.
 * @param documents what there is; a missing document is `COLLATERAL_UNAVAILABLE`
 */
export function fixedCollateral(documents: Partial<QuoteCollateral>): CollateralSource {
  const document = (name: keyof QuoteCollateral): CollateralDocument =>
    documents[name] ?? fail('COLLATERAL_UNAVAILABLE', `no ${name}`)
  return {
    async collateralFor() {
      return {
        tcbInfo: document('tcbInfo'),
        qeIdentity: document('qeIdentity'),
        pckCrl: document('pckCrl'),
        rootCaCrl: document('rootCaCrl'),
      }
    },
  }
}
