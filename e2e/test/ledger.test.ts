import { describe, expect, it } from 'vitest'
import { Faults, type Tolerance } from '../src/replicas/faults.ts'
import { Journal } from '../src/replicas/journal.ts'
import { Ledger, type WriteEnd } from '../src/replicas/ledger.ts'

/** Writes `0`, `1`, … with these ends, each at once. */
async function ledgerOf(settlingMs: number, ...ends: readonly WriteEnd[]): Promise<Ledger> {
  const ledger = new Ledger(settlingMs)
  for (const [index, end] of ends.entries()) await ledger.write('key', String(index), async () => end)
  return ledger
}

describe('the ledger of acknowledged writes', () => {
  it('takes the last acknowledged value, and no earlier one', async () => {
    const ledger = await ledgerOf(0, 'acknowledged', 'acknowledged')
    expect(ledger.fault('key', '1')).toBeUndefined()
    expect(ledger.fault('key', '0')).toBe(
      'key: write 0 (acknowledged), though write 1 was acknowledged after it',
    )
  })

  it('takes no value that nobody has written, nor none', async () => {
    const ledger = await ledgerOf(0, 'acknowledged')
    expect(ledger.fault('key', '0|half')).toMatch(/nobody has written/)
    expect(ledger.fault('key', undefined)).toMatch(/nothing there/)
  })

  it('leaves open whether a later write without an answer has taken effect, not one that was refused', async () => {
    const ledger = await ledgerOf(0, 'acknowledged', 'unknown', 'refused')
    expect(ledger.allowed('key')).toEqual(['0', '1'])
    expect(ledger.fault('key', '2')).toMatch(/write 2 \(refused\)/)
  })

  it('takes an earlier write without an answer only while it may still be on its way', async () => {
    const settling = await ledgerOf(60_000, 'unknown', 'acknowledged')
    expect(settling.allowed('key')).toEqual(['1', '0'])
    expect(settling.isSettled()).toBe(false)
    const settled = await ledgerOf(-1, 'unknown', 'acknowledged')
    expect(settled.isSettled()).toBe(true)
    expect(settled.fault('key', '0')).toMatch(/write 0 \(unknown\), though write 1 was acknowledged/)
  })
})

describe('the account of failed requests', () => {
  const nowhere = 'http://127.0.0.1:1'
  const outage = async (tolerated: Tolerance, operation: string) => {
    const [faults, journal] = [new Faults(), new Journal()]
    const happen = async () => {
      await journal.ask(operation, nowhere)
    }
    await faults.happen({ name: 'an outage', tolerated, happen, probes: [], recoveryLimit: 1_000 })
    return { faults, journal }
  }

  it('lets pass what a fault explains, while it lasts', async () => {
    const { faults, journal } = await outage({ cut: ['auth'] }, 'auth')
    expect(faults.intolerable(journal)).toEqual([])
    await journal.ask('auth', nowhere)
    expect(faults.intolerable(journal)).toEqual([expect.stringMatching(/^auth cut /)])
  })

  it('lets pass no other failure, and no other operation', async () => {
    for (const tolerated of [{ unavailable: ['auth'] }, { cut: ['read'] }]) {
      const { faults, journal } = await outage(tolerated, 'auth')
      expect(faults.intolerable(journal)).toHaveLength(1)
    }
  })

  it('does not wait for ever for what does not recover', async () => {
    const probe = { name: 'the sun', works: async () => false }
    const fault = { name: 'night', tolerated: {}, happen: async () => {}, probes: [probe], recoveryLimit: 50 }
    await expect(new Faults().happen(fault)).rejects.toThrow(/^after "night", the sun does not recover/)
  })
})
