import { fail } from '../rejection.ts'
import type { AmdGeneration } from './generation.ts'

/** Security version numbers of the firmware components; `fmc` exists on Turin only. */
export interface TcbVersion {
  readonly fmc: number | null
  readonly bootloader: number
  readonly tee: number
  readonly snp: number
  readonly microcode: number
}

export type TcbComponent = keyof TcbVersion

/** Byte positions in TCB_VERSION, 8 bytes (spec 03 §3.3). The other bytes are reserved and zero. */
const layouts: Readonly<Record<AmdGeneration, Readonly<Partial<Record<TcbComponent, number>>>>> = {
  Milan: { bootloader: 0, tee: 1, snp: 6, microcode: 7 },
  Genoa: { bootloader: 0, tee: 1, snp: 6, microcode: 7 },
  Turin: { fmc: 0, bootloader: 1, tee: 2, snp: 3, microcode: 7 },
}

/** The 8 bytes of TCB_VERSION. The caller has checked that `fmc` is a number exactly on Turin. */
export function encodeTcbVersion(tcb: TcbVersion, generation: AmdGeneration): Uint8Array {
  const bytes = new Uint8Array(8)
  for (const [component, at] of positionsOf(generation)) bytes[at] = tcb[component] ?? 0
  return bytes
}

/** Reads TCB_VERSION. Rejects with REPORT_RESERVED_NONZERO when a reserved byte is set. */
export function decodeTcbVersion(bytes: Uint8Array, generation: AmdGeneration): TcbVersion {
  const positions = positionsOf(generation)
  const used = new Set(positions.map(([, at]) => at))
  if (bytes.some((byte, at) => byte !== 0 && !used.has(at))) {
    fail('REPORT_RESERVED_NONZERO', 'reserved byte of a TCB version is not zero')
  }
  const at = (component: TcbComponent) => bytes[layouts[generation][component] ?? -1] ?? 0
  return {
    fmc: generation === 'Turin' ? at('fmc') : null,
    bootloader: at('bootloader'),
    tee: at('tee'),
    snp: at('snp'),
    microcode: at('microcode'),
  }
}

function positionsOf(generation: AmdGeneration): [TcbComponent, number][] {
  return Object.entries(layouts[generation]) as [TcbComponent, number][]
}
