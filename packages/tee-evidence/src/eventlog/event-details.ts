import {
  encodeBase64,
  encodeHex,
  type JsonObject,
  JsonSyntaxError,
  type JsonValue,
  parseJson,
} from '@passport-kbs/protocol'
import { fail } from '../rejection.ts'
import { devicePathTexts } from './device-path.ts'
import { EventReader } from './event-reader.ts'
import { lossyUtf8Text, utf8Text, utf8TextWithoutControls, utf16Text } from './event-text.ts'
import type { EventTypeName } from './event-type.ts'
import type { LogBudget } from './log-budget.ts'

/** The member `details` of a claim: what spec 04 §8.5 reads out of an event's data, and nothing else. */
export interface EventDetails {
  readonly string?: string
  readonly unicode_name?: string
  readonly unicode_name_length?: number
  readonly variable_name?: string
  readonly variable_data?: string
  readonly variable_data_length?: number
  readonly device_paths?: readonly string[]
  /** AAEL entries only. */
  readonly data?: AaelEntry
}

/** An entry that the attestation agent of the guest wrote (spec 04 §8.4). */
export interface AaelEntry {
  readonly domain: string
  readonly operation: string
  /** The JSON value if the text is JSON, else the text. */
  readonly content: JsonValue
}

/** Tag of an AAEL entry; on the wire `LEAA`. */
export const aaelTag = 0x4141454c

/** Google's boot loader begins the data of EV_IPL with a full stop in UTF-16. */
const googleIplPrefix = [0x2e, 0x00] as const

type DetailsReader = (data: Uint8Array, budget: LogBudget) => EventDetails

/**
 * Details of an event; `{}` for the types whose data is not read.
 * @throws CheckFailure EVENTLOG_MALFORMED when the data does not have the form of its type.
 */
export function eventDetails(type: EventTypeName, data: Uint8Array, budget: LogBudget): EventDetails {
  return detailsReaders[type]?.(data, budget) ?? {}
}

const wholeText: DetailsReader = (data) => ({ string: textOf(data, 'event text') })

const eventTag: DetailsReader = (data, budget) => {
  const reader = new EventReader(data)
  const tag = reader.u32('tag id')
  const tagged = reader.bytes(reader.u32('tagged data size'), 'tagged data')
  const string = lossyUtf8Text(tagged).replace(/\0+/g, '')
  return tag === aaelTag ? { string, unicode_name: 'AAEL', data: aaelEntry(tagged, budget) } : { string }
}

function aaelEntry(tagged: Uint8Array, budget: LogBudget): AaelEntry {
  const text = textOf(tagged, 'AAEL entry')
  const first = text.indexOf(' ')
  const second = first === -1 ? -1 : text.indexOf(' ', first + 1)
  if (second === -1) fail('EVENTLOG_MALFORMED', 'AAEL entry without domain, operation and content')
  return {
    domain: text.slice(0, first),
    operation: text.slice(first + 1, second),
    content: jsonOrText(text.slice(second + 1), budget),
  }
}

