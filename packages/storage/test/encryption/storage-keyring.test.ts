import { randomBytes } from 'node:crypto'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  openStorage,
  openStorageKeyring,
  resolveStorageConfig,
  StorageConfigError,
  storageBackendSchema,
} from '../../src/index.ts'
import { temporaryFolder } from '../back-ends.ts'

let folder: Awaited<ReturnType<typeof temporaryFolder>>
beforeEach(async () => {
  folder = await temporaryFolder()
})
afterEach(() => folder.remove())

async function keyFile(name: string, text: string, mode = 0o600): Promise<string> {
  const path = join(folder.path, name)
  await writeFile(path, text)
  await chmod(path, mode)
  return path
}

const open = (keyFile: string, previousKeyFiles: string[] = []) =>
  openStorageKeyring({ keyFile, previousKeyFiles, namespaces: ['repository'], require: false })

describe('a storage key', () => {
  const text = randomBytes(32).toString('base64')

  it.each([0o600, 0o400, 0o640, 0o440])('is read from a file with mode %o', async (mode) => {
    const keyring = await open(await keyFile('key', `${text}\n`, mode))
    expect(keyring.find(keyring.current.id)).toBe(keyring.current)
  })

  it.each([0o644, 0o604, 0o660, 0o620, 0o666])('is refused from a file with mode %o', async (mode) => {
    await expect(open(await keyFile('key', text, mode))).rejects.toThrow(StorageConfigError)
    await expect(open(await keyFile('key', text, mode))).rejects.toThrow(/chmod 600/)
  })

  it.each([
    ['nothing', ''],
    ['16 bytes', randomBytes(16).toString('base64')],
    ['33 bytes', randomBytes(33).toString('base64')],
    ['hex', randomBytes(32).toString('hex')],
    ['base64url', randomBytes(32).fill(0xff).toString('base64url')],
    ['two lines', `${text}\n${text}\n`],
    ['much', text.repeat(1_000)],
  ])('is not %s, and the error does not hold it', async (_, wrong) => {
    const error: unknown = await open(await keyFile('key', wrong)).catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(StorageConfigError)
    expect(String(error)).toContain('32 bytes in base64')
    if (wrong !== '') expect(String(error)).not.toContain(wrong)
  })

  it('is refused where there is no such file, or no file', async () => {
    await expect(open(join(folder.path, 'none'))).rejects.toThrow(StorageConfigError)
    const path = join(folder.path, 'folder')
    await mkdir(path, { mode: 0o700 })
    await expect(open(path)).rejects.toThrow(StorageConfigError)
    const good = await keyFile('key', text)
    await expect(open(good, [join(folder.path, 'none')])).rejects.toThrow(/none/)
  })

  it('is found by an id made from it', async () => {
    const other = randomBytes(32).toString('base64')
    const keyring = await open(await keyFile('a', text), [await keyFile('b', other)])
    const alone = await open(await keyFile('c', other))
    expect(keyring.find(alone.current.id)?.key.equals(alone.current.key)).toBe(true)
    expect(alone.find(keyring.current.id)).toBeUndefined()
  })
})

const transit = { vault_url: 'https://vault.example:8200', token: 'root', key_name: 'kbs' }
const azure = { vault_uri: 'https://vault.vault.azure.net', key_name: 'kbs' }

describe('[storage_backend.encryption]', () => {
  it('may name a key service, and the one before', () => {
    expect(resolve({ vault_transit: transit, previous: { azure_key_vault: azure } }).encryption).toEqual({
      keyService: {
        kind: 'vault_transit',
        vaultUrl: 'https://vault.example:8200',
        token: 'root',
        caCerts: [],
        timeoutMs: 5_000,
        mountPath: 'transit',
        keyName: 'kbs',
      },
      previousKeyService: {
        kind: 'azure_key_vault',
        vaultUri: 'https://vault.vault.azure.net',
        credential: 'workload-identity',
        timeoutMs: 5_000,
        keyName: 'kbs',
      },
      previousKeyFiles: [],
      namespaces: ['repository'],
      require: false,
    })
  })

  const section = (encryption: Record<string, unknown>) => ({
    storage_type: 'LocalFs',
    backends: { local_fs: { dir_path: join(folder.path, 'storage') } },
    encryption,
  })
  const resolve = (encryption: Record<string, unknown>) =>
    resolveStorageConfig(storageBackendSchema.parse(section(encryption)))

  it('encrypts secrets, and by default nothing else', async () => {
    const config = resolve({ key_file: await keyFile('key', randomBytes(32).toString('base64')) })
    expect(config.encryption).toMatchObject({
      namespaces: ['repository'],
      previousKeyFiles: [],
      require: false,
    })
    const value = new TextEncoder().encode('value')
    const storage = await openStorage(config)
    const { encryption: _, ...plainConfig } = config
    const plain = await openStorage(plainConfig)
    for (const [name, same] of [
      ['repository', false],
      ['kbs', true],
    ] as const) {
      await storage.namespace(name).set('a/b/c', value)
      expect(Buffer.from(value).equals((await plain.namespace(name).get('a/b/c')) ?? value.subarray(1))).toBe(
        same,
      )
      expect(await storage.namespace(name).get('a/b/c')).toEqual(value)
    }
    await Promise.all([storage.close(), plain.close()])
  })

  it('does not start with a key that cannot be used', async () => {
    await expect(openStorage(resolve({ key_file: join(folder.path, 'none') }))).rejects.toThrow(
      StorageConfigError,
    )
  })

  it.each([
    {},
    { key_file: '' },
    { key_file: 'k', namespaces: [] },
    { key_file: 'k', namespaces: ['kbs_protocol_session'] },
    { key_file: 'k', namespaces: ['repositry'] },
    { key_file: 'k', required: true },
    { key_file: 'k', vault_transit: transit },
    { vault_transit: transit, azure_key_vault: azure },
    { vault_transit: { ...transit, token_file: 'x' } },
    { vault_transit: { ...transit, token: undefined } },
    { vault_transit: { ...transit, vault_url: 'http://vault.example' } },
    { vault_transit: { ...transit, verify_ssl: false } },
    { vault_transit: { ...transit, key_name: '../kbs' } },
    { vault_transit: { ...transit, mount_path: '../transit' } },
    { azure_key_vault: { ...azure, vault_uri: 'http://vault.vault.azure.net' } },
    { azure_key_vault: { ...azure, key_name: 'kbs/1' } },
    { vault_transit: transit, previous: {} },
    { vault_transit: transit, previous: { vault_transit: transit, azure_key_vault: azure } },
    { vault_transit: transit, previous: { key_file: 'k' } },
  ])('refuses %j', (encryption) => {
    expect(storageBackendSchema.safeParse(section(encryption)).success).toBe(false)
  })
})
