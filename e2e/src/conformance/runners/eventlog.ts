import { decodeHex, isJsonObject, type JsonObject, type JsonValue } from '@passport-kbs/protocol'
import { CheckRun, eventLogChecks, type MeasurementBank, verifyEventLog } from '@passport-kbs/tee-evidence'
import { differences } from '../expectations.ts'
import type { CaseRunner } from '../vector-case.ts'

/** Runs cases of `eventlog-cases/1`: a log file, changed, replayed against the four registers of the case. */
export const runner: CaseRunner = {
  async run(vectorCase) {
    const bank = bankOf(vectorCase.field('algorithm'))
    const registers = registersOf(vectorCase.field('registers'))
    const events = verifyEventLog(
      new CheckRun(eventLogChecks),
      vectorCase.bytes('log', 'mutations'),
      bank,
      registers,
    )
    return {
      result: 'accept',
      claims: { uefi_event_logs: events },
      failures: unmetEventExpectations(vectorCase.expect, events),
    }
  },
}

function bankOf(name: JsonValue | undefined): MeasurementBank {
  if (name === 'sha256' || name === 'sha384' || name === 'sha512' || name === 'sm3') return name
  throw new Error(`unknown measurement bank ${String(name)}`)
}

function registersOf(values: JsonValue | undefined): Uint8Array[] {
  if (!Array.isArray(values)) throw new Error('case without registers')
  return values.map((value) => decodeHex(String(value)))
}

function unmetEventExpectations(expect: JsonObject, events: readonly JsonObject[]): string[] {
  const details = events.map((event) => (isJsonObject(event.details) ? event.details : {}))
  const seen: JsonObject = {
    event_count: events.length,
    strings: details.flatMap(({ string }) => (string === undefined ? [] : [string])),
    device_paths: details.flatMap((entry) => entry.device_paths ?? []),
    digest_matches_event: events.map((event) => event.digest_matches_event ?? null),
    no_action_never_matches: noActionNeverMatches(events),
  }
  return Object.entries(seen).flatMap(([name, value]) =>
    Object.hasOwn(expect, name) ? differences(expect[name], value, name) : [],
  )
}

/** True when there is an EV_NO_ACTION entry and none claims that its digest is that of its data. */
function noActionNeverMatches(events: readonly JsonObject[]): boolean {
  const noAction = events.filter((event) => event.type_name === 'EV_NO_ACTION')
  return noAction.length > 0 && noAction.every((event) => event.digest_matches_event === false)
}
