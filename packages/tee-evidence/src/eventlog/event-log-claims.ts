import { encodeBase64, encodeHex, type JsonObject } from '@passport-kbs/protocol'
import { eventDetailsClaim } from './event-details.ts'
import type { EventLog, LoggedEvent } from './event-log.ts'

/**
 * The claim `uefi_event_logs` (spec 02 §5.9, spec 04 §8.6): one object an entry, in log order, without the
 * specification entry. To be exposed only after the log was replayed.
 */
export function eventLogClaims(log: EventLog): JsonObject[] {
  return log.events.map(eventClaim)
}

function eventClaim(event: LoggedEvent): JsonObject {
  return {
    details: eventDetailsClaim(event.details),
    digest_matches_event: event.digestMatchesEvent,
    digests: event.digests.map(({ algorithm, digest }) => ({
      alg: algorithm.claimName,
      digest: encodeHex(digest),
    })),
    event: encodeBase64(event.data),
    index: event.index,
    type_name: event.type,
  }
}
