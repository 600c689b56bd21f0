import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  InvalidStorageKey,
  type KeyValueStore,
  MAX_VALUE_BYTES,
  openStorage,
  type Storage,
  ValueTooLarge,
} from '../src/index.ts'
import { backEnds } from './back-ends.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const everyByte = Uint8Array.from({ length: 1024 }, (_, index) => index % 256)

for (const backEnd of backEnds) {
  describe.skipIf(!backEnd.available)(`a key-value store in ${backEnd.name}`, () => {
    let started: Awaited<ReturnType<typeof backEnd.start>>
    let storage: Storage
    let namespaces = 0
    /** A namespace that no other test has used. */
    const fresh = (): KeyValueStore => storage.namespace(`n${++namespaces}`)

    beforeAll(async () => {
      started = await backEnd.start()
      storage = await openStorage(started.config)
    }, 60_000)
    afterAll(async () => {
      await storage?.close()
      await started?.stop()
    })

    it('answers ping', () => expect(storage.ping()).resolves.toBeUndefined())

    it('has no value where none was written', async () => {
      const store = fresh()
      expect(await store.get('a')).toBeUndefined()
      expect(await store.delete('a')).toBe(false)
      expect(await store.list()).toEqual([])
      expect(await store.getMany(['a', 'b'])).toEqual([undefined, undefined])
      expect(await store.getMany([])).toEqual([])
    })

    it.each([
      ['every byte', everyByte],
      ['no byte', new Uint8Array()],
      ['a mebibyte', new Uint8Array(1 << 20).fill(0xff)],
    ])('gives back %s as written', async (_, value) => {
      const store = fresh()
      expect(await store.set('key', value)).toBe(true)
      expect(await store.get('key')).toEqual(Uint8Array.from(value))
      expect(await store.getMany(['key'])).toEqual([Uint8Array.from(value)])
    })

    it('overwrites, and with ifAbsent does not', async () => {
      const store = fresh()
      expect(await store.set('key', bytes('one'), { ifAbsent: true })).toBe(true)
      expect(await store.set('key', bytes('two'), { ifAbsent: true })).toBe(false)
      expect(await store.get('key')).toEqual(bytes('one'))
      expect(await store.set('key', bytes('three'))).toBe(true)
      expect(await store.get('key')).toEqual(bytes('three'))
    })

    it('compares whole values, and an empty value is not an absent one', async () => {
      const store = fresh()
      expect(await store.compareAndSet('key', bytes(''), bytes('x'))).toBe(false)
      expect(await store.compareAndSet('key', undefined, bytes(''))).toBe(true)
      expect(await store.compareAndSet('key', undefined, bytes('x'))).toBe(false)
      expect(await store.compareAndSet('key', bytes(''), everyByte)).toBe(true)
      expect(await store.compareAndSet('key', everyByte.subarray(1), bytes('x'))).toBe(false)
      expect(await store.compareAndSet('key', everyByte, bytes('last'))).toBe(true)
      expect(await store.get('key')).toEqual(bytes('last'))
    })

    it('deletes once', async () => {
      const store = fresh()
      await store.set('key', bytes('x'))
      expect(await store.delete('key')).toBe(true)
      expect(await store.delete('key')).toBe(false)
      expect(await store.get('key')).toBeUndefined()
    })

    it('lists its keys sorted, and no other namespace has them', async () => {
      const store = fresh()
      const keys = ['repo/type/tag', 'default_cpu.rego', 'a:b', '.hidden', 'A-1_2.3', 'rvps:x/y']
      for (const key of keys) await store.set(key, bytes(key))
      expect(await store.list()).toEqual(keys.toSorted())
      expect(await fresh().list()).toEqual([])
    })

    it('reads many keys in the order asked, with gaps and repetitions', async () => {
      const store = fresh()
      await store.set('a', bytes('1'))
      await store.set('b/c', bytes('2'))
      expect(await store.getMany(['b/c', 'none', 'a', 'b/c'])).toEqual([
        bytes('2'),
        undefined,
        bytes('1'),
        bytes('2'),
      ])
    })

    it('keeps what was written when the caller changes its arrays afterwards', async () => {
      const store = fresh()
      const value = bytes('abc')
      await store.set('key', value)
      value.fill(0)
      const read = await store.get('key')
      read?.fill(0)
      expect(await store.get('key')).toEqual(bytes('abc'))
    })

    const longest = `${'a/'.repeat(40)}${'b'.repeat(55)}`
    it('takes the longest key', async () => {
      const store = fresh()
      await store.set(longest, bytes('x'))
      expect(await store.list()).toEqual([longest])
    })

    it.each([
      '',
      '/',
      '/a',
      'a/',
      'a//b',
      '.',
      '..',
      'a/../b',
      './a',
      'a/..',
      'a b',
      'a\\x2Fb',
      'a\0b',
      'a\nb',
      'ä',
      '~tmp-1',
      'a*',
      'a?',
      `${longest}b`,
    ])('refuses the key %j on read as on write', async (key) => {
      const store = fresh()
      const value = bytes('x')
      await expect(store.get(key)).rejects.toThrow(InvalidStorageKey)
      await expect(store.getMany(['a', key])).rejects.toThrow(InvalidStorageKey)
      await expect(store.set(key, value)).rejects.toThrow(InvalidStorageKey)
      await expect(store.set(key, value, { ifAbsent: true })).rejects.toThrow(InvalidStorageKey)
      await expect(store.compareAndSet(key, undefined, value)).rejects.toThrow(InvalidStorageKey)
      await expect(store.delete(key)).rejects.toThrow(InvalidStorageKey)
    })

    it.each(['', '.', '..', 'a/b', 'a:b', '/a', 'a b', '~locks'])('refuses the namespace %j', (name) => {
      expect(() => storage.namespace(name)).toThrow(InvalidStorageKey)
    })

    it('refuses a value over the limit', async () => {
      const value = new Uint8Array(MAX_VALUE_BYTES + 1)
      await expect(fresh().set('key', value)).rejects.toThrow(ValueTooLarge)
      await expect(fresh().compareAndSet('key', undefined, value)).rejects.toThrow(ValueTooLarge)
    })

    it('lets exactly one of 100 parallel writers be first', async () => {
      const store = fresh()
      const writers = Array.from({ length: 100 }, (_, index) =>
        store.set('key', bytes(String(index)), { ifAbsent: true }),
      )
      const written = await Promise.all(writers)
      expect(written.filter(Boolean)).toHaveLength(1)
      expect(await store.get('key')).toEqual(bytes(String(written.indexOf(true))))
    })

    it('lets exactly one of 100 parallel compare-and-sets win, from two connections', async () => {
      const other = backEnd.name === 'Memory' ? storage : await openStorage(started.config)
      const name = `n${++namespaces}`
      const stores = [storage.namespace(name), other.namespace(name)]
      await storage.namespace(name).set('key', bytes('old'))
      const swaps = Array.from({ length: 50 }, (_, index) =>
        stores.map((store) => store.compareAndSet('key', bytes('old'), bytes(`new ${index}`))),
      )
      expect((await Promise.all(swaps.flat())).filter(Boolean)).toHaveLength(1)
      if (other !== storage) await other.close()
    })

    it('loses no increment of a counter that 10 writers compare-and-set', async () => {
      const store = fresh()
      const increment = async () => {
        for (;;) {
          const old = await store.get('counter')
          const next = bytes(String(Number(new TextDecoder().decode(old ?? bytes('0'))) + 1))
          if (await store.compareAndSet('counter', old, next)) return
        }
      }
      const writer = async () => {
        for (let i = 0; i < 5; i++) await increment()
      }
      await Promise.all(Array.from({ length: 10 }, writer))
      expect(await store.get('counter')).toEqual(bytes('50'))
    })
  })
}
