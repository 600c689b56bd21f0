import { createHmac, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { createGuest, getResourceWithPassport, type Passport } from '@passport-kbs/guest-client'
import { redisAvailable } from '@passport-kbs/testing/redis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeCertificate, makeTokenIdentity } from '../src/certificates.ts'
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
import { virtualTees } from '../src/virtual-tees.ts'

const path = 'default/test/key'
const problemType = 'https://github.com/confidential-containers/kbs/errors/TokenVerifierError'

/** A compact JWS from its parts, with no opinion on whether they go together. */
function compact(header: object, claims: object, signature: (input: Buffer) => Buffer): string {
  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url')
  const input = `${encode(header)}.${encode(claims)}`
  return `${input}.${signature(Buffer.from(input)).toString('base64url')}`
}

const ecdsa =
  (key: KeyObject, hash = 'sha256') =>
  (input: Buffer) =>
    sign(hash, input, { key, dsaEncoding: 'ieee-p1363' })

const jwkOf = (key: KeyObject, alg = 'ES256') => ({ ...createPublicKey(key).export({ format: 'jwk' }), alg })
const newKey = (namedCurve = 'P-256') => generateKeyPairSync('ec', { namedCurve }).privateKey

describe.skipIf(!redisAvailable())('KBS2 refuses a token', () => {
  let trustee1: Trustee1
  /** Trusts the keys that Trustee 1 publishes. */
  let byKeys: Trustee2
  /** Trusts Trustee 1's CA. */
  let byCertificates: Trustee2
  /** A genuine passport: what every forgery starts from. */
  let genuine: Passport

  beforeAll(async () => {
    trustee1 = await startTrustee1()
    byKeys = await startTrustee2(publishedKeysOf(trustee1.kbs))
    byCertificates = await startTrustee2(async (organisation) => {
      const ca = await organisation.write('trustee-1-ca.pem', trustee1.signer.ca.pem)
      return { issuers: [{ issuer, audience, certs: [ca] }] }
    })
    for (const { administration } of [byKeys, byCertificates]) {
      await administration.setResourcePolicy('package policy\n\ndefault allow := true\n')
      await administration.setResource(path, 'the secret')
    }
    const guest = createGuest({ kbsUrl: trustee1.kbs.url, attester: virtualTees.snp().attester })
    genuine = await guest.attestOnce()
  }, 60_000)
  afterAll(async () => {
    for (const trustee of [byCertificates, byKeys, trustee1]) await trustee?.organisation.close()
  })

  /** The genuine token with other claims or header members, signed again with Trustee 1's own key. */
  const resigned = (claims: object, header: object = {}) =>
    compact(
      { ...headerOf(genuine.token), ...header },
      { ...claimsOf(genuine.token), ...claims },
      ecdsa(trustee1.signer.key),
    )
  /** The genuine claims under another header and signature. */
  const forged = (header: object, signature: (input: Buffer) => Buffer) =>
    compact(header, claimsOf(genuine.token), signature)
  const kid = () => headerOf(genuine.token).kid
  const now = () => Math.floor(Date.now() / 1000)

  const show = (trustee: Trustee2, token: string) =>
    fetch(`${trustee.kbs.url}/kbs/v0/resource/${path}`, { headers: { authorization: `Bearer ${token}` } })

  async function expectRefusal(trustee: Trustee2, token: string, reason: string) {
    const answer = await show(trustee, token)
    const text = await answer.text()
    expect(answer.status, text).toBe(401)
    const body = JSON.parse(text)
    // the guest learns that it needs another token, and nothing else
    expect(body).toEqual({
      type: problemType,
      detail: 'Token Verifier error',
      title: expect.any(String),
      status: 401,
      instance: expect.stringMatching(/^urn:uuid:[0-9a-f-]{36}$/),
    })
    const requestId = body.instance.slice('urn:uuid:'.length)
    const record = await trustee.kbs.logged((line) => line.requestId === requestId && line.audit === true)
    expect(record).toMatchObject({ event: 'resource-read', decision: 'denied', resourcePath: path })
    expect(String(record.reason)).toMatch(new RegExp(`^${reason}: `))
  }

  it('none that is genuine, and none that only its own signer could have changed', async () => {
    for (const { kbs } of [byKeys, byCertificates]) {
      const secret = await getResourceWithPassport({ kbsUrl: kbs.url, ...genuine, path })
      expect(new TextDecoder().decode(secret)).toBe('the secret')
    }
    for (const trustee of [byKeys, byCertificates])
      expect((await show(trustee, resigned({}))).status).toBe(200)
  })

  describe.each([
    ['that trusts published keys', () => byKeys],
    ['that trusts a CA', () => byCertificates],
  ] as const)('%s', (_, trustee) => {
    it('of an issuer that it does not know', () =>
      expectRefusal(trustee(), resigned({ iss: 'https://attest.elsewhere.example' }), 'untrusted-issuer'))
    it('without issuer', () => expectRefusal(trustee(), resigned({ iss: undefined }), 'untrusted-issuer'))
    it('that has expired', () =>
      expectRefusal(trustee(), resigned({ iat: now() - 420, nbf: now() - 420, exp: now() - 120 }), 'expired'))
    it('that never expires', () => expectRefusal(trustee(), resigned({ exp: undefined }), 'missing-expiry'))
    it('that is not valid yet', () =>
      expectRefusal(trustee(), resigned({ nbf: now() + 120 }), 'not-yet-valid'))
    it('for another audience', () =>
      expectRefusal(trustee(), resigned({ aud: ['https://secrets.elsewhere.example'] }), 'wrong-audience'))
    it('for no audience', () => expectRefusal(trustee(), resigned({ aud: undefined }), 'wrong-audience'))

    it('with changed claims under the old signature', () => {
      const [header, , signature] = genuine.token.split('.')
      const claims = { ...claimsOf(genuine.token), exp: now() + 86_400 }
      const payload = Buffer.from(JSON.stringify(claims)).toString('base64url')
      return expectRefusal(trustee(), `${header}.${payload}.${signature}`, 'bad-signature')
    })

    it('signed by another key under the kid and the header key of the genuine one', () =>
      expectRefusal(trustee(), forged(headerOf(genuine.token), ecdsa(newKey())), 'bad-signature'))

    it('with "alg" none and an empty or an invented signature', async () => {
      const header = { ...headerOf(genuine.token), alg: 'none' }
      await expectRefusal(
        trustee(),
        forged(header, () => Buffer.alloc(0)),
        'malformed',
      )
      await expectRefusal(
        trustee(),
        forged(header, () => Buffer.alloc(64)),
        'unsupported-algorithm',
      )
    })

    it('with "alg" HS256 and the public key as secret, in each form it is published in', async () => {
      const publicKey = createPublicKey(trustee1.signer.key)
      const secrets = [
        publicKey.export({ format: 'pem', type: 'spki' }),
        publicKey.export({ format: 'der', type: 'spki' }),
        JSON.stringify(publicKey.export({ format: 'jwk' })),
      ]
      for (const secret of secrets) {
        const token = forged({ ...headerOf(genuine.token), alg: 'HS256' }, (input) =>
          createHmac('sha256', secret).update(input).digest(),
        )
        await expectRefusal(trustee(), token, 'unsupported-algorithm')
      }
    })

    it('with "alg" ES384, be it signed by a key of its own or by the genuine one', async () => {
      const header = { ...headerOf(genuine.token), alg: 'ES384' }
      await expectRefusal(
        trustee(),
        forged(header, ecdsa(newKey('P-384'), 'sha384')),
        'unsupported-algorithm',
      )
      await expectRefusal(
        trustee(),
        forged(header, ecdsa(trustee1.signer.key, 'sha384')),
        'unsupported-algorithm',
      )
    })

    it('with an extension in "crit" that it does not know', () =>
      expectRefusal(trustee(), resigned({}, { crit: ['b64'], b64: true }), 'malformed'))

    it('that is no token at all', () => expectRefusal(trustee(), 'e30.e30.e30', 'malformed'))
  })

  describe('with the key of a stranger', () => {
    it('in its header', async () => {
      const key = newKey()
      const token = forged({ typ: 'JWT', alg: 'ES256', jwk: jwkOf(key) }, ecdsa(key))
      await expectRefusal(byKeys, token, 'unknown-key')
      await expectRefusal(byCertificates, token, 'untrusted-certificate')
    })

    it('in its header, under the kid of the genuine key', async () => {
      const key = newKey()
      const token = forged({ typ: 'JWT', alg: 'ES256', kid: kid(), jwk: jwkOf(key) }, ecdsa(key))
      await expectRefusal(byKeys, token, 'bad-signature')
      await expectRefusal(byCertificates, token, 'untrusted-certificate')
    })

    it('in its header, beside the certificates of the genuine key', async () => {
      const key = newKey()
      const jwk = { ...jwkOf(key), x5c: trustee1.signer.x5c }
      const token = forged({ typ: 'JWT', alg: 'ES256', jwk }, ecdsa(key))
      await expectRefusal(byKeys, token, 'unknown-key')
      await expectRefusal(byCertificates, token, 'untrusted-certificate')
    })

    it('under a kid that nobody has published', async () => {
      const token = forged({ typ: 'JWT', alg: 'ES256', kid: 'unheard-of' }, ecdsa(newKey()))
      await expectRefusal(byKeys, token, 'unknown-key')
    })
  })

  describe('signed by a leaf', () => {
    const signedBy = (identity: { key: KeyObject; x5c: readonly string[] }) =>
      forged(
        { typ: 'JWT', alg: 'ES256', jwk: { ...jwkOf(identity.key), x5c: identity.x5c } },
        ecdsa(identity.key),
      )
    const impostor = () => makeCertificate({ name: 'trustee-1 CA', ca: true })

    it('that a CA of the same name, but another, has certified', () =>
      expectRefusal(
        byCertificates,
        signedBy(makeTokenIdentity('trustee-1', impostor())),
        'untrusted-certificate',
      ))

    it('that the genuine leaf has certified, which is no CA', () => {
      const leaf = makeCertificate({ name: 'below', issuer: asIssuer(trustee1) })
      const x5c = [leaf.der.toString('base64'), ...trustee1.signer.x5c]
      return expectRefusal(byCertificates, signedBy({ key: leaf.privateKey, x5c }), 'untrusted-certificate')
    })

    it('that is certified, but has expired', () => {
      const day = 86_400_000
      const expired = makeCertificate({
        name: 'trustee-1 signer',
        issuer: trustee1.signer.ca,
        notBefore: new Date(Date.now() - 2 * day),
        notAfter: new Date(Date.now() - day),
      })
      const x5c = [expired.der.toString('base64')]
      return expectRefusal(
        byCertificates,
        signedBy({ key: expired.privateKey, x5c }),
        'untrusted-certificate',
      )
    })

    it('that has no certificate', () =>
      expectRefusal(byCertificates, signedBy({ key: newKey(), x5c: [] }), 'untrusted-certificate'))
  })

  it('none of a new key that the trusted CA has certified, for a KBS2 that trusts the CA', async () => {
    const { key, x5c } = makeTokenIdentity('trustee-1', trustee1.signer.ca)
    const token = forged({ typ: 'JWT', alg: 'ES256', jwk: { ...jwkOf(key), x5c } }, ecdsa(key))
    expect((await show(byCertificates, token)).status).toBe(200)
    await expectRefusal(byKeys, token, 'unknown-key')
  })

  it('and has released the secret for no other', () => {
    const released = ({ kbs }: Trustee2) =>
      kbs.log().filter((line) => line.event === 'resource-read' && line.decision === 'allowed').length
    expect(released(byKeys)).toBe(2)
    expect(released(byCertificates)).toBe(3)
  })
})

/** Trustee 1's token key, as if it could certify others. */
function asIssuer({ signer }: Trustee1) {
  return {
    name: 'trustee-1 signer',
    privateKey: signer.key,
    publicKey: createPublicKey(signer.key),
    der: Buffer.from(signer.x5c[0] ?? '', 'base64'),
    pem: signer.chainPem,
    keyPem: signer.keyPem,
  }
}
