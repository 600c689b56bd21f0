import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type FakeVault, rotateTransitKey, startFakeVault } from '@passport-kbs/testing/vault'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  encryptedStorage,
  type KeyService,
  type KeyValueStore,
  openStorage,
  openTransitKeyService,
  rewrapNamespace,
  type Storage,
  StorageConfigError,
  StorageUnavailable,
  WrappedKeys,
  type WrappedKeysOptions,
} from '../../src/index.ts'
import { temporaryFolder } from '../back-ends.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (value: Uint8Array | undefined) => value && new TextDecoder().decode(value)

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let vault: FakeVault
let plain: Storage
let record: KeyValueStore
let opened: WrappedKeys[]
beforeAll(async () => {
  folder = await temporaryFolder()
  vault = await startFakeVault()
  vault.tokens.set('root', { ttl: 0, renewable: false })
  await writeFile(join(folder.path, 'ca.pem'), vault.ca)
})
afterAll(async () => {
  await vault.stop()
  await folder.remove()
})
beforeEach(async () => {
  vault.fault = undefined
  vault.transit.clear()
  rotateTransitKey(vault.transit, 'kbs')
  plain = await openStorage({ type: 'Memory' })
  record = plain.namespace('storage_keys')
  opened = []
})
afterEach(async () => {
  for (const keys of opened) await keys.close()
})

const serviceOf = (keyName = 'kbs'): Promise<KeyService> =>
  openTransitKeyService({
    vaultUrl: vault.url,
    token: 'root',
    mountPath: 'transit',
    keyName,
    caCerts: [join(folder.path, 'ca.pem')],
    timeoutMs: 2_000,
  })

/** A process: its keys, and secrets encrypted with them. */
async function start(changes: Partial<WrappedKeysOptions> = {}) {
  const service = changes.service ?? (await serviceOf())
  const keys = await WrappedKeys.open({ storage: plain, firstRetryMs: 20, ...changes, service })
  opened.push(keys)
  const storage = encryptedStorage(plain, keys)
  return { keys, storage, secrets: storage.namespace('repository') }
}

/** A storage one of whose namespaces is another. */
const storageWith = (
  storage: Storage,
  changed: string,
  change: (store: KeyValueStore) => KeyValueStore,
): Storage => ({
  namespace: (name) => (name === changed ? change(bound(storage.namespace(name))) : storage.namespace(name)),
  ping: () => storage.ping(),
  close: () => storage.close(),
})
const bound = (store: KeyValueStore): KeyValueStore => ({
  get: (key) => store.get(key),
  set: (key, value, options) => store.set(key, value, options),
  compareAndSet: (key, expected, value) => store.compareAndSet(key, expected, value),
  getMany: (keys) => store.getMany(keys),
  delete: (key) => store.delete(key),
  list: () => store.list(),
})

const calls = (operation: string) =>
  vault.requests.filter((request) => request.includes(`transit/${operation}/`)).length

interface StoredRecord {
  revision: number
  current: string
  keys: Record<string, string>[]
  mac: string
}
const readRecord = async (): Promise<StoredRecord> => JSON.parse(text(await record.get('keyring.json')) ?? '')
const writeRecord = (value: unknown) => record.set('keyring.json', bytes(JSON.stringify(value)))

