import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { presets } from '@passport-kbs/policy'
import { type Config, parseConfig } from '@passport-kbs/service'
import { openStorage } from '@passport-kbs/storage'
import { startFakeVault } from '@passport-kbs/testing/vault'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { expectProblem } from '../../kbs-attest/test/problem.ts'
import { openSecrets } from '../src/open-secrets.ts'
import { opened, openTestKbs, passport, type TestKbs, temporaryFile, utf8 } from './fixtures.ts'

/** The configuration of a KBS2 with this entry of `[[plugins]]`. */
async function configWith(plugin: Record<string, unknown>): Promise<Config> {
  const keys = await temporaryFile('jwks.json', '{"keys":[]}')
  const document = {
    http_server: { insecure_http: true },
    attestation_token: { trusted_jwk_sets: [keys] },
    plugins: [{ name: 'resource', ...plugin }],
  }
  return parseConfig('kbs-resource', document, { KBS_PROFILE: 'development' })
}

describe('a directory mounted beside the store', () => {
  let directory: string
  let kbs: TestKbs
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'kbs-mount-'))
    const mounts = [{ prefix: 'default/akv', directory }]
    const config = await configWith({ storage_backend_type: 'kvstorage', mounts })
    const secrets = await openSecrets(config, await openStorage({ type: 'Memory' }))
    kbs = await openTestKbs({ policy: presets.allowAll, deps: { secrets: secrets?.backend } })
    await writeFile(join(directory, 'one'), 'from the vault')
  })
  afterAll(() => rm(directory, { recursive: true }))
  const get = async (path: string) => kbs.request('GET', `/kbs/v0/resource/${path}`, await passport())

  it('is served under its prefix, the store under every other', async () => {
    expect(await opened(await get('default/akv/one'))).toEqual(utf8('from the vault'))
    expect((await kbs.request('POST', '/kbs/v0/resource/default/key/one', {}, 'stored')).status).toBe(200)
    expect(await opened(await get('default/key/one'))).toEqual(utf8('stored'))
    await expectProblem(await get('default/akv/two'), 404, 'PluginInternalError')
  })

  it('refuses writes and deletes, with the reason in the audit trail', async () => {
    for (const method of ['POST', 'DELETE']) {
      const answer = await kbs.request(
        method,
        '/kbs/v0/resource/default/akv/one',
        {},
        method === 'POST' ? 'x' : undefined,
      )
      await expectProblem(answer, 400, 'PluginInternalError')
    }
    expect(kbs.audits().at(-1)).toMatchObject({
      event: 'resource-delete',
      decision: 'denied',
      reason: 'secrets are only read at this place',
    })
    expect(await opened(await get('default/akv/one'))).toEqual(utf8('from the vault'))
  })

  it('answers 503 for a link that leads out', async () => {
    await symlink('/etc/passwd', join(directory, 'escape'))
    await expectProblem(await get('default/akv/escape'), 503, 'ServiceUnavailable')
  })
})

describe('secrets in Vault', () => {
  it('are written, read by version, and deleted; a version that cannot be is 400, a sealed Vault 503', async () => {
    const vault = await startFakeVault()
    vault.tokens.set('t', { ttl: 0, renewable: false })
    const config = await configWith({
      storage_backend_type: 'vault',
      vault_url: vault.url,
      token: 't',
      mount_path: 'kv',
      kv_version: 2,
      ca_certs: [await temporaryFile('ca.pem', vault.ca)],
    })
    const secrets = await openSecrets(config, await openStorage({ type: 'Memory' }))
    const kbs = await openTestKbs({ policy: presets.allowAll, deps: { secrets: secrets?.backend } })
    const path = '/kbs/v0/resource/a/b/c'
    const get = async (query = '') => kbs.request('GET', path + query, await passport())
    for (const value of ['old', 'new']) expect((await kbs.request('POST', path, {}, value)).status).toBe(200)
    expect(await opened(await get())).toEqual(utf8('new'))
    expect(await opened(await get('?version=1'))).toEqual(utf8('old'))
    await expectProblem(await get('?version=first'), 400, 'PluginInternalError')
    vault.fault = 'sealed'
    await expectProblem(await get(), 503, 'ServiceUnavailable')
    // others may be served, and no replica could do better
    const ready = await kbs.request('GET', '/readyz')
    expect([ready.status, await ready.json()]).toMatchObject([
      200,
      { status: 'degraded', checks: { storage: 'ok', secrets: 'failing' } },
    ])
    vault.fault = undefined
    expect((await kbs.request('DELETE', path)).status).toBe(200)
    await expectProblem(await get('?version=1'), 404, 'PluginInternalError')
    await secrets?.close()
    await vault.stop()
  })
})

describe('secrets in Azure Key Vault', () => {
  it('are not written unless that is allowed, which Azure is not asked for', async () => {
    const config = await configWith({
      storage_backend_type: 'AzureKeyVault',
      vault_uri: 'https://nowhere.vault.azure.net',
      credential: 'managed-identity',
    })
    const secrets = await openSecrets(config, await openStorage({ type: 'Memory' }))
    const kbs = await openTestKbs({ deps: { secrets: secrets?.backend } })
    await expectProblem(
      await kbs.request('POST', '/kbs/v0/resource/a/b/c', {}, 'x'),
      400,
      'PluginInternalError',
    )
    await expectProblem(await kbs.request('DELETE', '/kbs/v0/resource/a/b/c'), 400, 'PluginInternalError')
    await secrets?.close()
  })
})
