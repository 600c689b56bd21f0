import { randomBytes } from 'node:crypto'
import { beforeEach, describe, expect, it } from 'vitest'
import {
  createStorageKeyring,
  encryptedStorage,
  type KeyValueStore,
  MAX_VALUE_BYTES,
  openStorage,
  rewrapNamespace,
  type Storage,
  StorageUnavailable,
  storageKey,
  ValueTooLarge,
} from '../../src/index.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (value: Uint8Array | undefined) => value && new TextDecoder().decode(value)

const [first, second, third] = [1, 2, 3].map(() => storageKey(randomBytes(32)))
if (!first || !second || !third) throw new Error('three keys')

let plain: Storage
let stored: KeyValueStore
beforeEach(async () => {
  plain = await openStorage({ type: 'Memory' })
  stored = plain.namespace('repository')
})

const secretsWith = (keyring: ReturnType<typeof createStorageKeyring>, require = false) =>
  encryptedStorage(plain, keyring, { require }).namespace('repository')

describe('a value encrypted at rest (weakness 41)', () => {
  it('is an envelope in the store: not the value, twice not the same, 104 bytes longer', async () => {
    const secrets = secretsWith(createStorageKeyring(first))
    await secrets.set('a/b/c', bytes('a secret'))
    const once = await stored.get('a/b/c')
    expect(Buffer.from(once ?? [])).toHaveLength(8 + 104)
    expect(text(once?.subarray(0, 7))).toBe('PKBSenc')
    expect(Buffer.from(once ?? []).includes('secret')).toBe(false)
    await secrets.set('a/b/c', bytes('a secret'))
    const twice = await stored.get('a/b/c')
    expect(twice).not.toEqual(once)
    // nothing after the header of version and key id is repeated
    for (let at = 16; at < 104; at += 8) expect(twice?.slice(at, at + 8)).not.toEqual(once?.slice(at, at + 8))
    expect(await secrets.get('a/b/c')).toEqual(bytes('a secret'))
    expect(await secrets.getMany(['none', 'a/b/c'])).toEqual([undefined, bytes('a secret')])
  })

  it('is only in the namespaces that were asked for', async () => {
    const storage = encryptedStorage(plain, createStorageKeyring(first))
    await storage.namespace('kbs').set('resource-policy.rego', bytes('package policy'))
    expect(text(await plain.namespace('kbs').get('resource-policy.rego'))).toBe('package policy')
  })

  it('is refused with any one byte changed, cut off or added, and nothing of it is given out', async () => {
    const secrets = secretsWith(createStorageKeyring(first))
    await secrets.set('a/b/c', bytes('a secret'))
    const envelope = (await stored.get('a/b/c')) ?? new Uint8Array()
    for (let at = 7; at < envelope.length; at++) {
      const changed = Uint8Array.from(envelope)
      changed[at] = (changed[at] ?? 0) ^ 0x01
      await stored.set('a/b/c', changed)
      await expect(secrets.get('a/b/c'), `byte ${at}`).rejects.toThrow(StorageUnavailable)
      await expect(secrets.getMany(['a/b/c'])).rejects.toThrow(StorageUnavailable)
      await expect(secrets.compareAndSet('a/b/c', bytes('a secret'), bytes('x'))).rejects.toThrow(
        StorageUnavailable,
      )
    }
    for (const length of [8, 15, 16, 30, 76, 100, envelope.length - 1]) {
      await stored.set('a/b/c', envelope.subarray(0, length))
      await expect(secrets.get('a/b/c'), `${length} bytes`).rejects.toThrow(StorageUnavailable)
    }
    await stored.set('a/b/c', Buffer.concat([envelope, Uint8Array.of(0)]))
    await expect(secrets.get('a/b/c')).rejects.toThrow(StorageUnavailable)
    // without its mark it is no envelope: read as a value in clear, unless that is forbidden
    const unmarked = Uint8Array.from(envelope).fill(0, 0, 1)
    await stored.set('a/b/c', unmarked)
    expect(await secrets.get('a/b/c')).toEqual(unmarked)
    await expect(secretsWith(createStorageKeyring(first), true).get('a/b/c')).rejects.toThrow(
      StorageUnavailable,
    )
  })

  it('opens at its own key in its own namespace only', async () => {
    const storage = encryptedStorage(plain, createStorageKeyring(first), {
      namespaces: ['repository', 'kbs'],
    })
    await storage.namespace('repository').set('a/b/c', bytes('one'))
    await storage.namespace('repository').set('a/b/d', bytes('two'))
    const one = (await stored.get('a/b/c')) ?? new Uint8Array()
    await stored.set('a/b/d', one)
    await plain.namespace('kbs').set('a/b/c', one)
    await expect(storage.namespace('repository').get('a/b/d')).rejects.toThrow(/moved/)
    await expect(storage.namespace('kbs').get('a/b/c')).rejects.toThrow(/moved/)
    expect(text(await storage.namespace('repository').get('a/b/c'))).toBe('one')
  })

  it('takes no part from another envelope of the same key', async () => {
    const secrets = secretsWith(createStorageKeyring(first))
    await secrets.set('a/b/c', bytes('one'))
    const one = (await stored.get('a/b/c')) ?? new Uint8Array()
    await secrets.set('a/b/c', bytes('two'))
    const two = (await stored.get('a/b/c')) ?? new Uint8Array()
    await stored.set('a/b/c', Buffer.concat([one.subarray(0, 76), two.subarray(76)]))
    await expect(secrets.get('a/b/c')).rejects.toThrow(StorageUnavailable)
  })

  it('needs the key it was encrypted with, even under its id', async () => {
    await secretsWith(createStorageKeyring(first)).set('a/b/c', bytes('one'))
    await expect(secretsWith(createStorageKeyring(second)).get('a/b/c')).rejects.toThrow(
      /key that is not configured/,
    )
    const impostor = createStorageKeyring({ id: first.id, key: second.key })
    await expect(secretsWith(impostor).get('a/b/c')).rejects.toThrow(StorageUnavailable)
    expect(text(await secretsWith(createStorageKeyring(second, [third, first])).get('a/b/c'))).toBe('one')
  })

  it('may lie beside values in clear from before, unless encryption is required', async () => {
    await stored.set('a/b/c', bytes('in clear'))
    expect(text(await secretsWith(createStorageKeyring(first)).get('a/b/c'))).toBe('in clear')
    const strict = secretsWith(createStorageKeyring(first), true)
    await expect(strict.get('a/b/c')).rejects.toThrow(/not encrypted/)
    await strict.set('a/b/c', bytes('sealed'))
    expect(text(await strict.get('a/b/c'))).toBe('sealed')
  })

  it('may look like an envelope itself', async () => {
    const secrets = secretsWith(createStorageKeyring(first), true)
    await secrets.set('a/b/c', bytes('PKBSenc\u0001 is how envelopes begin'))
    expect(text(await secrets.get('a/b/c'))).toBe('PKBSenc\u0001 is how envelopes begin')
  })

  it('is at most as large as fits with its envelope', async () => {
    const secrets = secretsWith(createStorageKeyring(first))
    await secrets.set('a/b/c', new Uint8Array(MAX_VALUE_BYTES - 104))
    await expect(secrets.set('a/b/c', new Uint8Array(MAX_VALUE_BYTES - 103))).rejects.toThrow(ValueTooLarge)
  })
})

