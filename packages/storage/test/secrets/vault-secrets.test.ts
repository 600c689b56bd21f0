import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type FakeVault, startFakeVault, type VaultFault } from '@passport-kbs/testing/vault'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  InvalidSecretVersion,
  InvalidStorageKey,
  type OpenSecretBackend,
  openVaultSecrets,
  StorageConfigError,
  StorageUnavailable,
  type VaultConfig,
} from '../../src/index.ts'
import { temporaryFolder } from '../back-ends.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const path = 'default/key/one'

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let vault: FakeVault
let opened: OpenSecretBackend[]
beforeEach(async () => {
  folder = await temporaryFolder()
  vault = await startFakeVault()
  vault.tokens.set('root', { ttl: 0, renewable: false })
  opened = []
})
afterEach(async () => {
  for (const secrets of opened) await secrets.close()
  await vault.stop()
  await folder.remove()
})

async function file(name: string, text: string): Promise<string> {
  await writeFile(join(folder.path, name), text)
  return join(folder.path, name)
}

async function open(changes: Partial<VaultConfig> = {}): Promise<OpenSecretBackend> {
  const secrets = await openVaultSecrets({
    vaultUrl: vault.url,
    ...(changes.tokenFile === undefined && changes.kubernetes === undefined ? { token: 'root' } : {}),
    mountPath: changes.kvVersion === 2 ? 'kv' : 'secret',
    kvVersion: 1,
    caCerts: [await file('ca.pem', vault.ca)],
    timeoutMs: 1_000,
    ...changes,
  })
  opened.push(secrets)
  return secrets
}

describe('a secret in KV version 1 (spec 01 §5.2)', () => {
  it.each([
    ['text', 'grüße', bytes('grüße')],
    ['a list of bytes', [0, 255, 10], Uint8Array.of(0, 255, 10)],
    ['an empty list', [], new Uint8Array()],
    ['other JSON', { a: [1, 2.5], b: null }, bytes('{"a":[1,2.5],"b":null}')],
    ['a number', 7, bytes('7')],
    ['null', null, bytes('null')],
  ])('may be %s', async (_, data, expected) => {
    vault.entries.set(path, { data, other: 'x' })
    expect(await (await open()).read(path)).toEqual(expected)
  })

  it.each([[[256]], [[-1]], [['a']], [[1.5]]])('is no list of other things than bytes: %j', async (data) => {
    vault.entries.set(path, { data })
    await expect((await open()).read(path)).rejects.toThrow(StorageUnavailable)
  })

  it('is not there without an entry, or without the member', async () => {
    const secrets = await open()
    expect(await secrets.read(path)).toBeUndefined()
    vault.entries.set(path, { other: 'x' })
    expect(await secrets.read(path)).toBeUndefined()
  })

  it('is written as a list of bytes and deleted', async () => {
    const secrets = await open()
    await secrets.write(path, Uint8Array.of(0, 255))
    expect(vault.entries.get(path)).toEqual({ data: [0, 255] })
    expect(await secrets.read(path, { version: '1' })).toEqual(Uint8Array.of(0, 255))
    expect(await secrets.delete(path)).toBe(true)
    expect(await secrets.delete(path)).toBe(false)
  })

  it.each(['../sys/seal', 'a/b/../../x', 'a/b/c?list=true', 'a/b/c#d', 'a//b'])(
    'is not asked for outside of the mount: %s',
    async (name) => {
      const secrets = await open()
      await expect(secrets.read(name)).rejects.toThrow(InvalidStorageKey)
      await expect(secrets.write(name, new Uint8Array())).rejects.toThrow(InvalidStorageKey)
      await expect(secrets.delete(name)).rejects.toThrow(InvalidStorageKey)
      expect(vault.requests.filter((request) => !request.includes('auth/token'))).toEqual([])
    },
  )
})

describe('a secret in KV version 2', () => {
  it('is the newest version, or the one asked for', async () => {
    const secrets = await open({ kvVersion: 2 })
    await secrets.write(path, bytes('old'))
    await secrets.write(path, bytes('new'))
    expect(await secrets.read(path)).toEqual(bytes('new'))
    expect(await secrets.read(path, { version: '1' })).toEqual(bytes('old'))
    expect(await secrets.read(path, { version: '3' })).toBeUndefined()
  })

  it.each(['0', '-1', 'latest', '1&x=2', '', '01'])('has no version %j', async (version) => {
    const secrets = await open({ kvVersion: 2 })
    await expect(secrets.read(path, { version })).rejects.toThrow(InvalidSecretVersion)
  })

  it('is not there when its newest version is deleted', async () => {
    vault.versions.set(path, [{ data: 'old' }, undefined])
    expect(await (await open({ kvVersion: 2 })).read(path)).toBeUndefined()
  })

  it('is deleted in all versions', async () => {
    const secrets = await open({ kvVersion: 2 })
    await secrets.write(path, bytes('old'))
    await secrets.write(path, bytes('new'))
    expect(await secrets.delete(path)).toBe(true)
    expect(await secrets.read(path, { version: '1' })).toBeUndefined()
    expect(await secrets.delete(path)).toBe(false)
  })

  it('may be in a namespace', async () => {
    vault.namespace = 'team'
    vault.versions.set(path, [{ data: 'x' }])
    expect(await (await open({ kvVersion: 2, namespace: 'team' })).read(path)).toEqual(bytes('x'))
    await expect((await open({ kvVersion: 2 })).read(path)).rejects.toThrow(/status 404/)
  })
})

