import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { WorkloadIdentityCredential } from '@azure/identity'
import { type FakeKeyVault, type KeyVaultFault, startFakeKeyVault } from '@passport-kbs/testing/key-vault'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  type AzureKeyVaultConfig,
  InvalidSecretVersion,
  openAzureKeyVault,
  SecretBackendReadOnly,
  StorageUnavailable,
} from '../../src/index.ts'
import { temporaryFolder } from '../back-ends.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const path = 'default/key/one'
const name = 'default--key--one'
const first = 'a'.repeat(32)

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let vault: FakeKeyVault
beforeEach(async () => {
  folder = await temporaryFolder()
  vault = await startFakeKeyVault()
  vault.secrets.set(name, [
    { id: first, value: 'old' },
    { id: 'b'.repeat(32), value: 'new' },
  ])
})
afterEach(async () => {
  await vault.stop()
  await folder.remove()
})

/** The libraries of Azure against the stand-ins for Key Vault and Entra, over HTTPS. */
async function open(changes: Partial<AzureKeyVaultConfig> = {}, ca = vault.ca) {
  const tokenFilePath = join(folder.path, 'token')
  await writeFile(tokenFilePath, 'account')
  const tlsOptions = { ca }
  const config: AzureKeyVaultConfig = {
    vaultUri: vault.url,
    credential: 'workload-identity',
    names: [],
    allowWrite: false,
    cacheMs: 0,
    staleMs: 0,
    timeoutMs: 1_000,
    ...changes,
  }
  return openAzureKeyVault(config, {
    credential: new WorkloadIdentityCredential({
      tenantId: vault.tenant,
      clientId: '22222222-2222-4333-8444-555555555555',
      tokenFilePath,
      authorityHost: vault.url,
      disableInstanceDiscovery: true,
      retryOptions: { maxRetries: 0 },
      tlsOptions,
    }),
    client: { tlsOptions, disableChallengeResourceVerification: true },
  })
}

describe('a secret in Azure Key Vault', () => {
  it('is the newest version, or the one asked for, by workload identity', async () => {
    const secrets = await open()
    expect(await secrets.read(path)).toEqual(bytes('new'))
    expect(await secrets.read(path, { version: first })).toEqual(bytes('old'))
    expect(await secrets.read(path, { version: 'c'.repeat(32) })).toBeUndefined()
    await expect(secrets.read(path, { version: '../x' })).rejects.toThrow(InvalidSecretVersion)
    expect(await secrets.read('default/key/two')).toBeUndefined()
  })

  it('is binary by its content type', async () => {
    vault.secrets.set(name, [{ id: first, value: 'AP8=', contentType: 'application/octet-stream' }])
    expect(await (await open()).read(path)).toEqual(Uint8Array.of(0, 255))
    vault.secrets.set(name, [{ id: first, value: 'no base64', contentType: 'application/octet-stream' }])
    await expect((await open()).read(path)).rejects.toThrow(StorageUnavailable)
  })

  it.each(['Default/key/one', 'default/key-/one', 'default/a--b/c', 'a/b', 'a/b/c_d', 'a/b/c.d', 'a/b/../c'])(
    'is not under %s, where two paths could be one name',
    async (other) => {
      expect(await (await open()).read(other)).toBeUndefined()
      expect(vault.requests).toEqual([])
    },
  )

  it('may have a name of its own, and is under that path only', async () => {
    const secrets = await open({ names: [{ path: 'A_b/c/d', secret: name }] })
    expect(await secrets.read('A_b/c/d')).toEqual(bytes('new'))
    expect(await secrets.read(path)).toBeUndefined()
  })

  it('is written and deleted only where that is allowed', async () => {
    const closed = await open()
    await expect(closed.write(path, bytes('x'))).rejects.toThrow(SecretBackendReadOnly)
    await expect(closed.delete(path)).rejects.toThrow(SecretBackendReadOnly)
    expect(vault.requests).toEqual([])
    const secrets = await open({ allowWrite: true, cacheMs: 60_000 })
    for (const value of [bytes('grüße'), Uint8Array.of(0, 255), new Uint8Array()]) {
      await secrets.write(path, value)
      expect(await secrets.read(path)).toEqual(value)
    }
    expect(await secrets.delete(path)).toBe(true)
    expect(await secrets.read(path)).toBeUndefined()
    expect(await secrets.delete(path)).toBe(false)
  })
})

