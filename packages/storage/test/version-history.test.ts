import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { createVersionHistory, type KeyValueStore, openStorage, StorageUnavailable } from '../src/index.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const hash = (text: string) => createHash('sha384').update(text).digest('hex')
const at = new Date('2026-06-01T00:00:00Z')
const set = (text: string, by?: string) => ({ text: bytes(text), at, by, origin: 'set' as const })
const textOf = (found: Uint8Array | undefined) => found && new TextDecoder().decode(found)

const folders: string[] = []
afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true })
})

async function storeOf(type: 'Memory' | 'LocalFs'): Promise<KeyValueStore> {
  if (type === 'Memory') return (await openStorage({ type })).namespace('policy_history')
  const dirPath = await mkdtemp(join(tmpdir(), 'history-'))
  folders.push(dirPath)
  return (await openStorage({ type, dirPath })).namespace('policy_history')
}

describe.each(['Memory', 'LocalFs'] as const)('a history in %s', (type) => {
  it('tells who set which version when, the newest first', async () => {
    const history = createVersionHistory(await storeOf(type), { owner: 'resource' })
    await history.record('p', set('one', 'ada'))
    await history.record('p', set('two'))
    expect(await history.list('p')).toEqual([
      { sha384: hash('two'), at: at.toISOString(), origin: 'set', bytes: 3 },
      { sha384: hash('one'), at: at.toISOString(), by: 'ada', origin: 'set', bytes: 3 },
    ])
    expect(textOf(await history.read('p', hash('one')))).toBe('one')
  })

  it('records what was there before the first record too', async () => {
    const history = createVersionHistory(await storeOf(type), { owner: 'resource' })
    await history.record('p', set('two'), bytes('one'))
    await history.record('p', set('three'), bytes('two'))
    expect((await history.list('p')).map(({ sha384, origin }) => [sha384, origin])).toEqual([
      [hash('three'), 'set'],
      [hash('two'), 'set'],
      [hash('one'), 'found'],
    ])
    expect(textOf(await history.read('p', hash('one')))).toBe('one')
  })

  it('keeps names and owners apart', async () => {
    const store = await storeOf(type)
    const resource = createVersionHistory(store, { owner: 'resource' })
    const attestation = createVersionHistory(store, { owner: 'attestation' })
    await resource.record('p', set('one'))
    expect(await attestation.list('p')).toEqual([])
    expect(await resource.list('q')).toEqual([])
    expect(await resource.read('q', hash('one'))).toBeUndefined()
  })

  it('keeps the newest versions only, and their texts', async () => {
    const store = await storeOf(type)
    const history = createVersionHistory(store, { owner: 'resource', limit: 3 })
    for (const text of ['a', 'b', 'c', 'd', 'a', 'e']) await history.record('p', set(text))
    expect((await history.list('p')).map(({ sha384 }) => sha384)).toEqual([hash('e'), hash('a'), hash('d')])
    expect(await history.read('p', hash('b'))).toBeUndefined()
    expect(textOf(await history.read('p', hash('a')))).toBe('a')
    expect(await store.list()).toHaveLength(4)
  })

  it('loses none of the versions that several administrators set at once', async () => {
    const store = await storeOf(type)
    const texts = Array.from({ length: 8 }, (_, i) => `text ${i}`)
    await Promise.all(
      texts.map((text) => createVersionHistory(store, { owner: 'resource' }).record('p', set(text))),
    )
    const history = createVersionHistory(store, { owner: 'resource' })
    expect((await history.list('p')).map(({ sha384 }) => sha384).toSorted()).toEqual(
      texts.map(hash).toSorted(),
    )
    for (const text of texts) expect(textOf(await history.read('p', hash(text)))).toBe(text)
  })
})

describe('a history', () => {
  it('has no text that is not what was recorded', async () => {
    const store = await storeOf('Memory')
    const history = createVersionHistory(store, { owner: 'resource' })
    await history.record('p', set('one'))
    await store.set(`resource/p/${hash('one')}`, bytes('other'))
    expect(await history.read('p', hash('one'))).toBeUndefined()
  })

  it('of a store that is down refuses to record', async () => {
    const store = await storeOf('Memory')
    const down: KeyValueStore = {
      ...store,
      set: async () => {
        throw new StorageUnavailable('down')
      },
    }
    const history = createVersionHistory(down, { owner: 'resource' })
    await expect(history.record('p', set('one'))).rejects.toThrow(StorageUnavailable)
  })
})