describe('whether Vault is there', () => {
  it('is asked without a token or a namespace', async () => {
    vault.namespace = 'team'
    const secrets = await open({ namespace: 'team' })
    vault.tokens.clear()
    await secrets.ping()
    expect(vault.requests.at(-1)).toBe('GET /v1/sys/health')
    vault.fault = 'sealed'
    await expect(secrets.ping()).rejects.toThrow(StorageUnavailable)
    await vault.stop()
    await expect(secrets.ping()).rejects.toThrow(StorageUnavailable)
  })
})

describe('a Vault that fails', () => {
  it.each<VaultFault>(['sealed', 'quota', 'slow', 'garbage', 'no-object', 'empty', 'nowhere', 'redirect'])(
    'is unavailable, not empty: %s',
    async (fault) => {
      vault.entries.set(path, { data: 'x' })
      vault.versions.set(path, [{ data: 'x' }])
      for (const kvVersion of [1, 2] as const) {
        const secrets = await open({ timeoutMs: 300, kvVersion })
        vault.fault = fault
        await expect(secrets.read(path)).rejects.toThrow(StorageUnavailable)
        await expect(secrets.delete(path)).rejects.toThrow(StorageUnavailable)
        vault.fault = undefined
        expect(await secrets.read(path)).toEqual(bytes('x'))
      }
    },
  )

  it('is unavailable while it is down', async () => {
    const secrets = await open()
    await vault.stop()
    await expect(secrets.read(path)).rejects.toThrow(/cannot be reached: ECONNREFUSED/)
    await expect(secrets.write(path, bytes('x'))).rejects.toThrow(StorageUnavailable)
  })

  it('is not believed with a certificate of an unknown CA, or one that has expired', async () => {
    vault.entries.set(path, { data: 'x' })
    const foreign = await startFakeVault({ expired: true })
    for (const changes of [{ caCerts: [] }, { caCerts: [await file('foreign.pem', foreign.ca)] }]) {
      await expect((await open(changes)).read(path)).rejects.toThrow(StorageUnavailable)
    }
    expect(vault.requests).toEqual([])
    const secrets = await open({ vaultUrl: foreign.url, caCerts: [await file('foreign.pem', foreign.ca)] })
    await expect(secrets.read(path)).rejects.toThrow(/CERT_HAS_EXPIRED/)
    expect(foreign.requests).toEqual([])
    await foreign.stop()
  })

  it('is not opened with a CA file that cannot be read', async () => {
    await expect(open({ caCerts: ['/nowhere.pem'] })).rejects.toThrow(StorageConfigError)
  })
})

describe('the token', () => {
  it('that Vault refuses is an outage, and is in no error', async () => {
    vault.tokens.clear()
    const error: Error = await (await open()).read(path).catch((cause) => cause)
    expect(error).toBeInstanceOf(StorageUnavailable)
    expect(error.message).toMatch(/refuses the token/)
    expect(error.message + String(error.cause)).not.toContain('root')
  })

  it('is renewed when half of its time is over, again and again, until it is closed', async () => {
    const renewals = () => vault.requests.filter((request) => request.endsWith('renew-self')).length
    vault.tokens.set('root', { ttl: 1, renewable: true })
    const secrets = await open()
    await vi.waitFor(() => expect(renewals()).toBeGreaterThanOrEqual(2), { timeout: 4_000 })
    await secrets.close()
    const after = renewals()
    await new Promise((done) => setTimeout(done, 700))
    expect(renewals()).toBe(after)
  })

  it.each([0.001, -1])('is renewed with pauses, even if Vault says that it lives for %d s', async (ttl) => {
    vault.tokens.set('root', { ttl, renewable: true })
    await open()
    await new Promise((done) => setTimeout(done, 700))
    expect(vault.requests.filter((request) => request.includes('-self')).length).toBeLessThanOrEqual(4)
  })

  it('without an end is not renewed', async () => {
    await (await open()).read(path)
    await new Promise((done) => setTimeout(done, 100))
    expect(vault.requests.some((request) => request.endsWith('renew-self'))).toBe(false)
  })

  it('in a file is read anew', async () => {
    const tokenFile = await file('token', 'gone\n')
    vault.entries.set(path, { data: 'x' })
    const secrets = await open({ tokenFile })
    await expect(secrets.read(path)).rejects.toThrow(/refuses the token/)
    await file('token', 'root\n')
    expect(await secrets.read(path)).toEqual(bytes('x'))
    await expect((await open({ tokenFile: '/nowhere' })).read(path)).rejects.toThrow(/ENOENT/)
  })

  it('of a service account is had by one login for many reads, and anew when Vault forgets it', async () => {
    const kubernetes = { role: 'kbs', authPath: 'kubernetes', jwtFile: await file('jwt', 'account\n') }
    vault.entries.set(path, { data: 'x' })
    const secrets = await open({ kubernetes })
    const logins = () => vault.requests.filter((request) => request.endsWith('/login')).length
    await Promise.all(Array.from({ length: 20 }, () => secrets.read(path)))
    expect(logins()).toBe(1)
    vault.tokens.clear()
    expect(await secrets.read(path)).toEqual(bytes('x'))
    expect(logins()).toBe(2)
  })

  it('of a service account that Vault does not know is an outage', async () => {
    const kubernetes = { role: 'kbs', authPath: 'kubernetes', jwtFile: await file('jwt', 'stranger') }
    await expect((await open({ kubernetes })).read(path)).rejects.toThrow(/refuses the login/)
  })
})