describe('the record of wrapped keys', () => {
  it('is made at the first start, and serves the next; the vault is asked once a start', async () => {
    const first = await start()
    await first.secrets.set('a/b/c', bytes('a secret'))
    expect(await readRecord()).toMatchObject({
      version: 1,
      revision: 1,
      keys: [{ service: 'vault_transit', key: 'transit/kbs', key_version: '1' }],
    })
    vault.requests.length = 0
    const second = await start()
    expect(text(await second.secrets.get('a/b/c'))).toBe('a secret')
    await second.secrets.set('a/b/d', bytes('another'))
    expect(text(await first.secrets.get('a/b/d'))).toBe('another')
    expect([calls('encrypt'), calls('decrypt')]).toEqual([0, 1])
    const raw = await plain.namespace('repository').get('a/b/c')
    expect(Buffer.from(raw ?? []).includes('a secret')).toBe(false)
  })

  it('is one, however many replicas begin at once', async () => {
    const replicas = await Promise.all(Array.from({ length: 8 }, () => start()))
    await Promise.all(replicas.map(({ secrets }, index) => secrets.set(`a/b/${index}`, bytes(`${index}`))))
    for (const { secrets } of replicas) {
      for (const index of replicas.keys()) expect(text(await secrets.get(`a/b/${index}`))).toBe(`${index}`)
    }
    expect((await readRecord()).keys).toHaveLength(1)
  })

  it('is taken, and no reason to stop, where another replica has begun and written in between', async () => {
    let first: Awaited<ReturnType<typeof start>> | undefined
    const late = storageWith(plain, 'storage_keys', (store) => ({
      ...store,
      get: async (key) => {
        const stored = await store.get(key)
        if (first === undefined) {
          first = await start()
          await first.secrets.set('a/b/c', bytes('a secret'))
        }
        return stored
      },
    }))
    const { secrets } = await start({ storage: late })
    expect(text(await secrets.get('a/b/c'))).toBe('a secret')
    expect((await readRecord()).keys).toHaveLength(1)
  })

  it('is not written where it could not be read again', async () => {
    const service = await serviceOf()
    const wordy: KeyService = {
      ...service,
      wrap: async (key, binding) => ({
        ...(await service.wrap(key, binding)),
        signature: 'A'.repeat(20_000),
      }),
    }
    await expect(start({ service: wordy })).rejects.toThrow(/malformed/)
    expect(await record.list()).toEqual([])
    await start()
  })

  it('holds no key, and neither do errors', async () => {
    const { keys } = await start()
    const key = keys.known().current.key.export()
    const stored = Buffer.from((await record.get('keyring.json')) ?? [])
    for (const encoding of ['base64', 'base64url', 'hex'] as const) {
      expect(stored.includes(key.toString(encoding))).toBe(false)
    }
  })

  it.each<[string, (record: StoredRecord) => unknown]>([
    ['is no JSON', () => 'x'],
    ['has no keys', (stored) => ({ ...stored, keys: [] })],
    [
      'names another key of the vault',
      (s) => ({ ...s, keys: s.keys.map((key) => ({ ...key, key: 'transit/x' })) }),
    ],
    [
      'names another service',
      (s) => ({ ...s, keys: s.keys.map((k) => ({ ...k, service: 'azure_key_vault' })) }),
    ],
    ['was changed', (stored) => ({ ...stored, revision: 2 })],
    ['has another mac', (stored) => ({ ...stored, mac: 'f'.repeat(64) })],
    ['has a member more', (stored) => ({ ...stored, more: 1 })],
    [
      'names another id',
      (s) => ({ ...s, current: 'f'.repeat(16), keys: s.keys.map((k) => ({ ...k, id: 'f'.repeat(16) })) }),
    ],
    ['has a key that is not wrapped', (s) => ({ ...s, keys: s.keys.map((k) => ({ ...k, wrapped: 'x' })) })],
  ])('that %s is refused at the start', async (_, change) => {
    await start()
    await writeRecord(change(await readRecord()))
    await expect(start()).rejects.toThrow(StorageConfigError)
  })

  it('with any one byte changed is refused at the start, and never anything worse', async () => {
    await start()
    const stored = (await record.get('keyring.json')) ?? new Uint8Array()
    for (let at = 0; at < stored.length - 1; at += 3) {
      const changed = Uint8Array.from(stored)
      changed[at] = (changed[at] ?? 0) ^ 0x01
      await record.set('keyring.json', changed)
      await expect(start(), `byte ${at}`).rejects.toThrow(StorageConfigError)
    }
  })

  it('that somebody has filled with what is no key costs readers, not the quota of the vault', async () => {
    const { secrets } = await start()
    await secrets.set('a/b/c', bytes('a secret'))
    const stored = await readRecord()
    const [own] = stored.keys
    const forged = { ...own, id: 'f'.repeat(16), wrapped: `vault:v1:${'A'.repeat(80)}` }
    await writeRecord({ ...stored, revision: 2, keys: [own, forged] })
    const envelope = (await plain.namespace('repository').get('a/b/c')) ?? new Uint8Array()
    await plain.namespace('repository').set('a/b/x', Uint8Array.from(envelope).fill(0xff, 8, 16))
    vault.requests.length = 0
    for (let i = 0; i < 20; i++) await expect(secrets.get('a/b/x')).rejects.toThrow(StorageUnavailable)
    expect(calls('decrypt')).toBeLessThanOrEqual(2)
    expect(text(await secrets.get('a/b/c'))).toBe('a secret')
  })

  it('does not make an earlier key current again for who cannot authenticate it', async () => {
    const { keys } = await start()
    await keys.addKey()
    const stored = await readRecord()
    expect(stored.keys).toHaveLength(2)
    await writeRecord({ ...stored, current: stored.keys[0]?.id })
    await expect(start()).rejects.toThrow(/was changed/)
    await writeRecord({ ...stored, keys: stored.keys.slice(1) })
    await expect(start()).rejects.toThrow(/was changed/)
  })

  it('is not replaced by an older one while a process runs', async () => {
    const { keys, secrets } = await start()
    const old = (await record.get('keyring.json')) ?? new Uint8Array()
    await keys.addKey()
    await record.set('keyring.json', old)
    await expect(secrets.set('a/b/c', bytes('x'))).rejects.toThrow(/older one than before/)
  })

  it('that was begun anew in a storage that lost everything stops the writing of who knew the former', async () => {
    const { secrets } = await start()
    await secrets.set('a/b/c', bytes('a secret'))
    const stored = (await record.get('keyring.json')) ?? new Uint8Array()
    const envelope = (await plain.namespace('repository').get('a/b/c')) ?? new Uint8Array()
    await record.delete('keyring.json')
    await plain.namespace('repository').delete('a/b/c')
    await (await start()).secrets.set('a/b/d', bytes('x'))
    await expect(secrets.set('a/b/e', bytes('y'))).rejects.toThrow(/not of this storage/)
    // the operator puts back what was lost
    await plain.namespace('repository').set('a/b/c', envelope)
    await record.set('keyring.json', stored)
    await secrets.set('a/b/e', bytes('y'))
    expect(text(await (await start()).secrets.get('a/b/c'))).toBe('a secret')
  })

  it('that is gone stops writing, not reading, and is not made anew over values that need it', async () => {
    const { secrets } = await start()
    await secrets.set('a/b/c', bytes('a secret'))
    const stored = (await record.get('keyring.json')) ?? new Uint8Array()
    await record.delete('keyring.json')
    await expect(secrets.set('a/b/d', bytes('x'))).rejects.toThrow(/gone from the storage/)
    expect(text(await secrets.get('a/b/c'))).toBe('a secret')
    await expect(start()).rejects.toThrow(/record of their wrapped keys is missing/)
    await record.set('keyring.json', stored)
    await secrets.set('a/b/d', bytes('y'))
    expect(text(await (await start()).secrets.get('a/b/d'))).toBe('y')
  })
})

