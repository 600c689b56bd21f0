import type { JsonObject, JsonValue } from '@passport-kbs/protocol'
import { base64Of } from '../evidence-json.ts'
import { fail } from '../rejection.ts'
import type { Check, CheckRun } from '../verifier.ts'
import { maxEventLogBytes, parseEventLog } from './event-log.ts'
import { eventLogClaims } from './event-log-claims.ts'
import { requireBoundEvents, requireReplayedRegisters } from './event-log-replay.ts'
import type { MeasurementBank } from './measurement-algorithm.ts'

/** The checks that `verifyEventLog` makes; a verifier whose evidence may carry a log appends them to its own. */
export const eventLogChecks = [
  {
    name: 'event-log-structure',
    source: 'spec 04 §8.1, §8.4, §8.5; TCG PC Client PFP 1.06 §10.2',
    codes: ['EVENTLOG_MALFORMED'],
    protects: 'A log with two readings would show policies other events than the guest measured.',
  },
  {
    name: 'event-log-binding',
    source: 'spec 04 §8.2',
    codes: ['EVENTLOG_UNBOUND_EVENT'],
    protects:
      'An event outside the measured registers and bank would be believed although nothing measured it.',
  },
  {
    name: 'event-log-replay',
    source: 'spec 04 §8.2',
    codes: ['EVENTLOG_REPLAY_MISMATCH'],
    protects: 'A guest would send the log of another, good boot, or leave out the event that betrays it.',
  },
] as const satisfies readonly Check[]

/**
 * The bytes of the evidence member `cc_eventlog`: standard base64. Absent, null and the empty string mean that there is
 * no log (spec 04 §2).
 * @throws CheckFailure EVIDENCE_MALFORMED for what is not base64 text, EVENTLOG_MALFORMED for more than 1.25 MiB.
 */
export function eventLogBytes(member: JsonValue | undefined): Uint8Array | undefined {
  if (member === undefined || member === null || member === '') return undefined
  // the size is a fault of the log, everything else one of the evidence
  if (typeof member === 'string' && member.length > 4 * Math.ceil(maxEventLogBytes / 3)) {
    fail('EVENTLOG_MALFORMED', `event log of more than ${maxEventLogBytes} bytes`)
  }
  return base64Of(member, 'cc_eventlog', maxEventLogBytes)
}

/**
 * Makes the three checks of `eventLogChecks` and gives the claim `uefi_event_logs`.
 * @param run the verifier's run; its list must contain `eventLogChecks`.
 * @param registers the quote's or report's registers of index 1 to 4.
 */
export function verifyEventLog(
  run: CheckRun,
  bytes: Uint8Array,
  bank: MeasurementBank,
  registers: readonly Uint8Array[],
): JsonObject[] {
  const log = run.make('event-log-structure', () => parseEventLog(bytes))
  run.make('event-log-binding', () => requireBoundEvents(log, bank))
  run.make('event-log-replay', () => requireReplayedRegisters(log, bank, registers))
  return eventLogClaims(log)
}
