import { randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import {
  createGuest,
  type GuestError,
  getResourceWithPassport,
  type Passport,
} from '@passport-kbs/guest-client'
import { presets } from '@passport-kbs/policy'
import { redisAvailable } from '@passport-kbs/testing/redis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { claimsOf, headerOf } from '../src/handshake.ts'
import {
  audience,
  issuer,
  publishedKeysOf,
  startTrustee1,
  startTrustee2,
  type Trustee1,
  type Trustee2,
} from '../src/trustees.ts'
import { type VirtualTee, virtualTeeNames, virtualTees } from '../src/virtual-tees.ts'

describe.skipIf(!redisAvailable())('the passport flow between two Trustees', () => {
  let trustee1: Trustee1
  let trustee2: Trustee2

  beforeAll(async () => {
    trustee1 = await startTrustee1()
    trustee2 = await startTrustee2(publishedKeysOf(trustee1.kbs))
    await trustee2.administration.setResourcePolicy(presets.affirming)
  }, 60_000)
  afterAll(async () => {
    await trustee2?.organisation.close()
    await trustee1?.organisation.close()
  })

  const attest = (tee: VirtualTee) =>
    createGuest({ kbsUrl: trustee1.kbs.url, attester: tee.attester }).attestOnce()
  const read = (passport: Passport, path: string) =>
    getResourceWithPassport({ kbsUrl: trustee2.kbs.url, ...passport, path })

  describe.each(virtualTeeNames)('with evidence of %s', (name) => {
    const tee = virtualTees[name]()
    const path = `default/${name}/key`
    const secret = randomBytes(4096)

    it('mints a passport without reference values, but KBS2 releases nothing for it', async () => {
      await trustee2.administration.setResource(path, secret)
      const passport = await attest(tee)
      expect(submodOf(passport)['ear.status']).toBe('contraindicated')

      const refusal = await read(passport, path).catch((error: GuestError) => error)
      expect(refusal).toMatchObject({
        code: 'unauthorized',
        status: 401,
        information: {
          type: 'https://github.com/confidential-containers/kbs/errors/PolicyDeny',
          detail: 'Access denied by policy',
        },
      })
    })

    it('releases the secret, byte for byte, once Trustee 1 has registered its reference values', async () => {
      await trustee1.administration.setReferenceValues(tee.referenceValues)
      const passport = await attest(tee)
      expect(submodOf(passport)['ear.status']).toBe('affirming')
      expect(claimsOf(passport.token)).toMatchObject({
        iss: issuer,
        aud: audience,
        'passport-kbs.profile': 'development',
      })
      expect(Buffer.from(await read(passport, path))).toEqual(secret)
    })

    it('gives a passport to nobody whose evidence answers another nonce', async () => {
      const other = { ...tee.attester, evidence: () => tee.attester.evidence(randomBytes(48)) }
      const refusal = await createGuest({ kbsUrl: trustee1.kbs.url, attester: other })
        .attestOnce()
        .catch((error: GuestError) => error)
      expect(refusal).toMatchObject({
        code: 'handshake-failed',
        status: 401,
        information: {
          type: 'https://github.com/confidential-containers/kbs/errors/AttestationError',
          detail: 'Attestation error: RCAR handshake Attest failed',
        },
      })
    })
  })

  it('encrypts to the key in the passport: who has the passport, but not the key, reads nothing', async () => {
    const tee = virtualTees.sample()
    const { token } = await attest(tee)
    const { teeKey } = await attest(tee)
    await expect(read({ token, teeKey }, 'default/sample/key')).rejects.toMatchObject({
      code: 'undecryptable',
    })
  })

  it('answers 404 for a secret that is not there, so that the guest stops asking', async () => {
    const passport = await attest(virtualTees.sample())
    await expect(read(passport, 'default/no/such')).rejects.toMatchObject({
      code: 'resource-not-found',
      status: 404,
    })
  })

  it('refuses at Trustee 2 the administrator of Trustee 1, and the other way round', async () => {
    const foreign = async (url: string, token: string) => {
      const answer = await fetch(`${url}/kbs/v0/resource-policy`, {
        headers: { authorization: `Bearer ${token}` },
      })
      return [answer.status, await answer.text()]
    }
    const [status, body] = await foreign(trustee2.kbs.url, await trustee1.organisation.admin.token())
    expect(status).toBe(401)
    expect(body).toContain('Cannot verify token with any of the issuers')
    const reference = await fetch(`${trustee1.kbs.url}/kbs/v0/reference-value/svn`, {
      headers: { authorization: `Bearer ${await trustee2.organisation.admin.token()}` },
    })
    expect(reference.status).toBe(401)
    expect(await reference.text()).toContain('Cannot verify token with any of the issuers')
  })

  it('shares nothing but published keys', async () => {
    const passport = await attest(virtualTees.sample())
    const published = JSON.parse(
      await readFile(trustee2.organisation.path('trustee-1-keys.json'), 'utf8'),
    ) as { keys: Record<string, unknown>[] }
    expect(published.keys.map(({ kid }) => kid)).toContain(headerOf(passport.token).kid)
    for (const key of published.keys) expect(Object.keys(key)).not.toContain('d')

    const [one, two] = [trustee1, trustee2].map(({ organisation }) => JSON.stringify(organisation.folder))
    const text = async ({ organisation }: Trustee1 | Trustee2) => {
      const files = (await readdir(organisation.folder)).filter((file) => file.endsWith('.toml'))
      return (await Promise.all(files.map((file) => readFile(organisation.path(file), 'utf8')))).join('\n')
    }
    expect(await text(trustee2)).not.toContain(one?.slice(1, -1))
    expect(await text(trustee1)).not.toContain(two?.slice(1, -1))
    expect(trustee1.redis.server.port).not.toBe(trustee2.redis.server.port)
  })

  it('has each half serve its own part only', async () => {
    const status = async (url: string, path: string, method: string) =>
      (await fetch(`${url}/kbs/v0/${path}`, { method, ...(method === 'POST' ? { body: '{}' } : {}) })).status
    for (const verb of ['auth', 'attest', 'attestation-policy', 'reference-value'])
      expect(await status(trustee2.kbs.url, verb, 'POST'), verb).toBe(404)
    expect(await status(trustee1.kbs.url, 'resource/default/sample/key', 'GET')).toBe(404)
    expect(await status(trustee1.kbs.url, 'resource-policy', 'GET')).toBe(404)
  })
})

function submodOf({ token }: Passport): Readonly<Record<string, unknown>> {
  const { submods } = claimsOf(token) as { submods: Record<string, Record<string, unknown>> }
  return submods.cpu0 ?? {}
}
