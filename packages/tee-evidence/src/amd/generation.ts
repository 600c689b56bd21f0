import { fail } from '../rejection.ts'

/** Processor generations with a public certificate chain. Genoa includes Bergamo and Siena. */
export const amdGenerations = ['Milan', 'Genoa', 'Turin'] as const

export type AmdGeneration = (typeof amdGenerations)[number]

interface ModelRange {
  readonly family: number
  readonly first: number
  readonly last: number
  readonly generation: AmdGeneration
}

const modelRanges: readonly ModelRange[] = [
  { family: 0x19, first: 0x00, last: 0x0f, generation: 'Milan' },
  { family: 0x19, first: 0x10, last: 0x1f, generation: 'Genoa' },
  { family: 0x19, first: 0xa0, last: 0xaf, generation: 'Genoa' },
  { family: 0x1a, first: 0x00, last: 0x11, generation: 'Turin' },
]

/** The combined (base and extended) CPUID family and model of an attestation report, version 3 and later. */
export interface CpuId {
  readonly family: number | null
  readonly model: number | null
}

/** The generation for a CPUID (spec 03 §3.7). Rejects with PRODUCT_UNSUPPORTED. */
export function generationOf({ family, model }: CpuId): AmdGeneration {
  if (family === null) fail('PRODUCT_UNSUPPORTED', 'attestation report without CPU family')
  if (model === null) fail('PRODUCT_UNSUPPORTED', 'attestation report without CPU model')
  const range = modelRanges.find(
    (candidate) => candidate.family === family && candidate.first <= model && model <= candidate.last,
  )
  if (range === undefined) fail('PRODUCT_UNSUPPORTED', `CPU family ${family}, model ${model}`)
  return range.generation
}
