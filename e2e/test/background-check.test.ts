import { randomBytes } from 'node:crypto'
import { createGuest, type Fetch, type GuestError, type GuestOptions } from '@passport-kbs/guest-client'
import { presets } from '@passport-kbs/policy'
import { redisAvailable } from '@passport-kbs/testing/redis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { attestationBody, claimsOf, postAttestation, requestChallenge } from '../src/handshake.ts'
import { startBackgroundCheck, type Trustee2 } from '../src/trustees.ts'
import { virtualTeeNames, virtualTees } from '../src/virtual-tees.ts'

describe.skipIf(!redisAvailable())('background check: both halves behind one address', () => {
  let trustee: Trustee2

  beforeAll(async () => {
    trustee = await startBackgroundCheck()
    await trustee.administration.setResourcePolicy(presets.affirming)
  }, 60_000)
  afterAll(() => trustee?.organisation.close())

  /** A guest, and the requests that it has made. */
  const guestWithRecord = (attester: GuestOptions['attester']) => {
    const requests: string[] = []
    const recording: Fetch = async (url, init) => {
      const answer = await fetch(url, init)
      requests.push(`${init.method} ${new URL(url).pathname} ${answer.status}`)
      return answer
    }
    return { guest: createGuest({ kbsUrl: trustee.kbs.url, attester, fetch: recording }), requests }
  }

  describe.each(virtualTeeNames)('with evidence of %s', (name) => {
    const tee = virtualTees[name]()
    const path = `default/${name}/key`
    const secret = randomBytes(1024)

    it('denies before reference values are registered: three rounds, as the guest makes them', async () => {
      await trustee.administration.setResource(path, secret)
      const { guest, requests } = guestWithRecord(tee.attester)
      const refusal = await guest.getResource(path).catch((error: GuestError) => error)
      expect(refusal).toMatchObject({
        code: 'unauthorized',
        information: { detail: 'Access denied by policy' },
      })
      expect(requests.filter((request) => request.startsWith('GET'))).toHaveLength(3)
    })

    it('asks first, is told 401, attests, and reads the secret in its cookie session', async () => {
      await trustee.administration.setReferenceValues(tee.referenceValues)
      const { guest, requests } = guestWithRecord(tee.attester)
      expect(Buffer.from(await guest.getResource(path))).toEqual(secret)
      expect(requests).toEqual([
        `GET /kbs/v0/resource/${path} 401`,
        'POST /kbs/v0/auth 200',
        'POST /kbs/v0/attest 200',
        `GET /kbs/v0/resource/${path} 200`,
      ])
    })

    it('goes on in the session without attesting again', async () => {
      const { guest, requests } = guestWithRecord(tee.attester)
      await guest.getResource(path)
      requests.splice(0)
      await guest.getResource(path)
      expect(requests).toEqual([`GET /kbs/v0/resource/${path} 200`])
    })
  })

  const get = (headers: Record<string, string>) =>
    fetch(`${trustee.kbs.url}/kbs/v0/resource/default/sample/key`, { headers })

  it('says on first contact what is missing, in the body that the guest parses', async () => {
    const answer = await get({})
    expect(answer.status).toBe(401)
    expect(await answer.json()).toMatchObject({
      type: 'https://github.com/confidential-containers/kbs/errors/TokenNotFound',
      detail: 'Attestation Token not found',
    })
  })

  it('takes the token of the session as Bearer token, too, without any cookie', async () => {
    const guest = createGuest({ kbsUrl: trustee.kbs.url, attester: virtualTees.sample().attester })
    const { token } = await guest.attestOnce()
    expect((await get({ authorization: `Bearer ${token}` })).status).toBe(200)
  })

  it('releases nothing to a session that has only been opened', async () => {
    const { cookie } = await requestChallenge(trustee.kbs.url, 'sample')
    const answer = await get({ cookie })
    expect(answer.status).toBe(401)
    expect(await answer.json()).toMatchObject({ detail: 'Attestation Token not found' })
  })

  it('names the cookie as guests know it, on /auth and again on /attest', async () => {
    const { url } = trustee.kbs
    const answer = await fetch(`${url}/kbs/v0/auth`, {
      method: 'POST',
      body: '{"version":"0.4.0","tee":"sample","extra-params":""}',
    })
    expect(answer.headers.get('set-cookie')).toMatch(
      /^kbs-session-id=[0-9a-f]{32}; Expires=\w{3}, \d{2} \w{3} \d{4} \d{2}:\d{2}:\d{2} GMT/,
    )
    expect(await answer.json()).toEqual({
      nonce: expect.stringMatching(/^[A-Za-z0-9+/]{43}=$/),
      'extra-params': '',
    })
    const { cookie, nonce } = await requestChallenge(url, 'sample')
    const attested = await fetch(`${url}/kbs/v0/attest`, {
      method: 'POST',
      headers: { cookie },
      body: await attestationBody(virtualTees.sample().attester, nonce),
    })
    expect(attested.headers.get('set-cookie')?.startsWith(`${cookie};`)).toBe(true)
  })

  it('says the same of sessions that it does not know and of those it never gave out', async () => {
    const { nonce } = await requestChallenge(trustee.kbs.url, 'sample')
    const body = await attestationBody(virtualTees.sample().attester, nonce)
    for (const cookie of [`kbs-session-id=${'0'.repeat(32)}`, 'kbs-session-id=../../x', 'other=1', '']) {
      const { status, text } = await postAttestation(trustee.kbs.url, cookie, body)
      expect(status).toBe(401)
      expect(JSON.parse(text)).toMatchObject({ detail: 'Attestation error: RCAR handshake Attest failed' })
    }
  })

  it('verifies the passport of a session with its own published keys', async () => {
    const guest = createGuest({ kbsUrl: trustee.kbs.url, attester: virtualTees.sample().attester })
    const { token } = await guest.attestOnce()
    const published = (await (await fetch(`${trustee.kbs.url}/.well-known/jwks.json`)).json()) as {
      keys: { kid: string }[]
    }
    expect(published.keys).toHaveLength(1)
    expect(claimsOf(token).jti).toMatch(/^[0-9a-f-]{36}$/)
  })
})
