import { guestBoot, separatorEvent } from './guest-boot.ts'
import {
  encodeSpecification,
  encodeTcgEntry,
  type TcgBank,
  type TcgEntry,
  type TcgEvent,
  tcgDigest,
  tcgDigestSize,
  tcgEntry,
  tcgEventType,
} from './tcg-event.ts'

const registerCount = 4

/** Ways in which a log can be wrong; each is wrong in this one way only, and its registers stay those of the honest log. */
export const eventLogDefects = [
  // the log cannot be read
  'first-entry-type',
  'specification-signature',
  'unknown-event-type',
  'no-digest',
  'repeated-digest',
  'cut-short',
  // an entry that no register binds
  'register-0',
  'register-5',
  'foreign-bank',
  // the entries are not what the registers measured
  'event-added',
  'event-removed',
  'event-repeated',
  'events-swapped',
  'event-moved',
  'digest-changed',
  'early-terminator',
] as const

export type EventLogDefect = (typeof eventLogDefects)[number]

export interface VirtualEventLogOptions {
  /** Banks that every event is measured into; the first is the TEE's. Default: SHA-384, the bank of TDX. */
  readonly banks?: readonly TcgBank[]
  /** Default: `guestBoot()`. */
  readonly events?: readonly TcgEvent[]
  /** Who wrote the first entry. Default: firmware. */
  readonly writer?: 'firmware' | 'agent'
  /** What follows the last entry: eight bytes of ones (the default) or zeros, or the end of the buffer. */
  readonly ending?: 'ones' | 'zeros' | 'none'
  readonly defect?: EventLogDefect
}

export interface VirtualEventLog {
  /** The log as `cc_eventlog` carries it, before base64. */
  readonly bytes: Uint8Array
  /** What the honest events give registers 1 to 4 of the first bank. */
  readonly registers: readonly Uint8Array[]
}

/** Measures events into four virtual registers and writes the log of it (TCG PC Client PFP 1.06 §10.2). */
export function virtualEventLog(options: VirtualEventLogOptions = {}): VirtualEventLog {
  const { banks = ['sha384'], events = guestBoot(), writer = 'firmware', ending = 'ones', defect } = options
  const bank = banks[0] ?? 'sha384'
  const honest = events.map((event) => tcgEntry(event, banks))
  const announced: readonly TcgBank[] = defect === 'foreign-bank' ? [...banks, foreignBank(banks)] : banks
  const entries = applyDefect(honest, banks, defect).map(encodeTcgEntry)
  const bytes = Buffer.concat([
    encodeSpecification(announced, writer, specificationDefect(defect)),
    ...entries,
    endings[ending],
  ])
  return {
    bytes: defect === 'cut-short' ? bytes.subarray(0, bytes.length - endings[ending].length - 1) : bytes,
    registers: replay(honest, bank),
  }
}

const endings = { ones: Buffer.alloc(8, 0xff), zeros: Buffer.alloc(8), none: Buffer.alloc(0) }

function specificationDefect(defect: EventLogDefect | undefined): { type?: number; signature?: Uint8Array } {
  if (defect === 'first-entry-type') return { type: tcgEventType.separator }
  if (defect === 'specification-signature') return { signature: Buffer.from('Spec ID Event02\0') }
  return {}
}

function applyDefect(
  honest: readonly TcgEntry[],
  banks: readonly TcgBank[],
  defect: EventLogDefect | undefined,
): readonly TcgEntry[] {
  const [first, second, ...rest] = honest
  if (first === undefined || second === undefined || defect === undefined) return honest
  const forged = tcgEntry(separatorEvent(1), banks)
  switch (defect) {
    case 'unknown-event-type':
      return [{ ...first, type: 0x7777 }, second, ...rest]
    case 'no-digest':
      return [...honest, { ...forged, digests: [] }]
    case 'repeated-digest':
      return [{ ...first, digests: [...first.digests, ...first.digests] }, second, ...rest]
    case 'register-0':
      return [...honest, { ...forged, index: 0 }]
    case 'register-5':
      return [...honest, { ...forged, index: 5 }]
    case 'foreign-bank':
      return [...honest, tcgEntry(separatorEvent(1), [foreignBank(banks)])]
    case 'event-added':
      return [...honest, forged]
    case 'event-removed':
      return [second, ...rest]
    case 'event-repeated':
      return [first, first, second, ...rest]
    case 'events-swapped':
      return [second, first, ...rest]
    case 'event-moved':
      return [{ ...first, index: 2 }, second, ...rest]
    case 'digest-changed':
      return [{ ...first, digests: first.digests.map(changedDigest) }, second, ...rest]
    case 'early-terminator':
      // index and type zero with the reserved digest count: the eight bytes read as a terminator
      return [first, { index: 0, type: 0, digests: [], data: Buffer.alloc(0) }, second, ...rest]
    default:
      return honest
  }
}

function changedDigest({ bank, digest }: TcgEntry['digests'][number]): TcgEntry['digests'][number] {
  const changed = Buffer.from(digest)
  changed.writeUInt8(changed.readUInt8(0) ^ 1, 0)
  return { bank, digest: changed }
}

function foreignBank(banks: readonly TcgBank[]): TcgBank {
  return banks.includes('sha256') ? 'sha512' : 'sha256'
}

/** M := H(M || digest) from zeros, for each register. */
function replay(entries: readonly TcgEntry[], bank: TcgBank): Uint8Array[] {
  const registers = Array.from({ length: registerCount }, () => new Uint8Array(tcgDigestSize(bank)))
  for (const { index, type, digests } of entries) {
    const register = registers[index - 1]
    const digest = digests.find((entry) => entry.bank === bank)?.digest
    if (register === undefined || digest === undefined || type === tcgEventType.noAction) continue
    registers[index - 1] = Uint8Array.from(tcgDigest(bank, register, digest))
  }
  return registers
}
