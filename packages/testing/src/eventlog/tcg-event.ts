import { createHash } from 'node:crypto'

/** Digest algorithms of the TCG registry: identifier and digest size. */
const tcgAlgorithms = {
  sha1: { id: 0x04, size: 20 },
  sha256: { id: 0x0b, size: 32 },
  sha384: { id: 0x0c, size: 48 },
  sha512: { id: 0x0d, size: 64 },
  sm3: { id: 0x12, size: 32 },
} as const

export type TcgBank = keyof typeof tcgAlgorithms

/** Event types that the virtual logs use (TCG PC Client Platform Firmware Profile 1.06, table 27). */
export const tcgEventType = {
  noAction: 0x3,
  separator: 0x4,
  action: 0x5,
  eventTag: 0x6,
  platformConfigFlags: 0xa,
  ipl: 0xd,
  efiVariableDriverConfig: 0x80000001,
  efiBootServicesApplication: 0x80000003,
  efiAction: 0x80000007,
  efiPlatformFirmwareBlob2: 0x8000000a,
} as const

/** An event as firmware or the guest's agent measures it. */
export interface TcgEvent {
  /** CC measurement register 1 to 4: TDX RTMR0 to RTMR3, CSV rtmr1 to rtmr4. */
  readonly index: number
  readonly type: number
  readonly data: Uint8Array
  /** What is hashed, where that is not `data`: the image of an application, the content of a firmware volume. */
  readonly measured?: Uint8Array
}

/** An entry of a log, digests and all. */
export interface TcgEntry {
  readonly index: number
  readonly type: number
  readonly digests: readonly { readonly bank: TcgBank; readonly digest: Uint8Array }[]
  readonly data: Uint8Array
}

export function tcgDigest(bank: TcgBank, ...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash(bank)
  for (const part of parts) hash.update(part)
  return hash.digest()
}

export function tcgDigestSize(bank: TcgBank): number {
  return tcgAlgorithms[bank].size
}

/** The entry that measures `event` into `banks`. */
export function tcgEntry(event: TcgEvent, banks: readonly TcgBank[]): TcgEntry {
  const { index, type, data } = event
  const digests = banks.map((bank) => ({ bank, digest: tcgDigest(bank, event.measured ?? data) }))
  return { index, type, digests, data }
}

/** TCG_PCR_EVENT2. */
export function encodeTcgEntry({ index, type, digests, data }: TcgEntry): Uint8Array {
  return Buffer.concat([
    u32(index),
    u32(type),
    u32(digests.length),
    ...digests.flatMap(({ bank, digest }) => [u16(tcgAlgorithms[bank].id), digest]),
    u32(data.length),
    data,
  ])
}

/** The first entry, TCG_PCR_EVENT with the algorithms that follow; firmware and agent write it differently. */
export function encodeSpecification(
  banks: readonly TcgBank[],
  writer: 'firmware' | 'agent',
  fields: { readonly type?: number; readonly signature?: Uint8Array } = {},
): Uint8Array {
  const signature = writer === 'firmware' ? Buffer.from('Spec ID Event03\0', 'latin1') : Buffer.alloc(16)
  const versions = writer === 'firmware' ? Buffer.from([0, 0, 0, 0, 0, 2, 0, 2]) : Buffer.alloc(8)
  const data = Buffer.concat([
    fields.signature ?? signature,
    versions,
    u32(banks.length),
    ...banks.flatMap((bank) => [u16(tcgAlgorithms[bank].id), u16(tcgAlgorithms[bank].size)]),
    Buffer.from([0]),
  ])
  const index = writer === 'firmware' ? 1 : 0
  return Buffer.concat([
    u32(index),
    u32(fields.type ?? tcgEventType.noAction),
    Buffer.alloc(20),
    u32(data.length),
    data,
  ])
}

export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16LE(value)
  return bytes
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

export function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(value)
  return bytes
}
