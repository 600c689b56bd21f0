import { encodeHex } from '@passport-kbs/protocol'
import { fail } from '../rejection.ts'
import { EventReader } from './event-reader.ts'
import { utf8Text, utf16Text } from './event-text.ts'
import type { LogBudget } from './log-budget.ts'

/** Nodes that one device path may have (spec 04 §8.5); real ones have fewer than ten. */
export const maxDevicePathNodes = 256

const nodeHeaderSize = 4

/**
 * The text of every node of a UEFI device path without its end node, in order (UEFI 2.11 §10.3 and §10.6, in the
 * spelling of spec 04 §8.5). A node whose payload does not fit its type is written in the generic form `Path(…)`.
 * @throws CheckFailure EVENTLOG_MALFORMED when the nodes do not fill the path exactly, or are more than 256.
 */
export function devicePathTexts(path: Uint8Array, budget: LogBudget): string[] {
  const reader = new EventReader(path)
  const texts: string[] = []
  while (reader.remaining > 0) {
    if (texts.length === maxDevicePathNodes) {
      fail('EVENTLOG_MALFORMED', `device path of more than ${maxDevicePathNodes} nodes`)
    }
    budget.spendDevicePathNode()
    const type = reader.u8('device path node type')
    const subtype = reader.u8('device path node subtype')
    const length = reader.u16('device path node length')
    if (length < nodeHeaderSize) fail('EVENTLOG_MALFORMED', 'device path node shorter than its header')
    const payload = reader.bytes(length - nodeHeaderSize, 'device path node')
    texts.push(nodeText(type, subtype, payload) ?? `Path(${type},${subtype},${encodeHex(payload)})`)
  }
  return texts
}

/** Writes a payload; undefined if it does not have the form of its type. */
type NodeWriter = (payload: Uint8Array, view: DataView) => string | undefined

function nodeText(type: number, subtype: number, payload: Uint8Array): string | undefined {
  const writer = nodeWriters.get(type * 256 + subtype)
  return writer?.(payload, new DataView(payload.buffer, payload.byteOffset, payload.byteLength))
}

const pci: NodeWriter = (payload, view) =>
  payload.length >= 2 ? `Pci(${view.getUint8(0)},${view.getUint8(1)})` : undefined

const acpi: NodeWriter = (payload, view) => {
  if (payload.length < 8) return undefined
  const hid = view.getUint32(0, true)
  // an EISA identifier: three letters of five bits, then four hexadecimal digits (ACPI 6.5 §19.3.4)
  const vendor = String.fromCharCode(...[10, 5, 0].map((shift) => 0x40 + ((hid >>> shift) & 0x1f)))
  return `ACPI(${vendor}${upperHex(hid >>> 16, 4)},${view.getUint32(4, true)})`
}

const usb: NodeWriter = (payload, view) =>
  payload.length >= 2 ? `USB(${view.getUint8(0)},${view.getUint8(1)})` : undefined

const fibreChannelEx: NodeWriter = (payload) =>
  payload.length >= 16
    ? `FibreEx(0x${encodeHex(payload.subarray(0, 8))},0x${encodeHex(payload.subarray(8, 16))})`
    : undefined

const mac: NodeWriter = (payload, view) => {
  if (payload.length !== 33) return undefined
  // 31 bytes and digit-wise trimming, although the field has 32: policies know this spelling
  const address = encodeHex(payload.subarray(0, 31)).replace(/0+$/, '').toUpperCase()
  return `Mac(${address},0x${upperHex(view.getUint8(32), 2)})`
}

const ipProtocols: ReadonlyMap<number, string> = new Map([
  [6, 'TCP'],
  [17, 'UDP'],
])
const ipOrigins = ['DHCP', 'Static']

const ipv4: NodeWriter = (payload, view) => {
  if (payload.length < 23) return undefined
  const local = dotted(view.getUint32(0, true))
  const remote = dotted(view.getUint32(4, true))
  const protocol = ipProtocols.get(view.getUint16(12, true)) ?? ''
  const origin = ipOrigins[view.getUint8(14)] ?? ''
  const gateway = view.getUint32(15, true)
  const mask = view.getUint32(19, true)
  const network = gateway === 0 && mask === 0 ? '' : `,${gateway},${mask}`
  return `IPv4(${remote},${protocol},${origin},${local}${network})`
}

const hardDrive: NodeWriter = (payload, view) => {
  if (payload.length < 38) return undefined
  const signature = payload.subarray(20, 36)
  let partition: string
  if (payload[36] === 1) partition = `MBR,0x${view.getUint32(20, true).toString(16).padStart(8, '0')}`
  else if (payload[36] === 2) partition = `GPT,${upperGuid(signature)}`
  else return undefined
  const number = view.getUint32(0, true)
  const start = view.getBigUint64(4, true).toString(16)
  const size = view.getBigUint64(12, true).toString(16)
  return `HD(${number},${partition}${number === 0 ? '' : `,0x${start},0x${size}`})`
}

const vendorMedia: NodeWriter = (payload) =>
  payload.length >= 16
    ? `VenMedia(${upperGuid(payload.subarray(0, 16))},${encodeHex(payload.subarray(16))})`
    : undefined

const filePath: NodeWriter = (payload) => {
  if (payload.length === 0 || payload.length % 2 !== 0) return undefined
  const name = utf16Text(payload.subarray(0, -2))
  return `File(${name.toWellFormed()})`
}

const bootDeviceTypes: ReadonlyMap<number, string> = new Map([
  [0x01, 'FLOPPY'],
  [0x02, 'HARD_DRIVE'],
  [0x03, 'CDROM'],
  [0x04, 'PCMCIA'],
  [0x05, 'USB'],
  [0x06, 'EMBEDDED_NETWORK'],
  [0x80, 'DEV'],
  [0xff, 'UNKNOWN'],
])

const bootSpecification: NodeWriter = (payload, view) => {
  if (payload.length < 4) return undefined
  const type = view.getUint16(0, true)
  const nul = payload.indexOf(0, 4)
  const description = utf8Text(payload.subarray(4, nul === -1 ? payload.length : nul))
  if (description === undefined) return undefined
  return `BBS(${bootDeviceTypes.get(type) ?? type},${description},${view.getUint16(2, true)})`
}

/** By type * 256 + subtype. */
const nodeWriters: ReadonlyMap<number, NodeWriter> = new Map([
  [0x0101, pci],
  [0x0201, acpi],
  [0x0305, usb],
  [0x030b, mac],
  [0x030c, ipv4],
  [0x0315, fibreChannelEx],
  [0x0401, hardDrive],
  [0x0403, vendorMedia],
  [0x0404, filePath],
  [0x0501, bootSpecification],
])

function upperHex(value: number, digits: number): string {
  return value.toString(16).toUpperCase().padStart(digits, '0')
}

function dotted(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join('.')
}

/** A GUID as UEFI writes it: the first three groups are little-endian numbers. */
function upperGuid(guid: Uint8Array): string {
  const view = new DataView(guid.buffer, guid.byteOffset, guid.byteLength)
  const groups = [
    upperHex(view.getUint32(0, true), 8),
    upperHex(view.getUint16(4, true), 4),
    upperHex(view.getUint16(6, true), 4),
    encodeHex(guid.subarray(8, 10)).toUpperCase(),
    encodeHex(guid.subarray(10, 16)).toUpperCase(),
  ]
  return groups.join('-')
}
