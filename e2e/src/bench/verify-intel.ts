import { createHash } from 'node:crypto'
import type { JsonValue } from '@passport-kbs/protocol'
import {
  createAzureTdxVtpmVerifier,
  createDcap,
  createSgxVerifier,
  createTdxVerifier,
  fixedCollateral,
  intelRoot,
  type Verifier,
} from '@passport-kbs/tee-evidence'
import {
  createVirtualAzureTdxVm,
  createVirtualIntel,
  enclaveEvidence,
  tdEvidence,
} from '@passport-kbs/testing'
import type { Scenario } from './verify.ts'

/**
 * Intel's TEEs under a virtual root: same sizes, same number of signatures as real ones. "Warm" is the usual case, with
 * collateral that has been verified before; "cold" verifies it each time.
 */
export async function intelScenarios(): Promise<Scenario[]> {
  const now = new Date('2026-01-15T12:00:00Z')
  const intel = createVirtualIntel(now)
  const root = intelRoot(intel.rootCertificate)
  const platform = intel.platform()
  const reportData = createHash('sha384').update('runtime data').digest()
  const served = { tdx: intel.collateral(), sgx: intel.collateral({ tee: 'sgx' }) }
  const dcap = (tee: 'tdx' | 'sgx') =>
    // new objects, as a source gives them that has just fetched them
    createDcap({ root, collateral: fixedCollateral(structuredClone(served[tee])) })
  const verifying = (name: string, verifier: () => Verifier, evidence: JsonValue): Scenario => ({
    name,
    async once() {
      const [entry] = await verifier().verify(evidence, { now, expectedReportData: reportData })
      if (entry?.claims.tcb_status !== 'UpToDate') throw new Error(`${name}: not up to date`)
    },
  })
  const tdx = createTdxVerifier({ dcap: dcap('tdx') })
  const sgx = createSgxVerifier({ dcap: dcap('sgx') })
  const azure = createAzureTdxVtpmVerifier({ dcap: dcap('tdx') })
  const td4 = { ...tdEvidence(platform, { reportData }) }
  const td5 = { ...tdEvidence(platform, { reportData, version: 5 }) }
  const enclave = { ...enclaveEvidence(platform, { reportData }) }
  return [
    verifying('tdx v4, warm', () => tdx, td4),
    verifying('tdx v5, warm', () => tdx, td5),
    verifying('tdx v4, cold', () => createTdxVerifier({ dcap: dcap('tdx') }), td4),
    verifying('sgx v3, warm', () => sgx, enclave),
    verifying('sgx v3, cold', () => createSgxVerifier({ dcap: dcap('sgx') }), enclave),
    verifying(
      'az-tdx-vtpm v2, warm',
      () => azure,
      createVirtualAzureTdxVm(platform).evidence({ reportData }),
    ),
  ]
}
