import { createHash } from 'node:crypto'
import { createCsvVerifier, hygonRoot, type Verifier } from '@passport-kbs/tee-evidence'
import { createVirtualHygonChip, createVirtualHygonRoot } from '@passport-kbs/testing'
import type { Scenario } from './verify.ts'

/** Hygon CSV under a virtual root. "Warm": HSK and CEK of the chip have been verified before. */
export function hygonScenarios(): Scenario[] {
  const now = new Date()
  const root = createVirtualHygonRoot()
  const reportData = createHash('sha384').update('runtime data').digest()
  const evidence = createVirtualHygonChip({ root }).evidence({ reportData })
  const trust = { root: hygonRoot(root.certificate) }
  const verifying = (name: string, verifier: () => Verifier): Scenario => ({
    name,
    async once() {
      const [entry] = await verifier().verify(evidence, { now, expectedReportData: reportData })
      if (entry === undefined) throw new Error(`${name}: no claims`)
    },
  })
  const csv = createCsvVerifier(trust)
  return [verifying('csv v2, warm', () => csv), verifying('csv v2, cold', () => createCsvVerifier(trust))]
}
