import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { aaelEvent, separatorEvent, virtualEventLog } from '../../src/index.ts'

function sha384(...parts: Uint8Array[]): Buffer {
  return createHash('sha384').update(Buffer.concat(parts)).digest()
}

describe('a virtual event log', () => {
  it('measures an AAEL entry as the guest’s agent documents it: over tag, size and text', () => {
    const { data } = aaelEvent('domain', 'operation', 'content')
    // the example of the Confidential Containers event log document
    expect(createHash('sha256').update(data).digest('hex')).toMatch(/^46df8dac/)
    expect(sha384(data).toString('hex')).toMatch(/^dad5f0e2/)
  })

  it('extends registers from zeros in log order', () => {
    const events = [separatorEvent(3), aaelEvent('a', 'b', 'c', 8)]
    const { registers } = virtualEventLog({ events })
    const afterFirst = sha384(new Uint8Array(48), sha384(new Uint8Array(4)))
    const afterSecond = sha384(afterFirst, sha384(events[1]?.data ?? new Uint8Array(0)))
    expect(registers.map((register) => Buffer.from(register).toString('hex'))).toEqual([
      '00'.repeat(48),
      '00'.repeat(48),
      afterSecond.toString('hex'),
      '00'.repeat(48),
    ])
  })

  it('has the agent’s header of 69 bytes where the firmware has no log', () => {
    const { bytes } = virtualEventLog({
      banks: ['sha384', 'sm3'],
      writer: 'agent',
      events: [],
      ending: 'none',
    })
    expect(bytes).toHaveLength(69)
    expect(Buffer.from(bytes).readUInt32LE(28)).toBe(37)
  })

  it('keeps the registers of the honest log when its bytes are wrong', () => {
    const honest = virtualEventLog()
    const wrong = virtualEventLog({ defect: 'event-removed' })
    expect(wrong.registers).toEqual(honest.registers)
    expect(wrong.bytes).not.toEqual(honest.bytes)
  })
})
