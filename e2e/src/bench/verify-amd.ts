import { createHash } from 'node:crypto'
import type { JsonValue } from '@passport-kbs/protocol'
import { createAzureSnpVtpmVerifier, createSnpVerifier, type Verifier } from '@passport-kbs/tee-evidence'
import { createVirtualAzureSnpVm, createVirtualSnpMachine } from '@passport-kbs/testing'
import type { Scenario } from './verify.ts'

/** AMD's TEEs under virtual roots. "Warm": the machine has attested before; "cold": its certificate is new each time. */
export function amdScenarios(): Scenario[] {
  const now = new Date()
  const machine = createVirtualSnpMachine({ now })
  const vm = createVirtualAzureSnpVm({ now })
  const reportData = createHash('sha384').update('runtime data').digest()
  const verifying = (name: string, verifier: () => Verifier, evidence: JsonValue): Scenario => ({
    name,
    async once() {
      const [entry] = await verifier().verify(evidence, { now, expectedReportData: reportData })
      if (entry === undefined) throw new Error(`${name}: no claims`)
    },
  })
  const snp = createSnpVerifier({ roots: machine.roots })
  const azure = createAzureSnpVtpmVerifier({ roots: vm.roots })
  const evidence = machine.evidence({ reportData })
  return [
    verifying('snp, warm', () => snp, evidence),
    verifying('snp, cold', () => createSnpVerifier({ roots: machine.roots }), evidence),
    verifying('az-snp-vtpm v2, warm', () => azure, vm.evidence({ reportData })),
  ]
}
