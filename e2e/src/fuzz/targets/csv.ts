/** Evidence of Hygon's CSV through the whole verifier. */
import { JsonSyntaxError, parseJson } from '@passport-kbs/protocol'
import { createCsvVerifier, EvidenceRejected, hygonRoot } from '@passport-kbs/tee-evidence'
import { createVirtualHygonChip, createVirtualHygonRoot, virtualEventLog } from '@passport-kbs/testing'
import type { FuzzTarget } from '../target.ts'
import { jsonSeeds, vectorSeeds } from './seeds.ts'

const reportData = new Uint8Array(48).fill(7)
const request = { now: new Date('2026-01-15T00:00:00Z'), expectedReportData: reportData }
const root = createVirtualHygonRoot()
const chip = createVirtualHygonChip({ root })
const verifier = createCsvVerifier({ root: hygonRoot(root.certificate) })

export const csv: FuzzTarget = {
  name: 'csv',
  rejections: [JsonSyntaxError, EvidenceRejected],
  seeds: () => [
    ...jsonSeeds([
      chip.evidence({ reportData, version: 1 }),
      chip.evidence({ reportData, version: 2 }),
      chip.evidence({ reportData, version: 2, eventLog: virtualEventLog({ banks: ['sm3'] }) }),
      chip.evidence({ reportData, version: 1, withChain: false }),
    ]),
    ...vectorSeeds('csv', /^evidence-.*\.json$/),
  ],
  run: (input) => verifier.verify(parseJson(input), request),
}