describe('the quota of Key Vault', () => {
  it('is not touched by thousands of reads of what was read, or is being read', async () => {
    const secrets = await open({ cacheMs: 60_000 })
    for (let round = 0; round < 4; round++) {
      await Promise.all(Array.from({ length: 1_000 }, () => secrets.read(path)))
      await Promise.all(Array.from({ length: 1_000 }, () => secrets.read('default/key/absent')))
    }
    expect(vault.requests).toHaveLength(2)
  })
})

describe('whether Key Vault is there', () => {
  it('is known from the last answer, and asked by one read else', async () => {
    const secrets = await open({ cacheMs: 60_000 })
    await secrets.ping()
    await secrets.ping()
    expect(vault.requests).toEqual(['GET /secrets/passport-kbs-readiness'])
    const other = await open()
    await other.read(path)
    await other.ping()
    expect(vault.requests).toHaveLength(2)
  })

  it('is asked by a secret that is configured, where roles are for single ones', async () => {
    const secrets = await open({ names: [{ path, secret: name }] })
    await secrets.ping()
    expect(vault.requests).toEqual([`GET /secrets/${name}`])
  })

  it.each<KeyVaultFault>(['down', 'quota', 'slow', 'garbage', 'forbidden'])(
    'is no with %s',
    async (fault) => {
      vault.fault = fault
      await expect((await open({ timeoutMs: 300 })).ping()).rejects.toThrow(StorageUnavailable)
    },
  )
})

describe('a Key Vault that fails', () => {
  it.each<KeyVaultFault>(['down', 'quota', 'slow', 'garbage', 'empty', 'forbidden'])(
    'is unavailable, not empty: %s',
    async (fault) => {
      const secrets = await open({ timeoutMs: 500 })
      expect(await secrets.read(path)).toEqual(bytes('new'))
      vault.fault = fault
      await expect(secrets.read(path)).rejects.toThrow(StorageUnavailable)
    },
  )

  it('is bridged by what was read, as long as configured', async () => {
    const secrets = await open({ cacheMs: 1, staleMs: 60_000 })
    expect(await secrets.read(path)).toEqual(bytes('new'))
    await vault.stop()
    await new Promise((done) => setTimeout(done, 10))
    expect(await secrets.read(path)).toEqual(bytes('new'))
    await expect(secrets.read('default/key/unread')).rejects.toThrow(StorageUnavailable)
  })

  it('that refuses us is not bridged', async () => {
    const secrets = await open({ cacheMs: 1, staleMs: 60_000 })
    await secrets.read(path)
    vault.fault = 'forbidden'
    await new Promise((done) => setTimeout(done, 10))
    await expect(secrets.read(path)).rejects.toThrow(/403 Forbidden/)
  })

  it('is not believed with a certificate of an unknown CA', async () => {
    const foreign = await startFakeKeyVault()
    await expect((await open({}, foreign.ca)).read(path)).rejects.toThrow(StorageUnavailable)
    expect(vault.requests).toEqual([])
    await foreign.stop()
  })

  it('is an outage with a credential that Entra refuses, or a token that Key Vault refuses', async () => {
    vault.assertion = 'another'
    await expect((await open()).read(path)).rejects.toThrow(StorageUnavailable)
    vault.assertion = 'account'
    const secrets = await open()
    await secrets.read(path)
    vault.tokens.clear()
    await expect(secrets.read(path)).rejects.toThrow(StorageUnavailable)
  })
})
