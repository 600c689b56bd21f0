import { createHash } from 'node:crypto'
import { fail } from '../rejection.ts'
import type { EventLog, LoggedEvent } from './event-log.ts'
import { type MeasurementBank, measurementAlgorithms } from './measurement-algorithm.ts'

/** Registers that a TEE extends: indexes 1 to 4 (UEFI 2.11 §38.4.1). */
export const eventLogRegisterCount = 4

/**
 * Requires that every entry but EV_NO_ACTION is bound to a register: index 1 to 4 and a digest in the bank that the TEE
 * extends. Without this rule an entry that no register knows would stand in the claims beside measured ones (spec 04 §8.2).
 * @throws CheckFailure EVENTLOG_UNBOUND_EVENT.
 */
export function requireBoundEvents(log: EventLog, bank: MeasurementBank): void {
  log.events.forEach((event, position) => {
    if (event.type === 'EV_NO_ACTION') return
    if (event.index < 1 || event.index > eventLogRegisterCount) {
      fail('EVENTLOG_UNBOUND_EVENT', `event ${position} names register ${event.index}`)
    }
    if (bankDigest(event, bank) === undefined) {
      fail('EVENTLOG_UNBOUND_EVENT', `event ${position} has no ${bank} digest`)
    }
  })
}

/**
 * The values that the measured events give the four registers: from zeros, M := H(M || digest) for each entry of the
 * register in log order. EV_NO_ACTION is never extended (TCG PC Client PFP 1.06 §10.2.1).
 * @returns the registers of index 1, 2, 3, 4: TDX RTMR0 to RTMR3, CSV rtmr1 to rtmr4.
 * @throws CheckFailure EVENTLOG_UNBOUND_EVENT, see `requireBoundEvents`.
 */
export function replayEventLog(log: EventLog, bank: MeasurementBank): readonly Uint8Array[] {
  requireBoundEvents(log, bank)
  const size = digestSize(bank)
  const registers: Uint8Array[] = Array.from({ length: eventLogRegisterCount }, () => new Uint8Array(size))
  for (const event of log.events) {
    const digest = event.type === 'EV_NO_ACTION' ? undefined : bankDigest(event, bank)
    const register = registers[event.index - 1]
    if (digest === undefined || register === undefined) continue
    registers[event.index - 1] = createHash(bank).update(register).update(digest).digest()
  }
  return registers
}

/**
 * Requires that the replayed log gives exactly the registers of the quote or report, all four.
 * @param registers values of index 1 to 4, in this order, of the bank's digest size.
 * @throws CheckFailure EVENTLOG_UNBOUND_EVENT or EVENTLOG_REPLAY_MISMATCH.
 */
export function requireReplayedRegisters(
  log: EventLog,
  bank: MeasurementBank,
  registers: readonly Uint8Array[],
): void {
  replayEventLog(log, bank).forEach((replayed, position) => {
    const register = registers[position]
    if (register === undefined || Buffer.compare(replayed, register) !== 0) {
      fail('EVENTLOG_REPLAY_MISMATCH', `the events do not give register ${position + 1}`)
    }
  })
}

function bankDigest(event: LoggedEvent, bank: MeasurementBank): Uint8Array | undefined {
  return event.digests.find(({ algorithm }) => algorithm.hash === bank)?.digest
}

function digestSize(bank: MeasurementBank): number {
  for (const algorithm of measurementAlgorithms.values()) if (algorithm.hash === bank) return algorithm.size
  throw new TypeError(`no measurement bank ${bank}`)
}