function jsonOrText(text: string, budget: LogBudget): JsonValue {
  // most contents are plain text: a look at the first character saves the cost of an exception
  if (!/^[\t\n\r ]*["{[\-0-9tfn]/.test(text)) return text
  budget.spendJson(text.length)
  try {
    return parseJson(text)
  } catch (error) {
    if (error instanceof JsonSyntaxError) return text
    throw error
  }
}

const configFlags: DetailsReader = (data) => ({ string: utf8TextWithoutControls(data) ?? '' })

const initialProgramLoader: DetailsReader = (data) => {
  if (data.length < 2) fail('EVENTLOG_MALFORMED', 'EV_IPL of fewer than 2 bytes')
  if (data[0] === googleIplPrefix[0] && data[1] === googleIplPrefix[1]) {
    const rest = data.subarray(googleIplPrefix.length)
    if (rest.length === 0 || rest.length % 2 !== 0) fail('EVENTLOG_MALFORMED', 'EV_IPL is not UTF-16')
    return { string: utf16Text(rest.subarray(0, -2)).toWellFormed() }
  }
  const nul = data.indexOf(0)
  return { string: utf8Text(nul === -1 ? data : data.subarray(0, nul)) ?? encodeHex(data) }
}

/** UEFI_VARIABLE_DATA (TCG PC Client PFP 1.06 §10.4.2). */
const efiVariable: DetailsReader = (data) => {
  const reader = new EventReader(data)
  const guid = reader.bytes(16, 'variable GUID')
  const nameLength = reader.u64('variable name length')
  const dataLength = reader.u64('variable data length')
  const name = utf16Text(reader.bytesOfLength(nameLength * 2n, 'variable name'))
  if (!name.isWellFormed()) fail('EVENTLOG_MALFORMED', 'variable name is not UTF-16')
  const variable = reader.bytesOfLength(dataLength, 'variable data')
  return {
    unicode_name: name,
    unicode_name_length: Number(nameLength),
    variable_data: encodeBase64(variable),
    variable_data_length: Number(dataLength),
    variable_name: plainGuid(guid),
  }
}

/** UEFI_IMAGE_LOAD_EVENT (TCG PC Client PFP 1.06 §10.2.3). */
const imageLoad: DetailsReader = (data, budget) => {
  const reader = new EventReader(data)
  reader.bytes(24, 'image address, length and link address')
  const pathLength = reader.u64('device path length')
  if (pathLength === 0n) return {}
  if (pathLength < 8n) fail('EVENTLOG_MALFORMED', 'device path shorter than two nodes')
  const path = reader.bytesOfLength(pathLength, 'device path')
  return { device_paths: devicePathTexts(path.subarray(0, -4), budget) }
}

/** The description of UEFI_PLATFORM_FIRMWARE_BLOB2 and UEFI_HANDOFF_TABLE_POINTERS2. */
const description: DetailsReader = (data) => {
  const size = new EventReader(data).u8('description size')
  if (size > data.length) fail('EVENTLOG_MALFORMED', 'description ends behind the event')
  // the size is that of the text alone, so this loses the last character; existing policies compare the short text
  return { string: textOf(data.subarray(1, Math.max(size, 1)), 'description') }
}

const detailsReaders: Readonly<Partial<Record<EventTypeName, DetailsReader>>> = {
  EV_POST_CODE: wholeText,
  EV_ACTION: wholeText,
  EV_COMPACT_HASH: wholeText,
  EV_OMIT_BOOT_DEVICE_EVENTS: wholeText,
  EV_EFI_ACTION: wholeText,
  EV_EVENT_TAG: eventTag,
  EV_PLATFORM_CONFIG_FLAGS: configFlags,
  EV_IPL: initialProgramLoader,
  EV_EFI_VARIABLE_DRIVER_CONFIG: efiVariable,
  EV_EFI_VARIABLE_BOOT: efiVariable,
  EV_EFI_VARIABLE_BOOT2: efiVariable,
  EV_EFI_VARIABLE_AUTHORITY: efiVariable,
  EV_EFI_BOOT_SERVICES_APPLICATION: imageLoad,
  EV_EFI_PLATFORM_FIRMWARE_BLOB2: description,
  EV_EFI_HANDOFF_TABLES2: description,
}

function textOf(bytes: Uint8Array, field: string): string {
  return utf8Text(bytes) ?? fail('EVENTLOG_MALFORMED', `${field} is not UTF-8`)
}

/** A GUID in groups of plain bytes, without the byte swapping of UEFI: what existing policies compare. */
function plainGuid(guid: Uint8Array): string {
  const hex = encodeHex(guid)
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}

/** The claim `details`. */
export function eventDetailsClaim(details: EventDetails): JsonObject {
  return { ...details } as unknown as JsonObject
}
