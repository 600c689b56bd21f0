import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLogger, parseConfig } from '@passport-kbs/service'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openAttestation } from '../src/open-attestation.ts'

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'intel-ta-'))
  await writeFile(join(folder, 'intel.key'), `djE6${'k'.repeat(40)}\n`)
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const logger = createLogger({ program: 'test', env: { RUST_LOG: 'off' } })

/** Nothing listens at the addresses. */
async function open(section: object = {}) {
  const config = parseConfig(
    'kbs-attest',
    {
      http_server: { insecure_http: true },
      attestation_service: {
        type: 'intel_ta',
        base_url: 'https://127.0.0.1:9',
        api_key_file: join(folder, 'intel.key'),
        certs_file: 'https://127.0.0.1:9/certs',
        ...section,
      },
    },
    {},
  )
  return await openAttestation(config, logger)
}

describe('KBS1 with Intel Trust Authority', () => {
  it('starts while Intel does not answer, and is not ready', async () => {
    const { attestation, close } = await open()
    await expect(attestation.ping()).rejects.toThrow(/no keys at hand/)
    expect(attestation.issuer).toBe('Intel Trust Authority')
    await close()
  })

  it('derives the keys that sessions are sealed with', async () => {
    const { sealing, close } = await open()
    expect(await sealing.deriveKey('test')).toHaveLength(32)
    await close()
  })

  it.each([
    ['api_key_file', 'TokenFileError'],
    ['ca', 'ConfigError'],
    ['certs_file', 'KeySourceError'],
  ])('does not start with an unreadable %s', async (key, name) => {
    const missing = join(folder, 'none')
    await expect(open({ [key]: missing })).rejects.toMatchObject({ name })
  })
})
