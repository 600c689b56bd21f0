/** CC event logs: read, replayed, described. */
import { eventLogClaims, parseEventLog, replayEventLog } from '@passport-kbs/tee-evidence'
import { virtualEventLog } from '@passport-kbs/testing'
import { requireBoundEvents } from '../../../../packages/tee-evidence/src/eventlog/event-log-replay.ts'
import { CheckFailure } from '../../../../packages/tee-evidence/src/rejection.ts'
import type { FuzzTarget } from '../target.ts'
import { readWithAll, vectorSeeds } from './seeds.ts'

export const eventlog: FuzzTarget = {
  name: 'eventlog',
  rejections: [CheckFailure],
  seeds: () => [
    virtualEventLog().bytes,
    virtualEventLog({ ending: 'none', banks: ['sha384', 'sha1'] }).bytes,
    virtualEventLog({ writer: 'agent', banks: ['sha256', 'sha512'] }).bytes,
    virtualEventLog({ banks: ['sm3'], ending: 'zeros' }).bytes,
    ...vectorSeeds('eventlog', /^CCEL|\.bin$/),
  ],
  run(input) {
    const log = parseEventLog(input)
    readWithAll(
      [CheckFailure],
      () => replayEventLog(log, 'sha384'),
      () => replayEventLog(log, 'sm3'),
      () => requireBoundEvents(log, 'sha384'),
      () => eventLogClaims(log),
    )
  },
}
