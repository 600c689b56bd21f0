import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type RealVault, startVault, vaultProgram } from '@passport-kbs/testing/vault/real'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  encryptedStorage,
  KeyRefused,
  type KeyService,
  openStorage,
  openTransitKeyService,
  rewrapNamespace,
  StorageConfigError,
  StorageUnavailable,
  WrappedKeys,
} from '../../src/index.ts'
import { temporaryFolder } from '../back-ends.ts'

const program = vaultProgram()
const bytes = randomBytes(32)
const binding = new TextEncoder().encode('what it is for')

it('what a real engine transit is asked for is at least written down where there is none', () => {
  if (program === undefined)
    console.warn('no vault in PATH or KBS_VAULT: the stand-in for its engine transit is not compared with it')
})

// not `skip`: it is nobody's duty to have one
if (program !== undefined)
  describe('the engine transit of a real Vault, as its stand-in', () => {
    let folder: Awaited<ReturnType<typeof temporaryFolder>>
    let vault: RealVault
    const opened: { close(): Promise<void> }[] = []
    beforeAll(async () => {
      folder = await temporaryFolder()
      vault = await startVault(program)
      await writeFile(join(folder.path, 'ca.pem'), vault.ca)
      await vault.administer('POST', 'sys/mounts/transit', { type: 'transit' })
    }, 30_000)
    afterAll(async () => {
      for (const each of opened) await each.close()
      await vault?.stop()
      await folder?.remove()
    })

    const makeKey = (name: string, options: object = {}) =>
      vault.administer('POST', `transit/keys/${name}`, options)
    async function open(keyName: string, token = vault.rootToken): Promise<KeyService> {
      const service = await openTransitKeyService({
        vaultUrl: vault.url,
        token,
        mountPath: 'transit',
        keyName,
        caCerts: [join(folder.path, 'ca.pem')],
        timeoutMs: 5_000,
      })
      opened.push(service)
      return service
    }
    const failureOf = (work: Promise<unknown>): Promise<Error> =>
      work.then(
        () => expect.fail('it worked'),
        (error) => error,
      )

    it('wraps with the newest version, and unwraps with the one that wrapped, as long as that is allowed', async () => {
      await makeKey('versions')
      const service = await open('versions')
      const first = await service.wrap(bytes, binding)
      expect(first).toMatchObject({ keyVersion: '1', algorithm: 'transit' })
      await vault.administer('POST', 'transit/keys/versions/rotate')
      const second = await service.wrap(bytes, binding)
      expect(second.keyVersion).toBe('2')
      for (const wrapping of [first, second]) {
        expect(Buffer.from(await service.unwrap(wrapping, binding))).toEqual(bytes)
      }
      await vault.administer('POST', 'transit/keys/versions/config', { min_decryption_version: 2 })
      await expect(service.unwrap(first, binding)).rejects.toThrow(KeyRefused)
      expect(Buffer.from(await service.unwrap(second, binding))).toEqual(bytes)
    })

    it('binds, and tells keys apart', async () => {
      await makeKey('one')
      await makeKey('other')
      const one = await open('one')
      const wrapping = await one.wrap(bytes, binding)
      await expect(one.unwrap(wrapping, new Uint8Array(3))).rejects.toThrow(KeyRefused)
      await expect((await open('other')).unwrap(wrapping, binding)).rejects.toThrow(KeyRefused)
    })

    it.each([
      ['RSA', { type: 'rsa-2048' }],
      ['derived', { derived: true }],
    ])('refuses a key that is %s', async (name, options) => {
      await makeKey(name, options)
      await expect((await open(name)).wrap(bytes, binding)).rejects.toThrow(KeyRefused)
    })

    it('needs "update" and no more, and makes no key for a mistyped name', async () => {
      await makeKey('least')
      const paths = ['encrypt', 'decrypt'].map(
        (operation) => `path "transit/${operation}/*" { capabilities = ["update"] }`,
      )
      await vault.administer('POST', 'sys/policies/acl/kbs', { policy: paths.join('\n') })
      const { auth } = (await vault.administer('POST', 'auth/token/create', { policies: ['kbs'] })) as {
        auth: { client_token: string }
      }
      const service = await open('least', auth.client_token)
      const wrapping = await service.wrap(bytes, binding)
      expect(Buffer.from(await service.unwrap(wrapping, binding))).toEqual(bytes)
      const mistyped = await failureOf((await open('laest', auth.client_token)).wrap(bytes, binding))
      expect(mistyped.message).toMatch(/refuses the token, what it may do, or the key/)
      await expect(vault.administer('GET', 'transit/keys/laest')).rejects.toThrow(/404/)
      await vault.administer('POST', 'auth/token/revoke', { token: auth.client_token })
      const revoked = await failureOf(service.unwrap(wrapping, binding))
      expect(revoked).toBeInstanceOf(StorageUnavailable)
      expect(revoked).not.toBeInstanceOf(KeyRefused)
    })

    it('keeps a storage through rotations, and stops a start without its key', async () => {
      await makeKey('storage')
      const plain = await openStorage({ type: 'Memory' })
      const start = async () => {
        const keys = await WrappedKeys.open({ storage: plain, service: await open('storage') })
        opened.push(keys)
        return { keys, secrets: encryptedStorage(plain, keys).namespace('repository') }
      }
      const running = await start()
      await running.secrets.set('a/b/c', bytes)
      await vault.administer('POST', 'transit/keys/storage/rotate')
      const { keys } = await start()
      expect(await keys.wrapAnew()).toBe(1)
      await keys.addKey()
      await rewrapNamespace(plain, 'repository', keys.known())
      await vault.administer('POST', 'transit/keys/storage/config', {
        min_decryption_version: 2,
        deletion_allowed: true,
      })
      for (const { secrets } of [running, await start()]) {
        expect(Buffer.from((await secrets.get('a/b/c')) ?? [])).toEqual(bytes)
      }
      await vault.administer('DELETE', 'transit/keys/storage')
      await expect(start()).rejects.toThrow(StorageConfigError)
      expect(Buffer.from((await running.secrets.get('a/b/c')) ?? [])).toEqual(bytes)
    })
  })