describe('a vault that is down', () => {
  it('at the start: not ready, every read and write 503, and ready by itself when it is back', async () => {
    await (await start()).secrets.set('a/b/c', bytes('a secret'))
    vault.fault = 'sealed'
    const notices: string[] = []
    const { storage, secrets } = await start({ onNotice: (notice) => notices.push(notice) })
    await expect(storage.ping()).rejects.toThrow(/status 503/)
    await expect(secrets.get('a/b/c')).rejects.toThrow(StorageUnavailable)
    await expect(secrets.set('a/b/c', bytes('x'))).rejects.toThrow(StorageUnavailable)
    await expect(secrets.compareAndSet('a/b/c', undefined, bytes('x'))).rejects.toThrow(StorageUnavailable)
    expect(await storage.namespace('kbs').get('policy')).toBeUndefined()
    vault.fault = undefined
    await vi.waitFor(() => storage.ping(), { timeout: 3_000 })
    expect(text(await secrets.get('a/b/c'))).toBe('a secret')
    expect(notices).toEqual([
      'the storage keys could not be unwrapped yet: Vault answered with status 503',
      'the storage keys are unwrapped',
    ])
  })

  it('at the very first start: no record is made before the vault is back', async () => {
    vault.fault = 'sealed'
    const { storage, secrets } = await start()
    expect(await record.list()).toEqual([])
    vault.fault = undefined
    await vi.waitFor(() => storage.ping(), { timeout: 3_000 })
    await secrets.set('a/b/c', bytes('x'))
    expect((await readRecord()).keys).toHaveLength(1)
  })

  it('is asked again ever more rarely, and not before the time that it asked for', async () => {
    await start()
    vault.fault = 'sealed'
    await start({ firstRetryMs: 40 })
    vault.requests.length = 0
    await new Promise((done) => setTimeout(done, 500))
    // after 40, 80, 160 ms …
    expect(calls('decrypt')).toBeGreaterThanOrEqual(2)
    expect(calls('decrypt')).toBeLessThanOrEqual(4)
    vault.fault = 'quota'
    const { storage } = await start({ firstRetryMs: 10 })
    vault.fault = undefined
    await new Promise((done) => setTimeout(done, 300))
    await expect(storage.ping()).rejects.toThrow(StorageUnavailable)
    await vi.waitFor(() => storage.ping(), { timeout: 3_000 })
  })

  it('later: reading and writing go on', async () => {
    const { storage, secrets } = await start()
    vault.fault = 'sealed'
    await secrets.set('a/b/c', bytes('a secret'))
    expect(text(await secrets.get('a/b/c'))).toBe('a secret')
    await storage.ping()
  })
})

