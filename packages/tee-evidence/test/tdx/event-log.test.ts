import { tdEvidence, type VirtualEventLogOptions, virtualEventLog } from '@passport-kbs/testing'
import { describe, expect, test } from 'vitest'
import { createTdxVerifier } from '../../src/index.ts'
import { dcapWith, now, platform } from '../intel/virtual-machine.ts'
import { rejectionOf } from '../rejection-of.ts'

const reportData = new Uint8Array(48)
const verifier = createTdxVerifier({ dcap: dcapWith(), requireEventLog: true })

function evidenceWith(options: VirtualEventLogOptions, registersOf = virtualEventLog(options)) {
  const log = virtualEventLog(options)
  return tdEvidence(platform, { reportData, eventLog: log.bytes, rtmrs: registersOf.registers })
}

describe('The event log of a TD', () => {
  test('that replays to the registers of the quote becomes the claim uefi_event_logs', async () => {
    const [entry] = await verifier.verify(evidenceWith({}), { now })
    expect(entry?.passed.slice(-3)).toEqual(['event-log-structure', 'event-log-binding', 'event-log-replay'])
    expect(entry?.claims.uefi_event_logs).not.toHaveLength(0)
  })

  test.each([
    ['no-digest', 'EVENTLOG_MALFORMED at event-log-structure'],
    ['cut-short', 'EVENTLOG_MALFORMED at event-log-structure'],
    ['register-0', 'EVENTLOG_UNBOUND_EVENT at event-log-binding'],
    ['foreign-bank', 'EVENTLOG_UNBOUND_EVENT at event-log-binding'],
    ['digest-changed', 'EVENTLOG_REPLAY_MISMATCH at event-log-replay'],
    ['early-terminator', 'EVENTLOG_REPLAY_MISMATCH at event-log-replay'],
  ] as const)('is refused when it is wrong: %s: %s', async (defect, outcome) => {
    expect(await rejectionOf(verifier, evidenceWith({ defect }), { now })).toBe(outcome)
  })

  test('of another TD is refused', async () => {
    const other = virtualEventLog({ events: [] })
    expect(await rejectionOf(verifier, evidenceWith({}, other), { now })).toBe(
      'EVENTLOG_REPLAY_MISMATCH at event-log-replay',
    )
  })

  test('is looked at only after the quote and its TCB', async () => {
    const log = virtualEventLog({ defect: 'no-digest' })
    const forged = tdEvidence(platform, { reportData, eventLog: log.bytes, defect: 'body-changed' })
    expect(await rejectionOf(verifier, forged, { now })).toBe(
      'QUOTE_SIGNATURE_INVALID at attestation-key-signature',
    )
  })
})
