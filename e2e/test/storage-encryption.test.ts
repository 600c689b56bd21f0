import { randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  openStorage,
  resolveStorageConfig,
  type StorageConfig,
  storageBackendSchema,
} from '@passport-kbs/storage'
import { rotateKey } from '@passport-kbs/testing/key-vault'
import { postgresAvailable, startPostgres } from '@passport-kbs/testing/postgres'
import { redisAvailable } from '@passport-kbs/testing/redis'
import { rotateTransitKey, startFakeVault } from '@passport-kbs/testing/vault'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startAzure } from '../src/back-ends/azure.ts'
import { newSecret, openSecretStage, type SecretStage, startKbs2 } from '../src/back-ends/secret-stage.ts'
import { startWebBackEnd } from '../src/back-ends/web-back-end.ts'
import { Secrets } from '../src/leaks.ts'
import { type ConfigTable, createOrganisation, type Organisation } from '../src/organisation.ts'
import { runKbsctl } from '../src/program.ts'

const path = 'default/key/one'
/** All that a KBS2 keeps. */
const namespaces = ['repository', 'kbs', 'policy_history']

/** A service with the key that wraps, and how a KBS2 reaches it. */
interface KeySource {
  /** The section `[storage_backend.encryption]`. */
  readonly encryption: ConfigTable
  readonly env?: Readonly<Record<string, string>>
  /** What proves to it who we are. */
  readonly credential?: string
  /** A new version of its key; those before are not to be used any more. */
  rotate(): void
  retireOld(): void
  goDown(): Promise<void>
  comeBack(): Promise<void>
  close(): Promise<void>
}

async function openTransit({ write }: Organisation): Promise<KeySource> {
  const vault = await startFakeVault()
  const token = `hvs.${randomBytes(24).toString('base64url')}`
  vault.tokens.set(token, { ttl: 0, renewable: false })
  rotateTransitKey(vault.transit, 'kbs')
  const server = await startWebBackEnd(vault)
  const access = {
    vault_url: server.url,
    ca_certs: [await write('vault-ca.pem', server.front.ca.pem)],
    token_file: await write('vault.token', token),
  }
  return {
    encryption: { vault_transit: { ...access, key_name: 'kbs' } },
    credential: token,
    rotate: () => void rotateTransitKey(vault.transit, 'kbs'),
    retireOld() {
      const key = vault.transit.get('kbs')
      if (key) key.minDecryptionVersion = key.versions.length
    },
    goDown: () => server.front.goDown(),
    comeBack: () => server.front.comeBack(),
    async close() {
      await server.close()
      await vault.stop()
    },
  }
}

async function openKeyVault(organisation: Organisation): Promise<KeySource> {
  const azure = await startAzure(organisation, { vault: 'my-vault' })
  const { keys } = azure.keyVault
  rotateKey(keys, 'kbs')
  return {
    env: azure.env,
    credential: azure.assertion,
    encryption: { azure_key_vault: { vault_uri: azure.vaultUri, key_name: 'kbs' } },
    rotate: () => void rotateKey(keys, 'kbs'),
    retireOld() {
      for (const version of keys.get('kbs')?.slice(0, -1) ?? []) version.enabled = false
    },
    goDown: () => azure.front.front.goDown(),
    comeBack: () => azure.front.front.comeBack(),
    close: azure.close,
  }
}

async function openKeyFile({ folder, path: at }: Organisation): Promise<KeySource> {
  const made = await runKbsctl(['keygen', '--storage-key', 'storage.key'], { cwd: folder })
  expect(made.code, made.stderr).toBe(0)
  const nothing = async () => {}
  return {
    encryption: { key_file: at('storage.key') },
    rotate: () => {},
    retireOld: () => {},
    goDown: nothing,
    comeBack: nothing,
    close: nothing,
  }
}

/** Where secrets are, and all bytes that are there. */
interface Store {
  readonly config: ConfigTable
  raw(): Promise<Buffer>
  close(): Promise<void>
}

async function openFiles(organisation: Organisation): Promise<Store> {
  const folder = organisation.path('storage')
  return {
    config: { storage_type: 'LocalFs', backends: { local_fs: { dir_path: folder } } },
    async raw() {
      const files = await readdir(folder, { recursive: true, withFileTypes: true })
      const texts = files
        .filter((file) => file.isFile())
        .map((file) => readFile(join(file.parentPath, file.name)))
      return Buffer.concat(await Promise.all(texts))
    },
    close: async () => {},
  }
}

async function openPostgres(): Promise<Store> {
  const server = await startPostgres()
  const { host, port, password } = server
  const config = {
    storage_type: 'Postgres',
    backends: { postgres: { host, port, password, db: 'postgres', username: 'postgres' } },
  }
  return { config, raw: () => valuesOf(config), close: () => server.stop() }
}

async function openRedis(organisation: Organisation): Promise<Store> {
  const { config } = await organisation.startRedis()
  return { config, raw: () => valuesOf(config), close: async () => {} }
}

