import { describe, expect, it } from 'vitest'
import { SecretAccessRefused, StorageUnavailable } from '../../src/index.ts'
import { CachedReads } from '../../src/secrets/cached-reads.ts'

describe('what was read', () => {
  const value = Uint8Array.of(1)
  function cache() {
    let now = 0
    let asked = 0
    let outcome: Uint8Array | undefined | Error = value
    const reads = new CachedReads({ ttlMs: 100, staleMs: 5_000, clock: () => now })
    return {
      reads,
      asked: () => asked,
      pass: (ms: number) => {
        now += ms
      },
      answer: (next: Uint8Array | undefined | Error) => {
        outcome = next
      },
      get: () =>
        reads.get('k', async () => {
          asked++
          if (outcome instanceof Error) throw outcome
          return outcome
        }),
    }
  }

  it('serves for its time, and that nothing was there as well', async () => {
    const { get, pass, asked, answer } = cache()
    for (const expected of [value, undefined]) {
      answer(expected)
      pass(100)
      expect(await get()).toBe(expected)
      pass(99)
      expect(await get()).toBe(expected)
    }
    expect(asked()).toBe(2)
  })

  it('bridges an outage for as long as configured, and asks once a second', async () => {
    const { get, pass, asked, answer } = cache()
    await get()
    answer(new StorageUnavailable('down'))
    pass(100)
    for (let i = 0; i < 10; i++) expect(await get()).toBe(value)
    expect(asked()).toBe(2)
    pass(4_999)
    expect(await get()).toBe(value)
    pass(1)
    await expect(get()).rejects.toThrow('down')
    answer(Uint8Array.of(2))
    pass(1_000)
    expect(await get()).toEqual(Uint8Array.of(2))
  })

  it('bridges no refusal, and nothing after a write', async () => {
    const { get, pass, answer, reads } = cache()
    await get()
    answer(new SecretAccessRefused('no'))
    pass(100)
    await expect(get()).rejects.toThrow('no')
    reads.clear()
    answer(undefined)
    expect(await get()).toBeUndefined()
  })
})
