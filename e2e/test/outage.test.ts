import { setTimeout as delay } from 'node:timers/promises'
import { createGuest, getResourceWithPassport } from '@passport-kbs/guest-client'
import { freePort, redisAvailable } from '@passport-kbs/testing/redis'
import { generateKeyPair, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeServerIdentity } from '../src/certificates.ts'
import { attestationBody, claimsOf, postAttestation, requestChallenge } from '../src/handshake.ts'
import type { Program } from '../src/program.ts'
import {
  audience,
  issuer,
  publishedKeysOf,
  startBackgroundCheck,
  startTrustee1,
  startTrustee2,
  type Trustee1,
  type Trustee2,
} from '../src/trustees.ts'
import { virtualTees } from '../src/virtual-tees.ts'

const path = 'default/test/key'
const allowAll = 'package policy\n\ndefault allow := true\n'
const authBody = '{"version":"0.4.0","tee":"sample","extra-params":""}'

/** Whatever is down: a guest gets 503 with the body that it parses, which says nothing of what is down. */
async function expectUnavailable(answer: Response) {
  const text = await answer.text()
  expect(answer.status, text).toBe(503)
  expect(answer.headers.get('content-type')).toBe('application/json')
  expect(JSON.parse(text)).toEqual({
    type: 'https://github.com/confidential-containers/kbs/errors/ServiceUnavailable',
    detail: expect.any(String),
    title: expect.any(String),
    status: 503,
    instance: expect.any(String),
  })
  expect(text).not.toMatch(/redis|ECONN|127\.0\.0\.1/i)
}

async function eventually(condition: () => Promise<boolean>, limitMs = 10_000) {
  const deadline = performance.now() + limitMs
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error('did not become so in time')
    await delay(100)
  }
}

const statusOf = async (url: string) => (await fetch(url)).status
const ready = (program: Program) => async () => (await statusOf(`${program.url}/readyz`)) === 200

describe.skipIf(!redisAvailable())('while the Redis of Trustee 1 is down', () => {
  let trustee: Trustee1
  let cookie: string
  let body: string
  const tee = virtualTees.sample()

  beforeAll(async () => {
    trustee = await startTrustee1()
    const session = await requestChallenge(trustee.kbs.url, 'sample')
    cookie = session.cookie
    body = await attestationBody(tee.attester, session.nonce)
    expect(await statusOf(`${trustee.kbs.url}/readyz`)).toBe(200)
    await trustee.redis.server.kill()
  }, 60_000)
  afterAll(() => trustee?.organisation.close())

  it('KBS1 answers /auth, /attest and administrators with 503', async () => {
    const { url } = trustee.kbs
    await expectUnavailable(await fetch(`${url}/kbs/v0/auth`, { method: 'POST', body: authBody }))
    await expectUnavailable(
      await fetch(`${url}/kbs/v0/attest`, { method: 'POST', headers: { cookie }, body }),
    )
    await expectUnavailable(await trustee.administration.request('GET', 'reference-value/svn'))
    await expectUnavailable(
      await trustee.administration.request(
        'POST',
        'reference-value',
        '{"version":"0.1.0","type":"sample","payload":"eyJzdm4iOlsiMSJdfQ=="}',
      ),
    )
  })

  it('KBS1 is alive, not ready, and says which part', async () => {
    const { url } = trustee.kbs
    await eventually(async () => (await statusOf(`${url}/readyz`)) === 503)
    const answer = await fetch(`${url}/readyz`)
    expect(await answer.json()).toMatchObject({
      status: 'not ready',
      checks: { attestation: 'failing', sessions: 'failing' },
    })
    expect(await statusOf(`${url}/healthz`)).toBe(200)
    expect(await statusOf(`${url}/.well-known/jwks.json`)).toBe(200)
  })

  it('a further KBS1 starts all the same, and is not ready', async () => {
    const other = await trustee.organisation.start('kbs-attest', trustee.config)
    expect(await statusOf(`${other.url}/readyz`)).toBe(503)
    await trustee.redis.server.restart()
    await eventually(ready(other))
    const { cookie: session, nonce } = await requestChallenge(other.url, 'sample')
    const good = await postAttestation(other.url, session, await attestationBody(tee.attester, nonce))
    expect(good.status).toBe(200)
    await other.stop()
  }, 30_000)

  it('KBS1 recovers by itself, and the session that was open goes on', async () => {
    await eventually(ready(trustee.kbs))
    expect((await postAttestation(trustee.kbs.url, cookie, body)).status).toBe(200)
    expect(trustee.kbs.running()).toBe(true)
    expect(trustee.kbs.log().filter(({ msg }) => msg === 'listening')).toHaveLength(1)
  })
})

describe.skipIf(!redisAvailable())('while the Redis of the background check is down', () => {
  let trustee: Trustee2
  let cookie: string

  beforeAll(async () => {
    trustee = await startBackgroundCheck()
    await trustee.administration.setResourcePolicy(allowAll)
    await trustee.administration.setResource(path, 'the secret')
    const session = await requestChallenge(trustee.kbs.url, 'sample')
    cookie = session.cookie
    const body = await attestationBody(virtualTees.sample().attester, session.nonce)
    expect((await postAttestation(trustee.kbs.url, cookie, body)).status).toBe(200)
  }, 60_000)
  afterAll(() => trustee?.organisation.close())

  const get = () => fetch(`${trustee.kbs.url}/kbs/v0/resource/${path}`, { headers: { cookie } })

  it('a guest with a session gets 503, be Redis gone or silent, and the secret once it is back', async () => {
    expect((await get()).status).toBe(200)
    await trustee.redis.server.kill()
    await expectUnavailable(await get())
    await trustee.redis.server.restart()
    await eventually(async () => (await get()).status === 200)

    trustee.redis.server.pause()
    await expectUnavailable(await get())
    trustee.redis.server.resume()
    await eventually(async () => (await get()).status === 200)
  }, 30_000)

  it('the process ends in good order while Redis is down', async () => {
    await trustee.redis.server.kill()
    const started = performance.now()
    expect(await trustee.kbs.stop()).toBe(0)
    expect(performance.now() - started).toBeLessThan(5_000)
  })
})

