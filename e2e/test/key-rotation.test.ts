import { setTimeout as delay } from 'node:timers/promises'
import { createGuest, getResourceWithPassport, type Passport } from '@passport-kbs/guest-client'
import { redisAvailable } from '@passport-kbs/testing/redis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeServerIdentity, makeTokenIdentity } from '../src/certificates.ts'
import { headerOf } from '../src/handshake.ts'
import {
  audience,
  issuer,
  startTrustee1,
  startTrustee2,
  type Trustee1,
  type Trustee2,
} from '../src/trustees.ts'
import { virtualTees } from '../src/virtual-tees.ts'

const path = 'default/test/key'
/** Longer than the signer waits between two looks at its files (5 s). */
const noticeMs = 15_000

describe.skipIf(!redisAvailable())('KBS1 signs with a new key while KBS2 goes on running', () => {
  const { ca, server } = makeServerIdentity('attest.trustee-1')
  const tee = virtualTees.snp()
  let trustee1: Trustee1
  /** Reads the JWK set from its own address. */
  let byKeySet: Trustee2
  /** Is given KBS1's base address, and finds the JWK set by OpenID discovery. */
  let byDiscovery: Trustee2
  let before: Passport
  let after: Passport

  const startRelying = (source: string) =>
    startTrustee2(async (organisation) => ({
      issuers: [
        {
          issuer,
          audience,
          jwk_sets: [source],
          ca: await organisation.write('trustee-1-tls-ca.pem', ca.pem),
        },
      ],
      // what a token of an unknown key provokes shows here, not a refresh that was due anyway
      jwks_refresh_seconds: 86_400,
      jwks_cooldown_seconds: 1,
    }))
  const attest = () =>
    createGuest({ kbsUrl: trustee1.kbs.url, attester: tee.attester, ca: ca.pem }).attestOnce()
  const read = async (trustee: Trustee2, passport: Passport) =>
    new TextDecoder().decode(await getResourceWithPassport({ kbsUrl: trustee.kbs.url, ...passport, path }))
  const kidOf = ({ token }: Passport) => headerOf(token).kid

  beforeAll(async () => {
    trustee1 = await startTrustee1({ tls: server })
    byKeySet = await startRelying(`${trustee1.kbs.url}/.well-known/jwks.json`)
    byDiscovery = await startRelying(trustee1.kbs.url)
    for (const { administration } of [byKeySet, byDiscovery]) {
      await administration.setResourcePolicy('package policy\n\ndefault allow := true\n')
      await administration.setResource(path, 'the secret')
    }
    before = await attest()
  }, 60_000)
  afterAll(async () => {
    for (const trustee of [byDiscovery, byKeySet, trustee1]) await trustee?.organisation.close()
  })

  it('serves its keys over TLS, to those who trust its CA', () => {
    expect(trustee1.kbs.url).toMatch(/^https:/)
    return expect(fetch(`${trustee1.kbs.url}/.well-known/jwks.json`)).rejects.toThrow()
  })

  it('and both KBS2 accept its passports', async () => {
    expect(await read(byKeySet, before)).toBe('the secret')
    expect(await read(byDiscovery, before)).toBe('the secret')
  })

  it('takes a key that is put in place of the old, without a restart', async () => {
    const next = makeTokenIdentity('trustee-1', trustee1.signer.ca)
    await trustee1.organisation.write('token-cert-chain.pem', next.chainPem)
    await trustee1.organisation.write('token.key', next.keyPem)
    const deadline = performance.now() + noticeMs
    do {
      await delay(500)
      after = await attest()
    } while (kidOf(after) === kidOf(before) && performance.now() < deadline)
    expect(kidOf(after)).not.toBe(kidOf(before))
  }, 30_000)

  it('has passports of the new key accepted at once', async () => {
    expect(await read(byKeySet, after)).toBe('the secret')
    expect(await read(byDiscovery, after)).toBe('the secret')
  })

  it('has passports of the old key accepted as long as they are valid, for it is still published', async () => {
    expect(await read(byKeySet, before)).toBe('the secret')
    expect(await read(byDiscovery, before)).toBe('the secret')
  })

  it('goes on publishing the old key after a restart, so that a new KBS2 accepts both', async () => {
    const { port } = new URL(trustee1.kbs.url)
    await trustee1.kbs.stop()
    const http = trustee1.config.http_server as object
    const restarted = await trustee1.organisation.start('kbs-attest', {
      ...trustee1.config,
      http_server: { ...http, sockets: [`127.0.0.1:${port}`] },
    })
    const late = await startRelying(`${restarted.url}/.well-known/jwks.json`)
    try {
      await late.administration.setResourcePolicy('package policy\n\ndefault allow := true\n')
      await late.administration.setResource(path, 'the secret')
      expect(await read(late, before)).toBe('the secret')
      expect(await read(late, after)).toBe('the secret')
    } finally {
      await late.organisation.close()
    }
  }, 30_000)

  it('does not read keys from a server that another CA has certified: not ready, and 503 for every token', async () => {
    const stranger = makeServerIdentity('stranger')
    const wary = await startTrustee2(async (organisation) => ({
      issuers: [
        {
          issuer,
          audience,
          jwk_sets: [`${trustee1.kbs.url}/.well-known/jwks.json`],
          ca: await organisation.write('ca.pem', stranger.ca.pem),
        },
      ],
    }))
    try {
      expect((await fetch(`${wary.kbs.url}/readyz`)).status).toBe(503)
      const answer = await fetch(`${wary.kbs.url}/kbs/v0/resource/${path}`, {
        headers: { authorization: `Bearer ${after.token}` },
      })
      expect(answer.status).toBe(503)
      expect(await answer.json()).toMatchObject({
        type: 'https://github.com/confidential-containers/kbs/errors/ServiceUnavailable',
      })
    } finally {
      await wary.organisation.close()
    }
  })

  it('never restarted either KBS2', () => {
    for (const { kbs } of [byKeySet, byDiscovery]) {
      expect(kbs.running()).toBe(true)
      expect(kbs.log().filter(({ msg }) => msg === 'listening')).toHaveLength(1)
    }
  })
})
