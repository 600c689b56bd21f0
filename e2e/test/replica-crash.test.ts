import { createGuest, getResourceWithPassport } from '@passport-kbs/guest-client'
import { generateTeeKeyPair } from '@passport-kbs/protocol'
import { redisAvailable } from '@passport-kbs/testing/redis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { administer } from '../src/administration.ts'
import { attestationBody, postAttestation, requestChallenge } from '../src/handshake.ts'
import {
  publishedKeysOf,
  startBackgroundCheck,
  startTrustee1,
  startTrustee2,
  type Trustee1,
  type Trustee2,
} from '../src/trustees.ts'
import { virtualTees } from '../src/virtual-tees.ts'

const releaseToSample = 'package policy\n\ndefault allow := false\n\nallow if data.plugin == "resource"\n'

describe.skipIf(!redisAvailable())('a replica of KBS1 that is killed', () => {
  const tee = virtualTees.snp()
  let trustee: Trustee1
  beforeEach(async () => {
    trustee = await startTrustee1()
  }, 60_000)
  afterEach(() => trustee?.organisation.close())

  it('leaves its sessions to the other replica and to its successor', async () => {
    const a = trustee.kbs
    const b = await trustee.organisation.start('kbs-attest', trustee.config)
    const [first, second] = [await requestChallenge(a.url, 'snp'), await requestChallenge(a.url, 'snp')]
    await a.kill()
    expect(a.running()).toBe(false)

    const onOther = await postAttestation(
      b.url,
      first.cookie,
      await attestationBody(tee.attester, first.nonce),
    )
    expect(onOther.status).toBe(200)

    const successor = await trustee.organisation.start('kbs-attest', trustee.config)
    const body = await attestationBody(tee.attester, second.nonce)
    const onSuccessor = await postAttestation(successor.url, second.cookie, body)
    expect(onSuccessor.status).toBe(200)
    expect((await postAttestation(b.url, second.cookie, body)).token).toBe(onSuccessor.token)
  })

  it('mints passports after a restart that KBS2 accepts with the keys it was given before', async () => {
    const trustee2: Trustee2 = await startTrustee2(publishedKeysOf(trustee.kbs))
    try {
      await trustee2.administration.setResourcePolicy(releaseToSample)
      await trustee2.administration.setResource('default/test/key', 'kept')
      await trustee.kbs.kill()
      const successor = await trustee.organisation.start('kbs-attest', trustee.config)
      const passport = await createGuest({ kbsUrl: successor.url, attester: tee.attester }).attestOnce()
      const secret = await getResourceWithPassport({
        kbsUrl: trustee2.kbs.url,
        ...passport,
        path: 'default/test/key',
      })
      expect(new TextDecoder().decode(secret)).toBe('kept')
    } finally {
      await trustee2.organisation.close()
    }
  })
})

describe.skipIf(!redisAvailable())('a replica of the background check that is killed', () => {
  it('loses no attested session, no policy, no secret', async () => {
    const trustee = await startBackgroundCheck()
    try {
      const { organisation, config, kbs } = trustee
      await trustee.administration.setResourcePolicy(releaseToSample)
      await trustee.administration.setResource('default/test/key', 'kept')
      const { cookie, nonce } = await requestChallenge(kbs.url, 'sample')
      const body = await attestationBody(virtualTees.sample().attester, nonce, generateTeeKeyPair())
      expect((await postAttestation(kbs.url, cookie, body)).status).toBe(200)
      await kbs.kill()

      const successor = await organisation.start('kbs', config)
      const get = () => fetch(`${successor.url}/kbs/v0/resource/default/test/key`, { headers: { cookie } })
      expect((await get()).status).toBe(200)

      await administer(successor.url, organisation.admin).setResourcePolicy(
        'package policy\n\ndefault allow := false\n',
      )
      expect((await get()).status).toBe(401)
    } finally {
      await trustee.organisation.close()
    }
  })
})
