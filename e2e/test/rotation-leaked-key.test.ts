import { rm } from 'node:fs/promises'
import { createGuest, sampleAttester } from '@passport-kbs/guest-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeTokenIdentity } from '../src/certificates.ts'
import { headerOf } from '../src/handshake.ts'
import { type ConfigTable, createOrganisation, type Organisation } from '../src/organisation.ts'
import type { Program } from '../src/program.ts'
import { plainHttp } from '../src/trustees.ts'

describe('a signing key that has leaked', () => {
  let organisation: Organisation
  let config: ConfigTable
  let kbs: Program
  let leaked: unknown

  const published = async () => {
    const answer = await fetch(`${kbs.url}/.well-known/jwks.json`)
    const { keys } = (await answer.json()) as { readonly keys: readonly { readonly kid: string }[] }
    return keys.map(({ kid }) => kid)
  }
  const signingKey = async () => {
    const guest = createGuest({ kbsUrl: kbs.url, attester: sampleAttester() })
    return headerOf((await guest.attestOnce()).token).kid
  }

  beforeAll(async () => {
    organisation = await createOrganisation('trustee-1')
    config = {
      profile: 'development',
      state_dir: organisation.path('state'),
      http_server: plainHttp,
      attestation_service: {
        type: 'coco_as_builtin',
        attestation_token_broker: {
          signer: { key_path: await organisation.write('token.key', makeTokenIdentity('leaked').keyPem) },
        },
      },
    }
    kbs = await organisation.start('kbs-attest', config)
    leaked = await signingKey()
  }, 30_000)
  afterAll(async () => {
    await organisation?.close()
  })

  it('would stay published after it was replaced, as one that has not leaked should', async () => {
    await organisation.write('token.key', makeTokenIdentity('new').keyPem)
    await expect.poll(signingKey, { timeout: 10_000, interval: 500 }).not.toBe(leaked)
    expect(await published()).toContain(leaked)
    await kbs.stop()
    kbs = await organisation.start('kbs-attest', config)
    expect(await published()).toContain(leaked)
  }, 30_000)

  it('is not published any more once the list of replaced keys is deleted between stop and start', async () => {
    await kbs.stop()
    await rm(organisation.path('state/token-retired-keys.json'))
    kbs = await organisation.start('kbs-attest', config)
    expect(await published()).toEqual([await signingKey()])
    expect(await published()).not.toContain(leaked)
  }, 30_000)
})