describe('a change of keys', () => {
  it('brings values in clear and under earlier keys under the current one; again finds nothing to do', async () => {
    await stored.set('a/b/clear', bytes('clear'))
    await secretsWith(createStorageKeyring(first)).set('a/b/first', bytes('first'))
    await secretsWith(createStorageKeyring(second)).set('a/b/second', bytes('second'))
    const keyring = createStorageKeyring(second, [first])
    expect(await rewrapNamespace(plain, 'repository', keyring)).toEqual({
      current: 1,
      rewrapped: 1,
      encrypted: 1,
      failed: [],
    })
    const secrets = secretsWith(createStorageKeyring(second), true)
    expect((await secrets.getMany(['a/b/clear', 'a/b/first', 'a/b/second'])).map(text)).toEqual([
      'clear',
      'first',
      'second',
    ])
    expect(await rewrapNamespace(plain, 'repository', keyring)).toMatchObject({
      current: 3,
      rewrapped: 0,
      encrypted: 0,
    })
  })

  it('leaves what it cannot open as it is, says so, and goes on', async () => {
    await secretsWith(createStorageKeyring(third)).set('a/b/1', bytes('lost'))
    const lost = await stored.get('a/b/1')
    await secretsWith(createStorageKeyring(first)).set('a/b/2', bytes('kept'))
    const result = await rewrapNamespace(plain, 'repository', createStorageKeyring(second, [first]))
    expect(result).toMatchObject({ rewrapped: 1, failed: [{ key: 'a/b/1', reason: /not configured/ }] })
    expect(await stored.get('a/b/1')).toEqual(lost)
  })

  it('goes on where it was broken off', async () => {
    const old = secretsWith(createStorageKeyring(first))
    for (let i = 0; i < 10; i++) await old.set(`a/b/${i}`, bytes(String(i)))
    let left = 4
    const failing: Storage = {
      ...plain,
      namespace: (name) => ({
        ...plain.namespace(name),
        async compareAndSet(...change) {
          if (left-- <= 0) throw new StorageUnavailable('gone')
          return plain.namespace(name).compareAndSet(...change)
        },
      }),
    }
    const keyring = createStorageKeyring(second, [first])
    expect((await rewrapNamespace(failing, 'repository', keyring)).failed).toHaveLength(6)
    expect(await rewrapNamespace(plain, 'repository', keyring)).toMatchObject({
      current: 4,
      rewrapped: 6,
      failed: [],
    })
  })

  it('loses no write, deletion or compare-and-set that comes meanwhile', async () => {
    const old = secretsWith(createStorageKeyring(first, [second]))
    const now = secretsWith(createStorageKeyring(second, [first]))
    const keys = Array.from({ length: 40 }, (_, index) => `a/b/${index}`)
    for (const key of keys) await old.set(key, bytes('0'))
    let stop = false
    const rewrapping = (async () => {
      while (!stop) {
        // there and back, so that there is always something to do
        await rewrapNamespace(plain, 'repository', createStorageKeyring(second, [first]))
        await rewrapNamespace(plain, 'repository', createStorageKeyring(first, [second]))
      }
    })()
    const increments = keys.slice(0, 10).map(async (key, index) => {
      const secrets = index % 2 === 0 ? old : now
      for (let i = 0; i < 20; i++) {
        const value = await secrets.get(key)
        expect(await secrets.compareAndSet(key, value, bytes(String(Number(text(value)) + 1)))).toBe(true)
      }
    })
    const writes = keys.slice(10, 20).map((key) => now.set(key, bytes('new')))
    const deletions = keys.slice(20, 30).map((key) => now.delete(key))
    await Promise.all([...increments, ...writes, ...deletions])
    stop = true
    await rewrapping
    expect((await now.getMany(keys)).map(text)).toEqual(
      keys.map((_, index) => (index < 10 ? '20' : index < 20 ? 'new' : index < 30 ? undefined : '0')),
    )
  })
})
