import type { JsonValue } from '@passport-kbs/protocol'
import { eventLogBytes } from '../eventlog/event-log-evidence.ts'
import { byteArrayOf, member, objectOf, unsignedOf } from '../evidence-json.ts'
import { fail } from '../rejection.ts'
import { reportDataFieldSize, reportMagicSize, serialNumberSize } from './attestation-report.ts'
import { caCertificateBytes, csvCertificateBytes } from './hygon-certificate-json.ts'

/** What a guest sends (spec 04 §9.1), with every member of its size; certificates in binary form. */
export interface CsvEvidence {
  readonly magic: Uint8Array
  readonly flags: number
  readonly reportData: Uint8Array
  readonly pek: Uint8Array
  /** HSK and CEK one behind the other; the guest need not send them. */
  readonly hskCek?: Uint8Array
  readonly serialNumber: Uint8Array
  /** The member as it came, a string; what it holds matters only to a V2 report. */
  readonly eventLog?: string
}

/**
 * Reads CSV evidence. Unknown members are ignored.
 * @throws CheckFailure EVIDENCE_MALFORMED.
 */
export function readCsvEvidence(value: JsonValue): CsvEvidence {
  const evidence = objectOf(value, 'evidence')
  const report = objectOf(member(evidence, 'attestation_report'), 'attestation_report')
  const chain = objectOf(member(evidence, 'cert_chain'), 'cert_chain')
  const hskCek = hskCekBytes(member(chain, 'hsk_cek'))
  const eventLog = member(evidence, 'cc_eventlog') ?? undefined
  if (eventLog !== undefined && typeof eventLog !== 'string') {
    fail('EVIDENCE_MALFORMED', 'cc_eventlog is not a string')
  }
  return {
    magic: byteArrayOf(member(report, 'magic'), 'attestation_report.magic', { length: reportMagicSize }),
    flags: unsignedOf(member(report, 'flags'), 'attestation_report.flags', 0xffff_ffff),
    reportData: byteArrayOf(member(report, 'data'), 'attestation_report.data', {
      length: reportDataFieldSize,
    }),
    pek: csvCertificateBytes(member(chain, 'pek'), 'cert_chain.pek'),
    ...(hskCek === undefined ? {} : { hskCek }),
    serialNumber: byteArrayOf(member(evidence, 'serial_number'), 'serial_number', {
      length: serialNumberSize,
    }),
    ...(eventLog === undefined ? {} : { eventLog }),
  }
}

function hskCekBytes(value: JsonValue | undefined): Uint8Array | undefined {
  if (value === undefined || value === null) return undefined
  const pair = objectOf(value, 'cert_chain.hsk_cek')
  return Buffer.concat([
    caCertificateBytes(member(pair, 'hsk'), 'cert_chain.hsk_cek.hsk'),
    csvCertificateBytes(member(pair, 'cek'), 'cert_chain.hsk_cek.cek'),
  ])
}

/**
 * The bytes of the event log of a V2 report. Only an absent or null member means that there is none: unlike a TDX
 * guest, a CSV guest does not send an empty one, and Trustee refuses it.
 * @throws CheckFailure EVIDENCE_MALFORMED, or EVENTLOG_MALFORMED for more than 1.25 MiB.
 */
export function csvEventLogBytes({ eventLog }: CsvEvidence): Uint8Array | undefined {
  return eventLog === '' ? new Uint8Array(0) : eventLogBytes(eventLog)
}

/**
 * The chip id in a serial number of 64 bytes: letters and digits, then NULs. It goes into a path and into a URL.
 * @throws CheckFailure CSV_SERIAL_INVALID.
 */
export function chipIdOf(serialNumber: Uint8Array): string {
  const chipId = Buffer.from(serialNumber).toString('latin1').replace(/\0+$/, '')
  if (!isChipId(chipId)) fail('CSV_SERIAL_INVALID', 'the serial number is not 1 to 64 letters and digits')
  return chipId
}

/** Whether `text` can be the id of a Hygon chip. */
export function isChipId(text: string): boolean {
  return /^[A-Za-z0-9]{1,64}$/.test(text)
}
