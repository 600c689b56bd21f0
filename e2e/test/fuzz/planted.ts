/** Readers with one defect each, to see that the fuzzer finds it. */
import type { FuzzTarget } from '../../src/fuzz/target.ts'

class Refused extends Error {
  override readonly name = 'Refused'
}

class EvidenceRejected extends Error {
  override readonly name = 'EvidenceRejected'
}

const seeds = () => [new Uint8Array(8)]

function planted(name: string, run: (input: Uint8Array) => unknown): FuzzTarget {
  return { name, rejections: [Refused, EvidenceRejected], seeds, run }
}

/**
 * Four bytes, each looked at only when the one before is right, and compared in a form that no input and no literal of
 * this file contains: one in 2^32 inputs gets through, unless each step that came further is built on.
 */
export const behindFourBytes: FuzzTarget = planted('behind-four-bytes', (input) => {
  const mixed = (index: number) => ((input[index] ?? 0) * 181 + 77) & 0xff
  if (mixed(0) > 3) throw new Refused()
  if (mixed(1) < 0xfa) throw new Refused()
  if ((mixed(2) & 0xf0) > 0) throw new Refused()
  if (mixed(3) < 0xfd) throw new Refused()
  return undefinedMember(input)
})

function undefinedMember(input: Uint8Array): unknown {
  return (input as unknown as { readonly none: { readonly at: unknown } }).none.at
}

export const behindComparison: FuzzTarget = planted('behind-comparison', (input) => {
  const word = Buffer.from(input.subarray(0, 4)).toString('latin1')
  if (word === String.fromCharCode(0x54, 0x43, 0x47, 0xff)) undefinedMember(input)
  throw new Refused()
})

/** As a verifier does: the defect is the cause of a typed rejection. */
export const hiddenInRejection: FuzzTarget = planted('hidden-in-rejection', (input) => {
  try {
    if ((input[0] ?? 0) > 3) undefinedMember(input)
  } catch (cause) {
    throw new EvidenceRejected('the check could not be made', { cause })
  }
})

export const slow: FuzzTarget = planted('slow', (input) => {
  const end = process.threadCpuUsage().user + 70_000
  if (input.length > 12) while (process.threadCpuUsage().user < end);
})

export const greedy: FuzzTarget = planted('greedy', (input) => {
  if (input.length > 12) return new Uint8Array(96 * 1024 * 1024)
  return undefined
})

export const endless: FuzzTarget = planted('endless', (input) => {
  while (input.length > 12);
})

export const crashing: FuzzTarget = planted('crashing', (input) => {
  if (input.length > 12) process.abort()
})
