import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openStorage } from '@passport-kbs/storage'
import { postgresAvailable, startPostgres } from '@passport-kbs/testing/postgres'
import { type FakeVault, rotateTransitKey, startFakeVault } from '@passport-kbs/testing/vault'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { kbsctl } from './kbsctl.ts'

const hasPostgres = postgresAvailable()
const bytes = (text: string) => new TextEncoder().encode(text)

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kbsctl-'))
})
afterEach(() => rm(folder, { recursive: true }))

const file = (name: string) => join(folder, name)
const run = (...args: string[]) => kbsctl(args, { cwd: folder })
const rewrap = (...options: string[]) => run('storage', 'rewrap', '--config-file', 'kbs.toml', ...options)

/** A configuration that is fit for nothing but its storage. */
const configure = (storage: string, encryption: string) =>
  writeFile(file('kbs.toml'), `${storage}[storage_backend.encryption]\n${encryption}`)

const localFs =
  'storage_backend.storage_type = "LocalFs"\nstorage_backend.backends.local_fs.dir_path = "storage"\n'

const open = (keys: readonly string[]) => {
  const [keyFile = '', ...previousKeyFiles] = keys.map(file)
  const encryption = { keyFile, previousKeyFiles, namespaces: ['repository'], require: true }
  return openStorage({ type: 'LocalFs', dirPath: file('storage'), encryption })
}

describe('keygen --storage-key', () => {
  it('makes a key that only its owner reads, and never replaces one', async () => {
    expect(await run('keygen', '--storage-key', 'storage.key')).toMatchObject({
      status: 0,
      stdout: `${file('storage.key')}\n`,
    })
    const text = await readFile(file('storage.key'), 'utf8')
    expect(Buffer.from(text, 'base64')).toHaveLength(32)
    expect((await stat(file('storage.key'))).mode & 0o777).toBe(0o600)
    expect(await run('keygen', '--storage-key', 'storage.key')).toMatchObject({ status: 1, stdout: '' })
    expect(await readFile(file('storage.key'), 'utf8')).toBe(text)
  })
})

describe('storage rewrap', { timeout: 60_000 }, () => {
  beforeEach(async () => {
    for (const name of ['one.key', 'two.key']) await run('keygen', '--storage-key', name)
  })

  it('encrypts what is in clear, then brings it under a new key; the old one is not needed any more', async () => {
    const plain = await openStorage({ type: 'LocalFs', dirPath: file('storage') })
    for (const key of ['a/b/c', 'a/b/d']) await plain.namespace('repository').set(key, bytes(key))
    await configure(localFs, 'key_file = "one.key"\n')
    expect(await rewrap()).toMatchObject({
      status: 0,
      stdout:
        'LocalFs repository: 0 re-wrapped, 2 encrypted for the first time, 0 current before, 0 failed\n',
    })
    await configure(localFs, 'key_file = "two.key"\nprevious_key_files = ["one.key"]\n')
    expect((await rewrap()).stdout).toContain('2 re-wrapped, 0 encrypted')
    expect((await rewrap()).stdout).toContain('0 re-wrapped, 0 encrypted for the first time, 2 current')
    const storage = await open(['two.key'])
    expect(await storage.namespace('repository').getMany(['a/b/c', 'a/b/d'])).toEqual(
      ['a/b/c', 'a/b/d'].map(bytes),
    )
    await Promise.all([plain.close(), storage.close()])
  })

  it('fails for values whose key is missing, names them, and leaves them alone', async () => {
    const storage = await open(['one.key'])
    await storage.namespace('repository').set('a/b/c', bytes('x'))
    await configure(localFs, 'key_file = "two.key"\n')
    expect(await rewrap()).toMatchObject({
      status: 1,
      stdout: expect.stringContaining('1 failed'),
      stderr: expect.stringContaining(
        'repository/a/b/c: a stored value is encrypted with a key that is not configured',
      ),
    })
    expect(await storage.namespace('repository').get('a/b/c')).toEqual(bytes('x'))
    await storage.close()
  })

  it.each([
    ['no such file', async () => {}, 'cannot be read'],
    ['no encryption', () => writeFile(file('kbs.toml'), localFs), 'has no [storage_backend.encryption]'],
    [
      'a key that is not there',
      () => configure(localFs, 'key_file = "none"\n'),
      'the key file none cannot be read',
    ],
    [
      'memory',
      () => configure('storage_backend.storage_type = "Memory"\n', 'key_file = "one.key"\n'),
      'memory',
    ],
    [
      'a mistake',
      () => configure(localFs, 'key_file = "one.key"\nkey = "x"\n'),
      'storage_backend.encryption',
    ],
  ])('fails with %s, and says so', async (_, prepare, reason) => {
    await prepare()
    expect(await rewrap()).toMatchObject({ status: 1, stdout: '', stderr: expect.stringContaining(reason) })
  })

  it.skipIf(!hasPostgres)(
    'reaches PostgreSQL, where others write meanwhile',
    async () => {
      const server = await startPostgres()
      try {
        const { host, port, password } = server
        const section = `storage_backend.storage_type = "Postgres"\n[storage_backend.backends.postgres]\n`
        const login = `host = "${host}"\nport = ${port}\npassword = "${password}"\n`
        await configure(section + login, 'key_file = "two.key"\nprevious_key_files = ["one.key"]\n')
        const keyed = (keys: readonly string[]) => {
          const [keyFile = '', ...previousKeyFiles] = keys.map(file)
          const postgres = {
            host,
            port,
            password,
            username: 'postgres',
            pool_size: 2,
            command_timeout_ms: 5_000,
          }
          const encryption = { keyFile, previousKeyFiles, namespaces: ['repository'], require: true }
          return openStorage({ type: 'Postgres', postgres, encryption })
        }
        const old = await keyed(['one.key', 'two.key'])
        const secrets = old.namespace('repository')
        const keys = Array.from({ length: 200 }, (_, index) => `a/b/${index}`)
        await Promise.all(keys.map((key) => secrets.set(key, bytes('old'))))
        const outcome = rewrap()
        let rounds = 0
        let done = false
        outcome.finally(() => {
          done = true
        })
        for (; !done; rounds++) {
          for (const key of keys.slice(0, 20)) {
            const value = await secrets.get(key)
            expect(await secrets.compareAndSet(key, value, bytes(`new ${rounds}`))).toBe(true)
          }
        }
        expect(await outcome).toMatchObject({ status: 0, stdout: expect.stringContaining(' 0 failed') })
        // what the old configuration wrote last may be under the old key
        await rewrap()
        const now = await keyed(['two.key'])
        const values = await now.namespace('repository').getMany(keys)
        expect(values).toEqual(keys.map((_, index) => bytes(index < 20 ? `new ${rounds - 1}` : 'old')))
        await Promise.all([old.close(), now.close()])
      } finally {
        await server.stop()
      }
    },
    60_000,
  )
})