async function valuesOf(section: ConfigTable): Promise<Buffer> {
  const config: StorageConfig = resolveStorageConfig(storageBackendSchema.parse(section))
  const storage = await openStorage(config)
  try {
    const values = await Promise.all(
      ['repository', 'storage_keys'].map(async (name) => {
        const store = storage.namespace(name)
        return store.getMany(await store.list())
      }),
    )
    return Buffer.concat(values.flat().map((value) => value ?? new Uint8Array()))
  } finally {
    await storage.close()
  }
}

const rows = [
  { name: 'a key in a file, LocalFs', open: openKeyFile, store: openFiles, runs: true },
  { name: 'Vault transit, PostgreSQL', open: openTransit, store: openPostgres, runs: postgresAvailable() },
  { name: 'Azure Key Vault, Redis', open: openKeyVault, store: openRedis, runs: redisAvailable() },
] as const

describe('secrets encrypted at rest by', () => {
  let stage: SecretStage
  beforeAll(async () => {
    stage = await openSecretStage()
  }, 60_000)
  afterAll(() => stage?.close())

  describe.each(rows)('$name', ({ open, store: openStore, runs }) => {
    let organisation: Organisation
    let source: KeySource
    let store: Store
    const secret = newSecret()
    beforeAll(async () => {
      if (!runs) return
      organisation = await createOrganisation('trustee-2')
      source = await open(organisation)
      store = await openStore(organisation)
    }, 60_000)
    afterAll(async () => {
      await organisation?.close()
      await source?.close()
      await store?.close()
    })
    const isService = open !== openKeyFile

    const config = (): ConfigTable => ({
      storage_backend: { ...store.config, encryption: { ...source.encryption, namespaces, require: true } },
      plugins: [{ name: 'resource', storage_backend_type: 'KvStorage' }],
    })
    const start = async () => {
      const options = { path, secret, ...(source.env ? { env: source.env } : {}) }
      return startKbs2(stage, organisation, config(), options)
    }
    const rewrap = async (...options: string[]) => {
      const file = await organisation.write('rewrap.json', JSON.stringify(config()))
      const args = ['storage', 'rewrap', '--config-file', file, ...options]
      const ended = await runKbsctl(args, source.env ? { env: source.env } : {})
      expect(ended.code, ended.stderr).toBe(0)
      return ended.stdout
    }
    const expectNoPlaintext = async () => {
      const raw = await store.raw()
      expect(raw.includes('PKBSenc')).toBe(true)
      for (const encoding of ['base64', 'base64url', 'hex', 'latin1'] as const) {
        expect(raw.includes(Buffer.from(secret).toString(encoding), 0, 'latin1'), encoding).toBe(false)
      }
    }

    it.skipIf(!runs)(
      'from the guest to the secret, through rotations and re-wrapping while guests ask',
      async () => {
        const { administration, asking, kbs } = await start()
        await administration.setResource(path, secret)
        const expectSecret = async () =>
          expect(Buffer.from(await asking.guest())).toEqual(Buffer.from(secret))
        await expectSecret()
        await expectNoPlaintext()
        if (!isService) return expect(await rewrap()).toContain('1 current before')

        source.rotate()
        let isDone = false
        let asked = 0
        const guests = (async () => {
          for (; !isDone || asked < 2; asked++) await expectSecret()
        })()
        const rewrapped = await rewrap('--new-key').finally(() => {
          isDone = true
        })
        await guests
        expect(rewrapped).toMatch(/1 wrapped by another version[\s\S]*1 re-wrapped, 0 encrypted/)
        // the process that runs has met the new key
        await administration.setResource(path, secret)
        await expectSecret()
        await expectNoPlaintext()
        source.retireOld()

        await source.goDown()
        await expectSecret()
        await administration.setResource(path, secret)
        expect((await fetch(`${kbs.url}/readyz`)).status).toBe(200)
        await source.comeBack()
        await kbs.stop()
        const confidential = new Secrets()
        confidential.addBytes('the secret', secret)
        if (source.credential !== undefined) confidential.add('the credential', source.credential)
        expect(confidential.foundIn(kbs.output())).toEqual([])
      },
      60_000,
    )

    // a file is there or the start is refused
    if (!isService) return
    it.skipIf(!runs)(
      'not ready with the vault down at the start, and no secret; recovers without hands',
      async () => {
        await source.goDown()
        const options = source.env ? { env: source.env } : {}
        const { storage_backend, plugins } = config()
        const kbs = await organisation.start(
          'kbs-resource',
          {
            http_server: { sockets: ['127.0.0.1:0'], insecure_http: true },
            admin: organisation.admin.config,
            attestation_token: await stage.trustedBy(organisation),
            storage_backend,
            plugins,
          },
          options,
        )
        const readiness = async () => (await fetch(`${kbs.url}/readyz`)).status
        expect(await readiness()).toBe(503)
        const ask = async () => {
          const { token } = await stage.attest()
          const answer = await fetch(`${kbs.url}/kbs/v0/resource/${path}`, {
            headers: { authorization: `Bearer ${token}` },
          })
          await answer.arrayBuffer()
          return answer.status
        }
        expect(await ask()).toBe(503)
        await kbs.logged(({ msg }) => String(msg).includes('storage keys could not be unwrapped yet'))
        await source.comeBack()
        await expect.poll(readiness, { timeout: 20_000 }).toBe(200)
        expect(await ask()).toBe(200)
        await kbs.stop()
      },
      60_000,
    )
  })
})