describe('a key of the vault that cannot be used', () => {
  it('stops the start where it is not the one that wrapped', async () => {
    await start()
    vault.transit.delete('kbs')
    rotateTransitKey(vault.transit, 'kbs')
    await expect(start()).rejects.toThrow(StorageConfigError)
  })

  it('does not wrap anything that could not be unwrapped', async () => {
    const service = await serviceOf()
    const lying: KeyService = { ...service, unwrap: async () => randomBytes(32) }
    const { storage } = await start({ service: lying })
    await expect(storage.ping()).rejects.toThrow(/does not unwrap what it has wrapped/)
    expect(await record.list()).toEqual([])
  })
})

describe('a rotation', () => {
  it('of the key in the vault leaves the keys as they are, wrapped by the new version', async () => {
    const running = await start()
    await running.secrets.set('a/b/c', bytes('a secret'))
    const before = await readRecord()
    rotateTransitKey(vault.transit, 'kbs')
    const { keys } = await start()
    expect(await keys.wrapAnew()).toBe(1)
    expect(await keys.wrapAnew()).toBe(0)
    expect(await readRecord()).toMatchObject({
      revision: before.revision + 1,
      current: before.current,
      keys: [{ id: before.keys[0]?.id, key_version: '2' }],
    })
    // the old version is not needed any more, and neither is the vault by who runs
    const transit = vault.transit.get('kbs')
    if (transit) transit.minDecryptionVersion = 2
    expect(text(await (await start()).secrets.get('a/b/c'))).toBe('a secret')
    vault.fault = 'sealed'
    await running.secrets.set('a/b/d', bytes('x'))
  })

  it('of the storage key is learnt by others when they write, or meet a value that needs it', async () => {
    const [reader, writer, operator] = [await start(), await start(), await start()]
    await reader.secrets.set('a/b/old', bytes('old'))
    await operator.keys.addKey()
    const added = operator.keys.known().current
    await operator.secrets.set('a/b/new', bytes('new'))
    expect(text(await reader.secrets.get('a/b/new'))).toBe('new')
    await writer.secrets.set('a/b/c', bytes('x'))
    const stored = (await plain.namespace('repository').get('a/b/c')) ?? new Uint8Array()
    expect(Buffer.from(stored.subarray(8, 16))).toEqual(Buffer.from(added.id))
    expect(text(await writer.secrets.get('a/b/old'))).toBe('old')
  })

  it('of the storage key is learnt by who meets a value while an earlier look is under way', async () => {
    const operator = await start()
    let answer = () => {}
    let held = false
    const slow = storageWith(plain, 'storage_keys', (store) => ({
      ...store,
      get: async (key) => {
        const stored = await store.get(key)
        if (held) {
          held = false
          await new Promise<void>((resolve) => {
            answer = resolve
          })
        }
        return stored
      },
    }))
    const reader = await start({ storage: slow })
    held = true
    const writing = reader.secrets.set('a/b/c', bytes('x'))
    await vi.waitFor(() => expect(held).toBe(false))
    await operator.keys.addKey()
    await operator.secrets.set('a/b/new', bytes('new'))
    const reading = reader.secrets.get('a/b/new')
    await new Promise((done) => setTimeout(done, 20))
    answer()
    await writing
    expect(text(await reading)).toBe('new')
  })

  it('ends with the old key out of the record, once nothing needs it and no write can be under way', async () => {
    const { keys, secrets } = await start()
    await secrets.set('a/b/c', bytes('a secret'))
    await keys.addKey()
    expect(await keys.removeUnneeded()).toEqual({ removed: 0, kept: 1 })
    await rewrapNamespace(plain, 'repository', keys.known())
    expect(await keys.removeUnneeded()).toEqual({ removed: 0, kept: 1 })
    const later = await start({ now: () => new Date(Date.now() + 61_000) })
    expect(await later.keys.removeUnneeded()).toEqual({ removed: 1, kept: 0 })
    expect((await readRecord()).keys).toHaveLength(1)
    expect(text(await (await start()).secrets.get('a/b/c'))).toBe('a secret')
  })

  it('keeps a key that a value of any namespace needs', async () => {
    const { keys } = await start()
    const all = encryptedStorage(plain, keys, { namespaces: ['reference_value'] })
    await all.namespace('reference_value').set('a', bytes('x'))
    await keys.addKey()
    const later = await start({ now: () => new Date(Date.now() + 61_000) })
    expect(await later.keys.removeUnneeded()).toEqual({ removed: 0, kept: 1 })
  })

  it('by several at once loses no key', async () => {
    const operators = await Promise.all([start(), start(), start()])
    await Promise.all(operators.map(({ keys }) => keys.addKey()))
    expect((await readRecord()).keys).toHaveLength(4)
    expect((await readRecord()).revision).toBe(4)
    await start()
  })

  it('to another key of a vault goes by the former as `previous`', async () => {
    const { secrets } = await start()
    await secrets.set('a/b/c', bytes('a secret'))
    rotateTransitKey(vault.transit, 'next')
    await expect(start({ service: await serviceOf('next') })).rejects.toThrow(/not configured/)
    const moved = await start({ service: await serviceOf('next'), previousService: await serviceOf() })
    expect(await moved.keys.wrapAnew()).toBe(1)
    const alone = await start({ service: await serviceOf('next') })
    expect(text(await alone.secrets.get('a/b/c'))).toBe('a secret')
  })
})

