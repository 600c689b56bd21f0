import { describe, expect, it } from 'vitest'
import { deriveFromStore } from '../src/derived-value.ts'
import { type KeyValueStore, StorageUnavailable } from '../src/key-value-store.ts'

function storeOf(values: Map<string, string>): KeyValueStore & { reads: number; down: boolean } {
  const store = {
    reads: 0,
    down: false,
    async get(key: string) {
      store.reads += 1
      if (store.down) throw new StorageUnavailable('down')
      const value = values.get(key)
      return value === undefined ? undefined : new TextEncoder().encode(value)
    },
  }
  return store as unknown as KeyValueStore & { reads: number; down: boolean }
}

describe('a value derived from a stored one', () => {
  it('is made once and reused while the stored bytes stay equal', async () => {
    const store = storeOf(new Map([['policy', 'a']]))
    let time = 0
    let made = 0
    const derived = deriveFromStore(store, 'policy', (bytes) => ({ text: String(bytes), n: ++made }), {
      maxAgeMs: 1000,
      clock: () => time,
    })
    await Promise.all([derived.current(), derived.current(), derived.current()])
    expect(store.reads).toBe(1)
    time = 5000
    await derived.current()
    expect(store.reads).toBe(2)
    expect(made).toBe(1)
  })

  it('follows a write of another process within its maximum age, and one of its own at once', async () => {
    const values = new Map([['policy', 'a']])
    let time = 0
    const decode = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes)
    const derived = deriveFromStore(storeOf(values), 'policy', decode, { maxAgeMs: 1000, clock: () => time })
    expect(await derived.current()).toBe('a')
    values.set('policy', 'b')
    time = 999
    expect(await derived.current()).toBe('a')
    time = 1000
    expect(await derived.current()).toBe('b')
    values.set('policy', 'c')
    expect(await derived.refresh()).toBe('c')
  })

  it('fails once the store is down longer than the maximum age, and recovers with it', async () => {
    const store = storeOf(new Map([['policy', 'a']]))
    let time = 0
    const derived = deriveFromStore(store, 'policy', () => 1, { maxAgeMs: 1000, clock: () => time })
    await derived.current()
    store.down = true
    expect(await derived.current()).toBe(1)
    time = 1000
    await expect(derived.current()).rejects.toBeInstanceOf(StorageUnavailable)
    store.down = false
    expect(await derived.current()).toBe(1)
  })

  it('throws what the making threw, until the stored bytes change', async () => {
    const values = new Map([['policy', 'bad']])
    let time = 0
    let made = 0
    const derive = (bytes: Uint8Array | undefined) => {
      made += 1
      if (String(new TextDecoder().decode(bytes)) === 'bad') throw new Error('does not compile')
      return 'good'
    }
    const derived = deriveFromStore(storeOf(values), 'policy', derive, { maxAgeMs: 10, clock: () => time })
    await expect(derived.current()).rejects.toThrow('does not compile')
    time = 10
    await expect(derived.current()).rejects.toThrow('does not compile')
    expect(made).toBe(1)
    values.set('policy', 'ok')
    time = 20
    expect(await derived.current()).toBe('good')
  })
})
