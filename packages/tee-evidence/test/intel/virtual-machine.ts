import { type CollateralOptions, createVirtualIntel, type ServedCollateral } from '@passport-kbs/testing'
import { createDcap, type Dcap, EvidenceRejected, fixedCollateral, intelRoot } from '../../src/index.ts'

/** The time at which everything in these tests is valid. */
export const now = new Date('2026-01-15T12:00:00Z')

/** One vendor and one machine for all tests of a file: making keys takes longer than verifying. */
export const intel = createVirtualIntel(now)
export const root = intelRoot(intel.rootCertificate)
export const platform = intel.platform()
export const { fmspc } = platform

/** DCAP under the virtual root with collateral out of `options`, or as served. */
export function dcapWith(collateral: CollateralOptions | ServedCollateral = {}, reportExpired = false): Dcap {
  const documents = 'tcbInfo' in collateral ? collateral : intel.collateral(collateral)
  return createDcap({ root, collateral: fixedCollateral(documents), reportExpired })
}

/** The rejection that `verify` ends in; an acceptance, or any other exception, fails the test. */
export async function rejection(
  verify: Promise<unknown>,
): Promise<{ code: string; check: string; outage: boolean }> {
  try {
    await verify
  } catch (error) {
    if (error instanceof EvidenceRejected)
      return { code: error.code, check: error.check, outage: error.outage }
    throw error
  }
  throw new Error('accepted, although it must be rejected')
}
