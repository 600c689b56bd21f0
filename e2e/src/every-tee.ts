import type { Attester } from '@passport-kbs/guest-client'
import {
  encodeHex,
  type JsonObject,
  type JsonValue,
  jsonObject,
  resolvePointer,
} from '@passport-kbs/protocol'
import {
  createVirtualAzureTdxVm,
  createVirtualHygonChip,
  enclaveEvidence,
  tdEvidence,
  virtualCsvMeasure,
  virtualEventLog,
  virtualMrEnclave,
  virtualMrTd,
} from '@passport-kbs/testing'
import { type VirtualTee, virtualTees } from './virtual-tees.ts'
import type { VirtualVendors } from './virtual-vendors.ts'

/** The TEEs of processors that a production installation verifies. */
export const hardwareTees = ['snp', 'az-snp-vtpm', 'tdx', 'az-tdx-vtpm', 'sgx', 'csv'] as const

export type HardwareTee = (typeof hardwareTees)[number]

/** One guest of every kind, on machines of these vendors. */
export function hardwareGuests(vendors: VirtualVendors): Readonly<Record<HardwareTee, VirtualTee>> {
  return {
    snp: virtualTees.snp(),
    'az-snp-vtpm': virtualTees['az-snp-vtpm'](),
    tdx: virtualTdx(vendors),
    'az-tdx-vtpm': virtualAzureTdx(vendors),
    sgx: virtualSgx(vendors),
    csv: virtualCsv(vendors),
  }
}

function virtualTdx({ intel }: VirtualVendors): VirtualTee {
  const platform = intel.platform()
  const { bytes: eventLog, registers: rtmrs } = virtualEventLog()
  const [, rtmr1, rtmr2] = rtmrs.map(encodeHex)
  return {
    attester: attester('tdx', (reportData) => tdEvidence(platform, { reportData, rtmrs, eventLog })),
    referenceValues: jsonObject({
      mr_td: [encodeHex(virtualMrTd)],
      rtmr_1: [rtmr1 ?? ''],
      rtmr_2: [rtmr2 ?? ''],
      xfam: ['e742060000000000'],
    }),
  }
}

function virtualAzureTdx({ intel }: VirtualVendors): VirtualTee {
  const measurement = new Uint8Array(48).fill(0x7d)
  const vm = createVirtualAzureTdxVm(intel.platform())
  const evidence = (reportData: Uint8Array) => vm.evidence({ reportData, fields: { mr_td: measurement } })
  return {
    attester: attester('az-tdx-vtpm', evidence),
    referenceValues: jsonObject({
      mr_td: [encodeHex(measurement)],
      xfam: ['e718060000000000'],
      tdx_pcr11: [String(resolvePointer(evidence(new Uint8Array(48)), '/tpm_quote/pcrs/11'))],
    }),
  }
}

function virtualSgx({ intel }: VirtualVendors): VirtualTee {
  const platform = intel.platform()
  return {
    attester: attester('sgx', (reportData) => enclaveEvidence(platform, { reportData })),
    referenceValues: jsonObject({
      sgx_mr_enclave: [encodeHex(virtualMrEnclave)],
      sgx_xfrm: ['e700000000000000'],
    }),
  }
}

function virtualCsv({ hygon }: VirtualVendors): VirtualTee {
  const chip = createVirtualHygonChip({ root: hygon })
  const eventLog = virtualEventLog({ banks: ['sm3'] })
  return {
    attester: attester('csv', (reportData) => chip.evidence({ reportData, eventLog })),
    referenceValues: jsonObject({
      csv_measure: [encodeHex(virtualCsvMeasure)],
      csv_build: [2400],
      csv_policy_noks: [0],
      csv_policy_es: [1],
      csv_policy_nosend: [0],
      csv_policy_csv3: [1],
    }),
  }
}

function attester(tee: HardwareTee, evidence: (reportData: Uint8Array) => JsonValue): Attester {
  return { tee, evidence: async (reportData) => evidence(reportData) }
}

/** Reference values of several guests, as one message registers them: lists of the same name are joined. */
export function joinReferenceValues(guests: readonly VirtualTee[]): JsonObject {
  const joined: JsonObject = jsonObject({})
  for (const { referenceValues } of guests) {
    for (const [name, value] of Object.entries(referenceValues)) {
      const known = joined[name]
      joined[name] = Array.isArray(known) && Array.isArray(value) ? [...known, ...value] : value
    }
  }
  return joined
}
