import type { Attester } from '@passport-kbs/guest-client'
import { sampleAttester } from '@passport-kbs/guest-client'
import { encodeHex, type JsonObject, jsonObject, resolvePointer } from '@passport-kbs/protocol'
import {
  createVirtualAzureSnpVm,
  createVirtualSnpMachine,
  pem,
  type VirtualAmdRoots,
  virtualAmdRoots,
} from '@passport-kbs/testing'

/** A guest's TEE, and what its operator knows of it without asking any server. */
export interface VirtualTee {
  readonly attester: Attester
  /** Under which exactly this guest is affirming, by the default attestation policy (docs/attestation.md). */
  readonly referenceValues: JsonObject
}

/** The TEEs that these tests go through. */
export const virtualTees = {
  snp: virtualSnp,
  'az-snp-vtpm': virtualAzureSnp,
  sample: virtualSample,
} as const satisfies Readonly<Record<string, () => VirtualTee>>

export type VirtualTeeName = keyof typeof virtualTees

export const virtualTeeNames = Object.keys(virtualTees) as VirtualTeeName[]

function virtualSnp(): VirtualTee {
  const machine = createVirtualSnpMachine({ generation: 'Milan' })
  const { tcb } = machine
  return {
    attester: { tee: 'snp', evidence: async (reportData) => machine.evidence({ reportData }) },
    referenceValues: jsonObject({
      snp_launch_measurement: [encodeHex(machine.measurement)],
      snp_bootloader: [tcb.bootloader],
      snp_microcode: [tcb.microcode],
      snp_snp_svn: [tcb.snp],
      snp_tee_svn: [tcb.tee],
      snp_smt_enabled: true,
      snp_tsme_enabled: false,
      snp_guest_abi_major: 0,
      snp_guest_abi_minor: 31,
      snp_single_socket: false,
      snp_smt_allowed: true,
    }),
  }
}

function virtualAzureSnp(): VirtualTee {
  const vm = createVirtualAzureSnpVm({ generation: 'Genoa' })
  const { tcb, measurement } = vm.machine
  const text = (value: unknown) => [String(value)]
  return {
    attester: { tee: 'az-snp-vtpm', evidence: async (reportData) => vm.evidence({ reportData }) },
    referenceValues: jsonObject({
      measurement: [Buffer.from(measurement).toString('base64')],
      snp_pcr11: [pcr11Of(vm.evidence({ reportData: new Uint8Array(48) }))],
      tcb_bootloader: text(tcb.bootloader),
      tcb_microcode: text(tcb.microcode),
      tcb_snp: text(tcb.snp),
      tcb_tee: text(tcb.tee),
      smt_enabled: text(true),
      tsme_enabled: text(false),
      abi_major: text(0),
      abi_minor: text(31),
      single_socket: text(false),
      smt_allowed: text(true),
    }),
  }
}

/** Hex, from the quote that the VM makes. */
function pcr11Of(evidence: JsonObject): string {
  return String(resolvePointer(evidence, '/tpm_quote/pcrs/11'))
}

function virtualSample(): VirtualTee {
  return {
    attester: sampleAttester(),
    referenceValues: jsonObject({
      launch_digest: ['abcde'],
      svn: ['1'],
      major_version: 1,
      minimum_minor_version: 4,
    }),
  }
}

/** The virtual AMD's certificates as files of a `trusted_roots` folder, by name: ASK, ARK, ASVK in each. */
export function rootFiles(roots: VirtualAmdRoots = virtualAmdRoots()): ReadonlyMap<string, string> {
  return new Map(
    Object.entries(roots).map(([generation, { ask, ark, asvk }]) => [
      `${generation.toLowerCase()}_ask_ark_asvk.pem`,
      [ask, ark, asvk].map((der) => pem('CERTIFICATE', der)).join(''),
    ]),
  )
}
