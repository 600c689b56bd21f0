/** Evidence of AMD's TEEs, as a guest sends it, through the whole verifier. */
import { JsonSyntaxError, parseJson } from '@passport-kbs/protocol'
import { createAzureSnpVtpmVerifier, createSnpVerifier, EvidenceRejected } from '@passport-kbs/tee-evidence'
import {
  type AzureSnpDefectName,
  azureSnpDefects,
  createVirtualAzureSnpVm,
  createVirtualSnpMachine,
  type SnpDefectName,
  snpDefects,
  vtpmDefects,
} from '@passport-kbs/testing'
import type { FuzzTarget } from '../target.ts'
import { jsonSeeds, vectorSeeds } from './seeds.ts'

const now = new Date('2026-03-01T12:00:00Z')
const reportData = new Uint8Array(48).fill(7)
const initDataDigest = new Uint8Array(32).fill(9)
const request = { now, expectedReportData: reportData, expectedInitDataDigest: initDataDigest }

const machines = [
  createVirtualSnpMachine({ generation: 'Milan', now }),
  createVirtualSnpMachine({ generation: 'Turin', now }),
  createVirtualSnpMachine({ generation: 'Genoa', endorsement: 'vlek', now }),
]
const [machine] = machines
const snpVerifier = createSnpVerifier(machine === undefined ? {} : { roots: machine.roots })

export const snp: FuzzTarget = {
  name: 'snp',
  rejections: [JsonSyntaxError, EvidenceRejected],
  seeds: () => [
    ...jsonSeeds(machines.map((each) => each.evidence({ reportData, initDataDigest }))),
    ...jsonSeeds(
      (Object.keys(snpDefects) as SnpDefectName[]).map((defect) =>
        machine?.evidence({ reportData, initDataDigest, defect }),
      ),
    ),
    ...vectorSeeds('snp', /^evidence-.*v\d\.json$/),
  ],
  run: (input) => snpVerifier.verify(parseJson(input), request),
}

const vm = createVirtualAzureSnpVm({ generation: 'Genoa', now })
const azureDefectNames = Object.keys({ ...azureSnpDefects, ...vtpmDefects }) as AzureSnpDefectName[]
const azureVerifier = createAzureSnpVtpmVerifier({ roots: vm.roots })

export const azSnpVtpm: FuzzTarget = {
  name: 'az-snp-vtpm',
  rejections: [JsonSyntaxError, EvidenceRejected],
  seeds: () => [
    ...jsonSeeds(([0, 1, 2] as const).map((version) => vm.evidence({ reportData, initDataDigest, version }))),
    ...jsonSeeds(azureDefectNames.map((defect) => vm.evidence({ reportData, initDataDigest, defect }))),
    ...vectorSeeds('az-snp-vtpm', /^evidence-(genoa|v1)\.json$/),
  ],
  run: (input) => azureVerifier.verify(parseJson(input), request),
}