describe('values under a key from a file', () => {
  it('are read with it as a previous key, and re-wrapped; and the way back goes as well', async () => {
    const keyFile = join(folder.path, 'key')
    await writeFile(keyFile, randomBytes(32).toString('base64'), { mode: 0o600 })
    const dirPath = join(folder.path, 'storage')
    const base = { previousKeyFiles: [], namespaces: ['repository'], require: true }
    const keyService = {
      kind: 'vault_transit',
      vaultUrl: vault.url,
      token: 'root',
      mountPath: 'transit',
      keyName: 'kbs',
      caCerts: [join(folder.path, 'ca.pem')],
      timeoutMs: 2_000,
    } as const
    const open = (encryption: object) =>
      openStorage({ type: 'LocalFs', dirPath, encryption: { ...base, ...encryption } })
    const byFile = await open({ keyFile })
    await byFile.namespace('repository').set('a/b/c', bytes('one'))
    await expect(open({ keyService })).rejects.toThrow(/record of their wrapped keys is missing/)
    const byVault = await open({ keyService, previousKeyFiles: [keyFile] })
    expect(text(await byVault.namespace('repository').get('a/b/c'))).toBe('one')
    await byVault.namespace('repository').set('a/b/d', bytes('two'))
    await expect(byFile.namespace('repository').get('a/b/d')).rejects.toThrow(/not configured/)
    const back = await open({ keyFile, previousKeyService: keyService })
    expect(text(await back.namespace('repository').get('a/b/d'))).toBe('two')
    await back.namespace('repository').set('a/b/d', bytes('three'))
    expect(text(await byFile.namespace('repository').get('a/b/d'))).toBe('three')
    await Promise.all([byFile, byVault, back].map((storage) => storage.close()))
  })
})