describe('storage rewrap with keys that Vault wraps', { timeout: 60_000 }, () => {
  let vault: FakeVault
  let transit: string
  beforeEach(async () => {
    vault = await startFakeVault()
    vault.tokens.set('root', { ttl: 0, renewable: false })
    rotateTransitKey(vault.transit, 'kbs')
    await writeFile(file('ca.pem'), vault.ca)
    const access = { vault_url: vault.url, token: 'root', ca_certs: [file('ca.pem')], key_name: 'kbs' }
    const members = Object.entries(access).map(([name, value]) => `${name} = ${JSON.stringify(value)}`)
    transit = `vault_transit = { ${members.join(', ')} }\n`
    await configure(localFs, transit)
  })
  afterEach(() => vault.stop())
  const versions = async () => {
    const path = join(file('storage'), 'storage_keys', 'keyring.json')
    const { keys } = JSON.parse(await readFile(path, 'utf8'))
    return keys.map(({ key_version }: { key_version: string }) => key_version)
  }

  it('brings keys under the newest version, values under a new key, and forgets the old one', async () => {
    const plain = await openStorage({ type: 'LocalFs', dirPath: file('storage') })
    await plain.namespace('repository').set('a/b/c', bytes('a secret'))
    expect(await rewrap()).toMatchObject({ status: 0, stdout: expect.stringContaining('1 encrypted') })
    expect(await versions()).toEqual(['1'])
    rotateTransitKey(vault.transit, 'kbs').minDecryptionVersion = 1
    expect((await rewrap()).stdout).toContain('LocalFs keys: 1 wrapped by another version')
    expect(await versions()).toEqual(['2'])
    const rotated = await rewrap('--new-key', '--remove-old-keys')
    expect(rotated.stdout).toContain(
      '1 re-wrapped, 0 encrypted for the first time, 0 current before, 0 failed',
    )
    // a replica may be writing with it
    expect(rotated.stdout).toContain('LocalFs keys: 0 forgotten, 1 old ones kept')
    expect(await versions()).toEqual(['2', '2'])
    expect(Buffer.from((await plain.namespace('repository').get('a/b/c')) ?? []).includes('secret')).toBe(
      false,
    )
    await plain.close()
  })

  it('moves values from a key in a file, and back', async () => {
    await run('keygen', '--storage-key', 'one.key')
    const storage = await open(['one.key'])
    await storage.namespace('repository').set('a/b/c', bytes('a secret'))
    await configure(localFs, `${transit}previous_key_files = ["one.key"]\n`)
    expect((await rewrap()).stdout).toContain('1 re-wrapped')
    await expect(storage.namespace('repository').get('a/b/c')).rejects.toThrow(/not configured/)
    await configure(localFs, `key_file = "one.key"\n[storage_backend.encryption.previous]\n${transit}`)
    expect((await rewrap()).stdout).toContain('1 re-wrapped')
    expect(await storage.namespace('repository').get('a/b/c')).toEqual(bytes('a secret'))
    await storage.close()
  })

  it('fails while Vault is down, and leaves everything alone', async () => {
    vault.fault = 'sealed'
    expect(await rewrap()).toMatchObject({ status: 1, stderr: expect.stringContaining('status 503') })
  })

  it('makes and forgets no keys that are in files', async () => {
    await run('keygen', '--storage-key', 'one.key')
    await configure(localFs, 'key_file = "one.key"\n')
    expect(await rewrap('--new-key')).toMatchObject({ status: 1, stderr: expect.stringContaining('keygen') })
  })
})
