import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type RealVault, startVault, vaultProgram } from '@passport-kbs/testing/vault/real'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type OpenSecretBackend,
  openVaultSecrets,
  StorageUnavailable,
  type VaultConfig,
} from '../../src/index.ts'
import { temporaryFolder } from '../back-ends.ts'

const program = vaultProgram()
const bytes = (text: string) => new TextEncoder().encode(text)
const path = 'default/key/one'

it('is compared with a real Vault only where there is one', () => {
  if (program === undefined)
    console.warn('no vault in PATH or KBS_VAULT: the stand-in is not compared with it')
})

// not `skip`: it is nobody's duty to have one
if (program !== undefined)
  describe('a real Vault, as its stand-in', () => {
    let folder: Awaited<ReturnType<typeof temporaryFolder>>
    let vault: RealVault
    const opened: OpenSecretBackend[] = []
    beforeAll(async () => {
      folder = await temporaryFolder()
      vault = await startVault(program)
      await writeFile(join(folder.path, 'ca.pem'), vault.ca)
    }, 30_000)
    afterAll(async () => {
      for (const secrets of opened) await secrets.close()
      await vault?.stop()
      await folder?.remove()
    })

    const open = async (changes: Partial<VaultConfig> = {}) => {
      const secrets = await openVaultSecrets({
        vaultUrl: vault.url,
        ...(changes.tokenFile === undefined ? { token: vault.rootToken } : {}),
        mountPath: changes.kvVersion === 2 ? 'secret' : 'first',
        kvVersion: 1,
        caCerts: [join(folder.path, 'ca.pem')],
        timeoutMs: 5_000,
        ...changes,
      })
      opened.push(secrets)
      return secrets
    }

    it.each([1, 2] as const)('keeps secrets of every byte in KV version %d', async (kvVersion) => {
      const secrets = await open({ kvVersion })
      expect(await secrets.read(path)).toBeUndefined()
      for (const value of [Uint8Array.of(0, 255, 10), bytes('grüße'), new Uint8Array()]) {
        await secrets.write(path, value)
        expect(await secrets.read(path)).toEqual(value)
      }
      expect(await secrets.delete(path)).toBe(true)
      expect(await secrets.read(path)).toBeUndefined()
      expect(await secrets.delete(path)).toBe(false)
      await secrets.ping()
    })

    it('gives versions of KV version 2, and none of a deleted one', async () => {
      const secrets = await open({ kvVersion: 2 })
      const versioned = 'default/key/versions'
      for (const value of ['old', 'new']) await secrets.write(versioned, bytes(value))
      expect(await secrets.read(versioned)).toEqual(bytes('new'))
      expect(await secrets.read(versioned, { version: '1' })).toEqual(bytes('old'))
      expect(await secrets.read(versioned, { version: '3' })).toBeUndefined()
      await vault.administer('DELETE', `secret/data/${versioned}`)
      expect(await secrets.read(versioned)).toBeUndefined()
      expect(await secrets.read(versioned, { version: '1' })).toEqual(bytes('old'))
    })

    it('gives what an operator has put there by hand', async () => {
      await vault.administer('POST', 'first/default/key/text', { data: 'plain text' })
      expect(await (await open()).read('default/key/text')).toEqual(bytes('plain text'))
    })

    it('calls a mount that is not there an outage, not an absence', async () => {
      for (const kvVersion of [1, 2] as const) {
        const secrets = await open({ kvVersion, mountPath: 'nowhere' })
        await expect(secrets.read(path)).rejects.toThrow(StorageUnavailable)
      }
    })

    it('refuses a token without rights, and one that was revoked', async () => {
      await vault.administer('PUT', 'sys/policies/acl/kbs', {
        policy: 'path "first/*" { capabilities = ["read"] }',
      })
      const { auth } = (await vault.administer('POST', 'auth/token/create', {
        policies: ['kbs'],
        ttl: '1h',
      })) as { readonly auth: { readonly client_token: string } }
      const tokenFile = join(folder.path, 'token')
      await writeFile(tokenFile, auth.client_token)
      const secrets = await open({ tokenFile })
      expect(await secrets.read('default/key/text')).toEqual(bytes('plain text'))
      await expect(secrets.write('default/key/text', bytes('x'))).rejects.toThrow(/refuses the token/)
      await vault.administer('POST', 'auth/token/revoke', { token: auth.client_token })
      await expect(secrets.read('default/key/text')).rejects.toThrow(/refuses the token/)
    })

    it('is not believed with another CA', async () => {
      const secrets = await open({ caCerts: [] })
      await expect(secrets.read(path)).rejects.toThrow(/cannot be reached/)
    })

    it('that is sealed is an outage', async () => {
      const secrets = await open()
      await vault.administer('PUT', 'sys/seal')
      await expect(secrets.read(path)).rejects.toThrow(/status 503/)
      await expect(secrets.ping()).rejects.toThrow(StorageUnavailable)
    })
  })
