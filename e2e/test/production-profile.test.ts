import { createGuest } from '@passport-kbs/guest-client'
import { redisAvailable } from '@passport-kbs/testing/redis'
import { CompactSign } from 'jose'
import { stringify } from 'smol-toml'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { claimsOf, headerOf } from '../src/handshake.ts'
import { runProgram } from '../src/program.ts'
import {
  publishedKeysOf,
  startTrustee1,
  startTrustee2,
  type Trustee1,
  type Trustee2,
} from '../src/trustees.ts'
import { virtualTees } from '../src/virtual-tees.ts'

const path = 'default/test/key'

describe.skipIf(!redisAvailable())('in the production profile', () => {
  let trustee1: Trustee1
  let trustee2: Trustee2
  /** Minted by a KBS1 in the development profile. */
  let token: string

  beforeAll(async () => {
    trustee1 = await startTrustee1()
    trustee2 = await startTrustee2(publishedKeysOf(trustee1.kbs), { profile: 'production' })
    await trustee2.administration.setResourcePolicy('package policy\n\ndefault allow := true\n')
    await trustee2.administration.setResource(path, 'the secret')
    const guest = createGuest({ kbsUrl: trustee1.kbs.url, attester: virtualTees.snp().attester })
    token = (await guest.attestOnce()).token
  }, 60_000)
  afterAll(async () => {
    await trustee2?.organisation.close()
    await trustee1?.organisation.close()
  })

  const show = (passport: string) =>
    fetch(`${trustee2.kbs.url}/kbs/v0/resource/${path}`, {
      headers: { authorization: `Bearer ${passport}` },
    })

  it('KBS2 refuses what a KBS1 in the development profile has minted, and says why in its log', async () => {
    const answer = await show(token)
    expect(answer.status).toBe(401)
    const body = (await answer.json()) as { readonly instance: string }
    expect(body).toMatchObject({
      type: 'https://github.com/confidential-containers/kbs/errors/TokenVerifierError',
      detail: 'Token Verifier error',
    })
    const record = await trustee2.kbs.logged(
      (line) => line.audit === true && body.instance.endsWith(String(line.requestId)),
    )
    expect(record).toMatchObject({ decision: 'denied', reason: expect.stringMatching(/^development-only: /) })
  })

  it('KBS2 accepts the same passport without the mark', async () => {
    const { 'passport-kbs.profile': mark, ...claims } = claimsOf(token)
    expect(mark).toBe('development')
    const unmarked = await new CompactSign(Buffer.from(JSON.stringify(claims)))
      .setProtectedHeader(headerOf(token) as { alg: string })
      .sign(trustee1.signer.key)
    expect((await show(unmarked)).status).toBe(200)
  })

  it('KBS1 does not start with roots that are not the vendor’s', async () => {
    const configFile = await trustee1.organisation.write(
      'production.toml',
      stringify({ ...trustee1.config, profile: 'production' }),
    )
    const { code, stderr } = await runProgram('kbs-attest', { configFile })
    expect(code, stderr).toBe(78)
    expect(stderr).toContain('attestation_service.verifier_config.snp_verifier.trusted_roots')
  })

  it('KBS1 knows no sample evidence', async () => {
    const kbs = await trustee1.organisation.start('kbs-attest', {
      profile: 'production',
      http_server: trustee1.config.http_server,
      admin: { authorization_mode: 'DenyAll' },
      attestation_service: { type: 'coco_as_builtin' },
    })
    const auth = (tee: string) =>
      fetch(`${kbs.url}/kbs/v0/auth`, {
        method: 'POST',
        body: JSON.stringify({ version: '0.4.0', tee, 'extra-params': '' }),
      })
    expect((await auth('snp')).status).toBe(200)
    for (const tee of ['sample', 'sampledevice']) {
      const answer = await auth(tee)
      expect(answer.status).toBe(401)
      expect(await answer.json()).toMatchObject({
        type: 'https://github.com/confidential-containers/kbs/errors/AttestationError',
      })
    }
  })
})
