import { hash } from 'node:crypto'
import { encodeHex } from '@passport-kbs/protocol'
import { fail } from '../rejection.ts'
import { type EventDetails, eventDetails } from './event-details.ts'
import { EventReader } from './event-reader.ts'
import { type EventTypeName, eventTypeName } from './event-type.ts'
import { LogBudget } from './log-budget.ts'
import { type MeasurementAlgorithm, measurementAlgorithms } from './measurement-algorithm.ts'

/** Largest log that is read, in bytes (spec 04 §2); the largest real one is 1 MiB, of which 10 KiB are events. */
export const maxEventLogBytes = 1.25 * 1024 * 1024

/** Most entries that are read. Real logs have fewer than 100; the bound keeps a log of tiny entries cheap. */
export const maxEvents = 2048

/** Digest algorithms that a log may announce (spec 04 §8.1). */
const maxAlgorithms = 16

export interface EventDigest {
  readonly algorithm: MeasurementAlgorithm
  readonly digest: Uint8Array
}

/** One entry of a log. Its digests are authentic once the log is replayed; its data only if `digestMatchesEvent`. */
export interface LoggedEvent {
  /** Index of the CC measurement register; 1 to 4 are RTMR0 to RTMR3 of TDX and rtmr1 to rtmr4 of CSV. */
  readonly index: number
  readonly type: EventTypeName
  /** At least one, each algorithm at most once. */
  readonly digests: readonly EventDigest[]
  /** A view of the event data. */
  readonly data: Uint8Array
  readonly details: EventDetails
  /** Every digest is the hash of `data`; never true for EV_NO_ACTION, which nothing measures (spec 04 §8.3). */
  readonly digestMatchesEvent: boolean
}

/** A CC event log without its first entry, in log order. */
export interface EventLog {
  /** The algorithms that the first entry announces. */
  readonly algorithms: readonly MeasurementAlgorithm[]
  readonly events: readonly LoggedEvent[]
}

/**
 * Parses a CC event log (CCEL, with or without AAEL entries) in the crypto-agile TCG 2 format: TCG PC Client Platform
 * Firmware Profile 1.06 §10.2, spec 04 §8.1. What stands behind the terminator is not looked at.
 * @param bytes the whole log, little endian, at most 1.25 MiB.
 * @throws CheckFailure EVENTLOG_MALFORMED, and nothing else.
 */
export function parseEventLog(bytes: Uint8Array): EventLog {
  if (bytes.length > maxEventLogBytes) {
    fail('EVENTLOG_MALFORMED', `event log of ${bytes.length} bytes; at most ${maxEventLogBytes} are read`)
  }
  const reader = new EventReader(bytes)
  const algorithms = readSpecification(reader)
  const budget = new LogBudget()
  const events: LoggedEvent[] = []
  while (!atEnd(reader)) {
    if (events.length === maxEvents) fail('EVENTLOG_MALFORMED', `event log of more than ${maxEvents} entries`)
    events.push(readEvent(reader, algorithms, budget))
  }
  return { algorithms, events }
}

const evNoAction = 3
const specificationText = 'Spec ID Event03\0'
const specificationFixedSize = 28

/** The first entry, TCG_PCR_EVENT with a TCG_EfiSpecIdEvent in it. */
function readSpecification(reader: EventReader): readonly MeasurementAlgorithm[] {
  reader.u32('specification register index')
  if (reader.u32('specification event type') !== evNoAction) {
    fail('EVENTLOG_MALFORMED', 'the first entry is not EV_NO_ACTION')
  }
  reader.bytes(20, 'specification SHA-1 digest')
  const data = new EventReader(reader.bytes(reader.u32('specification size'), 'specification'))
  const signature = Buffer.from(data.bytes(16, 'specification signature')).toString('latin1')
  if (signature !== specificationText && signature !== '\0'.repeat(16)) {
    fail('EVENTLOG_MALFORMED', 'the first entry is not a specification ID event')
  }
  data.bytes(specificationFixedSize - 20, 'specification platform class and versions')
  const algorithms = readAlgorithms(data)
  data.bytes(data.u8('vendor info size'), 'vendor info')
  if (data.remaining !== 0) fail('EVENTLOG_MALFORMED', 'bytes behind the vendor info')
  return algorithms
}

function readAlgorithms(data: EventReader): readonly MeasurementAlgorithm[] {
  const count = data.u32('number of algorithms')
  if (count < 1 || count > maxAlgorithms) fail('EVENTLOG_MALFORMED', `${count} digest algorithms`)
  const algorithms: MeasurementAlgorithm[] = []
  for (let i = 0; i < count; i++) {
    const algorithm = measurementAlgorithms.get(data.u16('algorithm'))
    const size = data.u16('digest size')
    if (algorithm === undefined) fail('EVENTLOG_MALFORMED', 'unknown digest algorithm')
    if (size !== algorithm.size) fail('EVENTLOG_MALFORMED', `${algorithm.claimName} digests of ${size} bytes`)
    if (algorithms.includes(algorithm)) fail('EVENTLOG_MALFORMED', `${algorithm.claimName} announced twice`)
    algorithms.push(algorithm)
  }
  return algorithms
}

/** Eight bytes of zeros or ones end the log, as does the end of the buffer at an entry boundary. */
function atEnd(reader: EventReader): boolean {
  if (reader.remaining === 0) return true
  const next = reader.peekU64('entry')
  return next === 0n || next === 0xffff_ffff_ffff_ffffn
}

/** TCG_PCR_EVENT2. */
function readEvent(
  reader: EventReader,
  algorithms: readonly MeasurementAlgorithm[],
  budget: LogBudget,
): LoggedEvent {
  const index = reader.u32('register index')
  const typeCode = reader.u32('event type')
  const type = eventTypeName(typeCode)
  if (type === undefined) fail('EVENTLOG_MALFORMED', `unknown event type 0x${typeCode.toString(16)}`)
  const digests = readDigests(reader, algorithms)
  const data = reader.bytes(reader.u32('event size'), 'event data')
  return {
    index,
    type,
    digests,
    data,
    details: eventDetails(type, data, budget),
    digestMatchesEvent: type !== 'EV_NO_ACTION' && digests.every((digest) => isHashOf(digest, data)),
  }
}

function readDigests(reader: EventReader, algorithms: readonly MeasurementAlgorithm[]): EventDigest[] {
  const count = reader.u32('digest count')
  if (count < 1 || count > algorithms.length) fail('EVENTLOG_MALFORMED', `entry with ${count} digests`)
  const digests: EventDigest[] = []
  for (let i = 0; i < count; i++) {
    const id = reader.u16('digest algorithm')
    const algorithm = algorithms.find((announced) => announced.id === id)
    if (algorithm === undefined) fail('EVENTLOG_MALFORMED', 'digest of an algorithm that was not announced')
    if (digests.some((earlier) => earlier.algorithm === algorithm)) {
      fail('EVENTLOG_MALFORMED', `entry with two ${algorithm.claimName} digests`)
    }
    digests.push({ algorithm, digest: reader.bytes(algorithm.size, 'digest') })
  }
  return digests
}

function isHashOf({ algorithm, digest }: EventDigest, data: Uint8Array): boolean {
  return hash(algorithm.hash, data, 'hex') === encodeHex(digest)
}
