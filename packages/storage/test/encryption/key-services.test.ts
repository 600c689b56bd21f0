import { publicEncrypt, randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { WorkloadIdentityCredential } from '@azure/identity'
import {
  type FakeKeyVault,
  type KeyVaultFault,
  rotateKey,
  startFakeKeyVault,
} from '@passport-kbs/testing/key-vault'
import {
  type FakeVault,
  rotateTransitKey,
  startFakeVault,
  type VaultFault,
} from '@passport-kbs/testing/vault'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import {
  KeyRefused,
  type KeyService,
  openAzureKeyService,
  openTransitKeyService,
  StorageBusy,
  StorageConfigError,
  StorageUnavailable,
  type TransitConfig,
} from '../../src/index.ts'
import { temporaryFolder } from '../back-ends.ts'

const bytes = randomBytes(32)
const binding = new TextEncoder().encode('what it is for')
const failureOf = (work: Promise<unknown>): Promise<Error> =>
  work.then(
    () => expect.fail('it worked'),
    (error) => error,
  )

/** To be tried again, unlike a key that is refused for good. */
function expectOutage(error: Error): void {
  expect(error).toBeInstanceOf(StorageUnavailable)
  expect(error).not.toBeInstanceOf(KeyRefused)
}

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let opened: KeyService[]
beforeEach(async () => {
  folder = await temporaryFolder()
  opened = []
})
afterEach(async () => {
  for (const service of opened) await service.close()
  await folder.remove()
})

async function file(name: string, text: string): Promise<string> {
  await writeFile(join(folder.path, name), text)
  return join(folder.path, name)
}

describe('a key in Azure Key Vault', () => {
  let vault: FakeKeyVault
  beforeEach(async () => {
    vault = await startFakeKeyVault()
    rotateKey(vault.keys, 'kbs')
  })
  afterEach(() => vault.stop())

  /** The libraries of Azure against the stand-ins for Key Vault and Entra, over HTTPS. */
  async function open({ keyName = 'kbs', ca = vault.ca, timeoutMs = 3_000 } = {}) {
    const tokenFilePath = await file('token', 'account')
    const tlsOptions = { ca }
    const credential = new WorkloadIdentityCredential({
      tenantId: vault.tenant,
      clientId: '22222222-2222-4333-8444-555555555555',
      tokenFilePath,
      authorityHost: vault.url,
      disableInstanceDiscovery: true,
      retryOptions: { maxRetries: 0 },
      tlsOptions,
    })
    return openAzureKeyService(
      { vaultUri: vault.url, credential: 'workload-identity', keyName, timeoutMs },
      { credential, client: { tlsOptions, disableChallengeResourceVerification: true } },
    )
  }

  it('wraps with its newest version, signs that, and unwraps with the one that wrapped', async () => {
    const service = await open()
    const first = await service.wrap(bytes, binding)
    expect(first).toMatchObject({
      keyVersion: vault.keys.get('kbs')?.[0]?.id,
      algorithm: 'RSA-OAEP-256',
      signature: expect.stringMatching(/^[\w-]{342}$/),
    })
    rotateKey(vault.keys, 'kbs')
    const second = await service.wrap(bytes, binding)
    expect(second.keyVersion).toBe(vault.keys.get('kbs')?.[1]?.id)
    for (const wrapping of [first, second]) {
      expect(Buffer.from(await service.unwrap(wrapping, binding))).toEqual(bytes)
    }
  })

  it('is used where it is configured, not where its id in an answer leads', async () => {
    const other = await startFakeKeyVault()
    const service = await open()
    vault.keyBase = other.url
    const wrapping = await service.wrap(bytes, binding)
    expect(Buffer.from(await service.unwrap(wrapping, binding))).toEqual(bytes)
    expect(other.requests).toEqual([])
    await other.stop()
  })

  it('is unavailable, and not to be given up, while Key Vault answers with no public key', async () => {
    const service = await open()
    const wrapping = await service.wrap(bytes, binding)
    const key = vault.keys.get('kbs')?.[0]?.key
    if (key === undefined || key instanceof Uint8Array) throw new Error('RSA')
    const exported = vi.spyOn(key.publicKey, 'export').mockReturnValue({ n: '', e: '' } as never)
    const failure = await failureOf(service.unwrap(wrapping, binding))
    expectOutage(failure)
    exported.mockRestore()
    expect(Buffer.from(await service.unwrap(wrapping, binding))).toEqual(bytes)
  })

  it('may be symmetric, in a Managed HSM', async () => {
    rotateKey(vault.keys, 'hsm', 'oct-HSM')
    const service = await open({ keyName: 'hsm' })
    const wrapping = await service.wrap(bytes, binding)
    expect(wrapping).toMatchObject({ algorithm: 'A256KW', wrapped: expect.stringMatching(/^[\w-]{54}$/) })
    expect(Buffer.from(await service.unwrap(wrapping, binding))).toEqual(bytes)
    const wrapped = `A${wrapping.wrapped.slice(1)}`
    await expect(
      service.unwrap({ ...wrapping, wrapped: wrapped.replace(/^AA/, 'BA') }, binding),
    ).rejects.toThrow(KeyRefused)
  })

  it('does not unwrap what anyone has wrapped with its public key', async () => {
    const service = await open()
    const wrapping = await service.wrap(bytes, binding)
    const key = vault.keys.get('kbs')?.[0]?.key
    if (key === undefined || key instanceof Uint8Array) throw new Error('RSA')
    const own = publicEncrypt({ key: key.publicKey, oaepHash: 'sha256' }, randomBytes(32)).toString(
      'base64url',
    )
    const { signature: _, ...unsigned } = wrapping
    for (const forged of [{ ...unsigned, wrapped: own }, { ...wrapping, wrapped: own }, unsigned]) {
      vault.requests.length = 0
      await expect(service.unwrap(forged, binding)).rejects.toThrow(/not signed by the key/)
      expect(vault.requests.filter((request) => request.startsWith('POST'))).toEqual([])
    }
  })

  it('does not unwrap what was wrapped for something else, or is no wrapping of ours', async () => {
    const service = await open()
    const wrapping = await service.wrap(bytes, binding)
    await expect(service.unwrap(wrapping, new Uint8Array(3))).rejects.toThrow(KeyRefused)
    for (const change of [
      { keyVersion: 'f'.repeat(32) },
      { keyVersion: '../secrets/x' },
      { algorithm: 'RSA1_5' },
      { algorithm: 'A256KW' },
      { wrapped: '' },
      { wrapped: '%' },
      { signature: '%' },
    ]) {
      await expect(
        service.unwrap({ ...wrapping, ...change }, binding),
        JSON.stringify(change),
      ).rejects.toThrow(KeyRefused)
    }
  })

  it('still unwraps with a version that has expired, as rotation leaves it, and wraps with none', async () => {
    const service = await open()
    const wrapping = await service.wrap(bytes, binding)
    const [version] = vault.keys.get('kbs') ?? []
    if (version === undefined) throw new Error('one version')
    version.expires = 1_000_000_000
    expect(Buffer.from(await service.unwrap(wrapping, binding))).toEqual(bytes)
    await expect(service.wrap(bytes, binding)).rejects.toThrow(StorageUnavailable)
  })

  it.each<KeyVaultFault>(['down', 'quota', 'slow', 'garbage', 'empty', 'forbidden'])(
    'is unavailable, and not to be given up, when Key Vault is at fault: %s',
    async (fault) => {
      const service = await open({ timeoutMs: 1_000 })
      const wrapping = await service.wrap(bytes, binding)
      vault.fault = fault
      for (const work of [service.unwrap(wrapping, binding), service.wrap(bytes, binding)])
        expectOutage(await failureOf(work))
    },
  )

  it('says how long Key Vault wants to be left alone', async () => {
    const service = await open()
    vault.fault = 'quota'
    const error = await failureOf(service.wrap(bytes, binding))
    expect(error).toBeInstanceOf(StorageBusy)
    expect(error).toMatchObject({ retryAfterMs: 1_000 })
  })

  it.each(['get', 'wrapkey', 'unwrapkey', 'sign'])(
    'is unavailable without the role for %s, which may take minutes to apply',
    async (operation) => {
      const service = await open()
      vault.denied.add(operation)
      const error = await failureOf(
        service.wrap(bytes, binding).then((wrapping) => service.unwrap(wrapping, binding)),
      )
      expect(error.message).toMatch(/403/)
      expect(error).not.toBeInstanceOf(KeyRefused)
    },
  )

  it('that is disabled is unavailable; that is deleted is refused', async () => {
    const service = await open()
    const wrapping = await service.wrap(bytes, binding)
    const [version] = vault.keys.get('kbs') ?? []
    if (version === undefined) throw new Error('one version')
    version.enabled = false
    const error = await failureOf(service.unwrap(wrapping, binding))
    expect(error.message).toMatch(/403/)
    expect(error).not.toBeInstanceOf(KeyRefused)
    vault.keys.delete('kbs')
    await expect(service.unwrap(wrapping, binding)).rejects.toThrow(KeyRefused)
    await expect(service.wrap(bytes, binding)).rejects.toThrow(/404 KeyNotFound/)
  })

  it('is not believed with a certificate of an unknown CA, and not reached with a refused credential', async () => {
    const foreign = await startFakeKeyVault()
    await expect((await open({ ca: foreign.ca })).wrap(bytes, binding)).rejects.toThrow(StorageUnavailable)
    await foreign.stop()
    expect(vault.requests).toEqual([])
    vault.assertion = 'another'
    const error = await failureOf((await open()).wrap(bytes, binding))
    expect(error).toBeInstanceOf(StorageUnavailable)
    expect(error).not.toBeInstanceOf(KeyRefused)
  })
})

describe('a key of the transit engine', () => {
  let vault: FakeVault
  beforeEach(async () => {
    vault = await startFakeVault()
    vault.tokens.set('root', { ttl: 0, renewable: false })
    rotateTransitKey(vault.transit, 'kbs')
  })
  afterEach(() => vault.stop())

  async function open(changes: Partial<TransitConfig> = {}): Promise<KeyService> {
    const service = await openTransitKeyService({
      vaultUrl: vault.url,
      ...(changes.tokenFile === undefined && changes.kubernetes === undefined ? { token: 'root' } : {}),
      mountPath: 'transit',
      keyName: 'kbs',
      caCerts: [await file('ca.pem', vault.ca)],
      timeoutMs: 3_000,
      ...changes,
    })
    opened.push(service)
    return service
  }

  it('wraps with its newest version, and unwraps with the one that wrapped', async () => {
    const service = await open()
    const first = await service.wrap(bytes, binding)
    expect(first).toEqual({
      keyVersion: '1',
      algorithm: 'transit',
      wrapped: expect.stringMatching(/^vault:v1:/),
    })
    rotateTransitKey(vault.transit, 'kbs')
    const second = await service.wrap(bytes, binding)
    expect(second.keyVersion).toBe('2')
    for (const wrapping of [first, second]) {
      expect(Buffer.from(await service.unwrap(wrapping, binding))).toEqual(bytes)
    }
  })

  it('does not unwrap what was wrapped for something else, by another key, or is no wrapping of ours', async () => {
    const service = await open()
    const wrapping = await service.wrap(bytes, binding)
    rotateTransitKey(vault.transit, 'other')
    const others = await (await open({ keyName: 'other' })).wrap(bytes, binding)
    await expect(service.unwrap(wrapping, new Uint8Array(3))).rejects.toThrow(KeyRefused)
    await expect(service.unwrap(others, binding)).rejects.toThrow(KeyRefused)
    vault.requests.length = 0
    for (const change of [
      { keyVersion: '2' },
      { algorithm: 'aes' },
      { wrapped: '' },
      { wrapped: 'vault:v1:' },
      { wrapped: `${wrapping.wrapped}\n` },
      { wrapped: wrapping.wrapped.replace('vault', 'other') },
    ]) {
      await expect(
        service.unwrap({ ...wrapping, ...change }, binding),
        JSON.stringify(change),
      ).rejects.toThrow(/not of the form/)
    }
    expect(vault.requests).toEqual([])
  })

  it('does not unwrap with a version that is not allowed any more', async () => {
    const service = await open()
    const wrapping = await service.wrap(bytes, binding)
    rotateTransitKey(vault.transit, 'kbs').minDecryptionVersion = 2
    await expect(service.unwrap(wrapping, binding)).rejects.toThrow(/its version is not allowed any more/)
  })

  it.each<VaultFault>(['sealed', 'quota', 'slow', 'garbage', 'no-object', 'empty', 'redirect'])(
    'is unavailable, and not to be given up, when Vault is at fault: %s',
    async (fault) => {
      const service = await open({ timeoutMs: 1_000 })
      const wrapping = await service.wrap(bytes, binding)
      vault.fault = fault
      for (const work of [service.unwrap(wrapping, binding), service.wrap(bytes, binding)])
        expectOutage(await failureOf(work))
    },
  )

  it('says how long Vault wants to be left alone', async () => {
    const service = await open()
    vault.fault = 'quota'
    expect(await failureOf(service.wrap(bytes, binding))).toMatchObject({ retryAfterMs: 1_000 })
  })

  it('is unavailable while Vault is down, does not let us, or knows the token no more', async () => {
    const service = await open()
    const wrapping = await service.wrap(bytes, binding)
    vault.tokens.set('root', { ttl: 0, renewable: false, denied: ['transit/decrypt/kbs'] })
    expect(await failureOf(service.unwrap(wrapping, binding))).not.toBeInstanceOf(KeyRefused)
    vault.tokens.clear()
    const error = await failureOf(service.unwrap(wrapping, binding))
    expect(error).not.toBeInstanceOf(KeyRefused)
    expect(error.message).toMatch(/refuses the token/)
    expect(error.message).not.toContain('root')
    await vault.stop()
    await expect(service.unwrap(wrapping, binding)).rejects.toThrow(/cannot be reached/)
  })

  it('is refused when it is deleted', async () => {
    const service = await open()
    const wrapping = await service.wrap(bytes, binding)
    vault.transit.delete('kbs')
    await expect(service.unwrap(wrapping, binding)).rejects.toThrow(KeyRefused)
  })

  it('is not believed with a certificate of an unknown CA, or one that has expired', async () => {
    const expired = await startFakeVault({ expired: true })
    const ca = await file('expired.pem', expired.ca)
    await expect((await open({ caCerts: [ca] })).wrap(bytes, binding)).rejects.toThrow(StorageUnavailable)
    await expect((await open({ vaultUrl: expired.url, caCerts: [ca] })).wrap(bytes, binding)).rejects.toThrow(
      /CERT_HAS_EXPIRED/,
    )
    expect([...vault.requests, ...expired.requests]).toEqual([])
    await expired.stop()
    await expect(open({ caCerts: ['/nowhere.pem'] })).rejects.toThrow(StorageConfigError)
  })

  it('is reached by a token in a file, as a service account, and in a namespace', async () => {
    const kubernetes = { role: 'kbs', authPath: 'kubernetes', jwtFile: await file('jwt', 'account\n') }
    const tokenFile = await file('token', 'root\n')
    vault.namespace = 'team'
    for (const changes of [{ tokenFile }, { kubernetes }]) {
      const service = await open({ ...changes, namespace: 'team' })
      expect(service.key).toBe('team/transit/kbs')
      const wrapping = await service.wrap(bytes, binding)
      expect(Buffer.from(await service.unwrap(wrapping, binding))).toEqual(bytes)
    }
    await expect((await open()).wrap(bytes, binding)).rejects.toThrow(StorageUnavailable)
  })
})
