/** CC event logs: read, replayed, described. */
import { eventLogClaims, parseEventLog, replayEventLog } from '@passport-kbs/tee-evidence'
import { type TcgEvent, tcgEventType, virtualEventLog } from '@passport-kbs/testing'
import { requireBoundEvents } from '../../../../packages/tee-evidence/src/eventlog/event-log-replay.ts'
import { CheckFailure } from '../../../../packages/tee-evidence/src/rejection.ts'
import type { FuzzTarget } from '../target.ts'
import { readWithAll, vectorSeeds } from './seeds.ts'

/** A loaded image whose device path has nodes of many types, each of `size` bytes (UEFI 2.10 §10.3). */
function devicePathEvent(size: number): TcgEvent {
  const nodes = [
    0x0101, 0x0201, 0x0303, 0x0305, 0x030b, 0x030c, 0x0315, 0x0401, 0x0403, 0x0404, 0x0501, 0x0699,
  ]
  const path = nodes.map((type) => {
    const node = Buffer.alloc(4 + size, 1)
    node.writeUInt16BE(type, 0)
    node.writeUInt16LE(node.length, 2)
    return node
  })
  const end = Buffer.from('7fff0400', 'hex')
  const length = path.reduce((sum, node) => sum + node.length, end.length)
  const header = Buffer.alloc(32)
  header.writeBigUInt64LE(BigInt(length), 24)
  return {
    index: 2,
    type: tcgEventType.efiBootServicesApplication,
    data: Buffer.concat([header, ...path, end]),
  }
}

export const eventlog: FuzzTarget = {
  name: 'eventlog',
  rejections: [CheckFailure],
  seeds: () => [
    virtualEventLog().bytes,
    virtualEventLog({ ending: 'none', banks: ['sha384', 'sha1'] }).bytes,
    virtualEventLog({ writer: 'agent', banks: ['sha256', 'sha512'] }).bytes,
    virtualEventLog({ banks: ['sm3'], ending: 'zeros' }).bytes,
    ...[0, 8, 33, 40].map((size) => virtualEventLog({ events: [devicePathEvent(size)] }).bytes),
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