describe.skipIf(!redisAvailable())('while the Redis of Trustee 2 is down', () => {
  let trustee1: Trustee1
  let trustee2: Trustee2

  beforeAll(async () => {
    trustee1 = await startTrustee1()
    trustee2 = await startTrustee2(publishedKeysOf(trustee1.kbs))
    await trustee2.administration.setResourcePolicy(allowAll)
    await trustee2.administration.setResource(path, 'the secret')
  }, 60_000)
  afterAll(async () => {
    await trustee2?.organisation.close()
    await trustee1?.organisation.close()
  })

  it('KBS2 releases nothing and answers 503; Trustee 1 goes on; KBS2 recovers by itself', async () => {
    const attester = virtualTees.sample().attester
    const passport = await createGuest({ kbsUrl: trustee1.kbs.url, attester }).attestOnce()
    const get = () =>
      fetch(`${trustee2.kbs.url}/kbs/v0/resource/${path}`, {
        headers: { authorization: `Bearer ${passport.token}` },
      })
    await trustee2.redis.server.kill()
    await expectUnavailable(await get())
    await expectUnavailable(await trustee2.administration.request('POST', `resource/${path}`, 'new'))
    await expectUnavailable(await trustee2.administration.request('DELETE', `resource/${path}`))
    await expectUnavailable(await trustee2.administration.request('GET', 'resource-policy'))
    await eventually(async () => (await statusOf(`${trustee2.kbs.url}/readyz`)) === 503)
    expect(await ready(trustee1.kbs)()).toBe(true)

    await trustee2.redis.server.restart()
    await eventually(ready(trustee2.kbs))
    expect((await get()).status).toBe(200)
  }, 30_000)
})

describe.skipIf(!redisAvailable())('while the keys of Trustee 1 cannot be read', () => {
  const { ca, server } = makeServerIdentity('attest.trustee-1')
  let trustee1: Trustee1
  let source: string

  beforeAll(async () => {
    trustee1 = await startTrustee1({ tls: server })
    source = `${trustee1.kbs.url}/.well-known/jwks.json`
  }, 60_000)
  afterAll(() => trustee1?.organisation.close())

  const startRelying = (keys: string) =>
    startTrustee2(async (organisation) => ({
      issuers: [{ issuer, audience, jwk_sets: [keys], ca: await organisation.write('ca.pem', ca.pem) }],
      jwks_refresh_seconds: 10,
      jwks_cooldown_seconds: 1,
    }))
  const attest = () =>
    createGuest({
      kbsUrl: trustee1.kbs.url,
      attester: virtualTees.sample().attester,
      ca: ca.pem,
    }).attestOnce()

  it('KBS2 keeps the last good ones, and is not moved by tokens of keys that it cannot look up', async () => {
    const trustee2 = await startRelying(source)
    try {
      await trustee2.administration.setResourcePolicy(allowAll)
      await trustee2.administration.setResource(path, 'the secret')
      const passport = await attest()
      const read = async () =>
        new TextDecoder().decode(
          await getResourceWithPassport({ kbsUrl: trustee2.kbs.url, ...passport, path }),
        )
      expect(await read()).toBe('the secret')
      await trustee1.kbs.kill()

      // a token of an unknown key makes KBS2 ask for the keys again
      await delay(1_100)
      const { privateKey } = await generateKeyPair('ES256')
      const unknown = await new SignJWT({ ...claimsOf(passport.token) })
        .setProtectedHeader({ alg: 'ES256', kid: 'unheard-of' })
        .sign(privateKey)
      const refused = await fetch(`${trustee2.kbs.url}/kbs/v0/resource/${path}`, {
        headers: { authorization: `Bearer ${unknown}` },
      })
      expect(refused.status).toBe(401)
      await trustee2.kbs.logged(({ msg }) => String(msg).startsWith('keys cannot be refreshed'))

      expect(await read()).toBe('the secret')
      expect(await statusOf(`${trustee2.kbs.url}/readyz`)).toBe(200)
    } finally {
      await trustee2.organisation.close()
    }
  }, 30_000)

  it('a KBS2 that starts then is not ready, answers 503, and recovers when Trustee 1 is back', async () => {
    const port = await freePort()
    const later = `https://127.0.0.1:${port}`
    const trustee2 = await startRelying(later)
    try {
      await trustee2.administration.setResourcePolicy(allowAll)
      await trustee2.administration.setResource(path, 'the secret')
      expect(await statusOf(`${trustee2.kbs.url}/readyz`)).toBe(503)

      const http = { ...(trustee1.config.http_server as object), sockets: [`127.0.0.1:${port}`] }
      const kbs1 = await trustee1.organisation.start('kbs-attest', { ...trustee1.config, http_server: http })
      expect(kbs1.url).toBe(later)
      const attester = virtualTees.sample().attester
      const passport = await createGuest({ kbsUrl: kbs1.url, attester, ca: ca.pem }).attestOnce()
      // a passport makes KBS2 ask for the keys, once the last try is a second ago
      await delay(1_100)
      const secret = await getResourceWithPassport({ kbsUrl: trustee2.kbs.url, ...passport, path })
      expect(new TextDecoder().decode(secret)).toBe('the secret')
      await eventually(ready(trustee2.kbs))
    } finally {
      await trustee2.organisation.close()
    }
  }, 30_000)
})
