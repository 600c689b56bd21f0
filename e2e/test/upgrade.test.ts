import { readdirSync, readFileSync, statSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createGuest, type GuestError, sampleAttester } from '@passport-kbs/guest-client'
import { type PostgresServer, postgresAvailable, startPostgres } from '@passport-kbs/testing/postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Administration, administer } from '../src/administration.ts'
import { type ConfigTable, createOrganisation, type Organisation } from '../src/organisation.ts'
import { type Program, runKbsctl } from '../src/program.ts'
import { plainHttp } from '../src/trustees.ts'

/** What a later version of the program would leave behind, met by this one: after a roll back, or half-way through an upgrade. */

const policy = 'package policy\n\ndefault allow := true\n'

function kbs2Config(organisation: Organisation, storage: ConfigTable): ConfigTable {
  return {
    profile: 'development',
    http_server: plainHttp,
    admin: organisation.admin.config,
    attestation_token: { insecure_header_jwk: true },
    storage_backend: storage,
    plugins: [{ name: 'resource', storage_backend_type: 'KvStorage' }],
  }
}

describe.skipIf(!postgresAvailable())('a PostgreSQL that a newer version has migrated', () => {
  let postgres: PostgresServer
  let organisation: Organisation
  let before: Program
  let after: Program
  let config: ConfigTable
  const later = 99
  const rows = () => postgres.sql('SELECT key, md5(value) FROM kbs ORDER BY key', 'kbs')
  const status = async (kbs: Program) =>
    (await administer(kbs.url, organisation.admin).request('GET', 'resource-policy')).status

  beforeAll(async () => {
    organisation = await createOrganisation('trustee-2')
    postgres = await startPostgres()
    await postgres.sql('CREATE DATABASE kbs')
    config = kbs2Config(organisation, {
      storage_type: 'Postgres',
      backends: {
        postgres: {
          ...{ host: postgres.host, port: postgres.port, db: 'kbs' },
          ...{ username: postgres.username, password: postgres.password },
        },
      },
    })
    before = await organisation.start('kbs-resource', config)
    await administer(before.url, organisation.admin).setResourcePolicy(policy)
    await postgres.sql(`INSERT INTO "passport_kbs$schema" (version) VALUES (${later})`, 'kbs')
  }, 60_000)
  afterAll(async () => {
    await organisation?.close()
    await postgres?.stop()
  })

  it('goes on serving replicas that were there before: they are replaced one after the other', async () => {
    expect(await status(before)).toBe(200)
  })

  it('is not touched by a program that starts now: it is not ready, answers 503, and the log says what to do', async () => {
    const stored = await rows()
    after = await organisation.start('kbs-resource', config)
    expect((await fetch(`${after.url}/readyz`)).status).toBe(503)
    expect(await status(after)).toBe(503)
    const { setResourcePolicy } = administer(after.url, organisation.admin)
    await expect(setResourcePolicy('package policy\n')).rejects.toThrow(/503/)
    expect(after.output()).toMatch(
      new RegExp(`the database has schema version ${later}, this program knows \\d+: update the program`),
    )
    expect(await rows()).toBe(stored)
  }, 30_000)

  it('serves that program again, without a restart, once it is what it was', async () => {
    await postgres.sql(`DELETE FROM "passport_kbs$schema" WHERE version = ${later}`, 'kbs')
    await expect.poll(() => status(after), { timeout: 10_000 }).toBe(200)
    // what was found out is kept for a second
    await expect.poll(async () => (await fetch(`${after.url}/readyz`)).status).toBe(200)
  })
})

describe('files', () => {
  let organisation: Organisation
  let administration: Administration
  let config: ConfigTable
  const folder = () => organisation.path('storage')
  const guestOf = (kbs: Program) => createGuest({ kbsUrl: kbs.url, attester: sampleAttester() })

  beforeAll(async () => {
    organisation = await createOrganisation('trustee-2')
    const keyFile = organisation.path('storage.key')
    const { code, stderr } = await runKbsctl(['keygen', '--storage-key', keyFile])
    expect(code, stderr).toBe(0)
    const { attestation_token: _, ...common } = kbs2Config(organisation, {
      storage_type: 'LocalFs',
      backends: { local_fs: { dir_path: folder() } },
      encryption: { key_file: keyFile },
    })
    config = { ...common, attestation_service: { type: 'coco_as_builtin' } }
    const kbs = await organisation.start('kbs', config)
    administration = administer(kbs.url, organisation.admin)
    await administration.setResourcePolicy(policy)
    await administration.setResource('default/test/key', 'the secret')
    await kbs.stop()
  }, 60_000)
  afterAll(async () => {
    await organisation?.close()
  })

  it('are as they were after a start and an end: nothing is migrated that would stand in the way back', async () => {
    const stored = contentOf(folder())
    const kbs = await organisation.start('kbs', config)
    expect(Buffer.from(await guestOf(kbs).getResource('default/test/key')).toString()).toBe('the secret')
    await kbs.stop()
    expect(contentOf(folder())).toEqual(stored)
    expect([...stored.keys()]).toContain('repository/default\\x2Ftest\\x2Fkey')
  }, 30_000)

  it('with an envelope of a newer version are neither opened nor taken for a secret in clear', async () => {
    const file = join(folder(), 'repository/default\\x2Ftest\\x2Fkey')
    const envelope = readFileSync(file)
    expect(envelope.subarray(0, 7).toString()).toBe('PKBSenc')
    envelope.writeUInt8(envelope.readUInt8(7) + 1, 7)
    await writeFile(file, envelope)
    const kbs = await organisation.start('kbs', config)
    const refusal = await guestOf(kbs)
      .getResource('default/test/key')
      .catch((error: GuestError) => error)
    expect(refusal).toMatchObject({ status: 503 })
    expect(kbs.output()).toContain('encrypted in a way that this version does not know')
    const answer = await runKbsctl([
      ...['storage', 'rewrap', '--config-file'],
      await organisation.write('rewrap.toml', await configText(organisation)),
    ])
    expect(answer.code).not.toBe(0)
    expect(readFileSync(file)).toEqual(envelope)
    await kbs.stop()
  }, 30_000)
})

/** The configuration that was written last. */
async function configText({ folder }: Organisation): Promise<string> {
  const names = readdirSync(folder).filter((name) => /^kbs-\d+\.toml$/.test(name))
  return readFileSync(join(folder, names.sort().at(-1) ?? ''), 'utf8')
}

/** Every file below the folder, but for the locks. */
function contentOf(folder: string): Map<string, string> {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(
    (name) => !name.startsWith('~locks') && statSync(join(folder, name)).isFile(),
  )
  return new Map(files.sort().map((name) => [name, readFileSync(join(folder, name)).toString('base64')]))
}
