/** The names of TEEs in messages, and the classes that number a token's submods (spec 01 §2.3). */

const classes = {
  'az-snp-vtpm': 'cpu',
  'az-tdx-vtpm': 'cpu',
  tdx: 'cpu',
  sgx: 'cpu',
  snp: 'cpu',
  cca: 'cpu',
  csv: 'cpu',
  se: 'cpu',
  tpm: 'cpu',
  nvidia: 'gpu',
  hygondcu: 'dcu',
  'nvidia-dpu': 'nvidia-dpu',
  sample: 'cpu',
  sampledevice: 'gpu',
} as const

export type Tee = keyof typeof classes

/** The prefix of a submod's name (`cpu0`). `switch` and `ppcie` come from NVIDIA evidence only. */
export type TeeClass = 'cpu' | 'gpu' | 'switch' | 'ppcie' | 'dcu' | 'nvidia-dpu'

/** Every TEE name, as messages spell it. */
export const tees: readonly Tee[] = Object.freeze(Object.keys(classes) as Tee[])

/** Spellings of older guests, and those possible for the DPU, whose official one is not settled. */
const aliases: ReadonlyMap<string, Tee> = new Map([
  ['azsnpvtpm', 'az-snp-vtpm'],
  ['aztdxvtpm', 'az-tdx-vtpm'],
  ['nvidiadpu', 'nvidia-dpu'],
  ['dpu', 'nvidia-dpu'],
])

/** The TEE that a message names, old spellings included; undefined if there is none of that name. */
export function parseTee(name: string): Tee | undefined {
  return Object.hasOwn(classes, name) ? (name as Tee) : aliases.get(name)
}

/** The class in which evidence of this TEE is numbered, unless the evidence itself says otherwise. */
export function teeClass(tee: Tee): TeeClass {
  return classes[tee]
}
