import { createHmac, generateKeyPairSync } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { KeyUsageFlags, makeCertificate, type TestIdentity } from '@passport-kbs/testing/tls'
import { afterEach, describe, expect, it } from 'vitest'
import {
  createPassportVerifier,
  type OwnKeys,
  PassportRejected,
  type PassportRejectionCode,
  type PassportVerifier,
} from '../../src/index.ts'
import { configOf, recordingLogger } from '../fixtures.ts'
import { startDocumentServer } from '../https-server.ts'
import { epoch, keySetOf, makeSigner, type Signer, signToken, temporaryFile } from '../tokens.ts'

const closers: (() => void | Promise<void>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

const { logger } = recordingLogger()

async function verifierOf(
  toml: string,
  deps: { now?: () => Date; ownKeys?: OwnKeys; profile?: 'production' } = {},
): Promise<PassportVerifier> {
  const config = configOf(toml).attestationToken
  const verifier = await createPassportVerifier(config, { logger, profile: 'development', ...deps })
  closers.push(() => verifier.close())
  return verifier
}

async function jwksVerifier(
  signer: Signer,
  more = '',
  deps: { now?: () => Date } = {},
): Promise<PassportVerifier> {
  const file = await temporaryFile('jwks.json', keySetOf(signer))
  return verifierOf(`[attestation_token]\ntrusted_jwk_sets = ["${file}"]\n${more}`, deps)
}

const claims = (more: Record<string, unknown> = {}) => ({
  iss: 'KBS1',
  jti: 'j1',
  exp: epoch(300),
  submods: {},
  ...more,
})

async function codeOf(verification: Promise<unknown>): Promise<PassportRejectionCode | 'accepted'> {
  try {
    await verification
    return 'accepted'
  } catch (error) {
    if (error instanceof PassportRejected) return error.code
    throw error
  }
}

describe('a passport signed with a published key', () => {
  it.each(['ES256', 'ES384', 'EdDSA', 'RS256', 'PS256', 'PS384'])(
    '%s is accepted, found by kid',
    async (algorithm) => {
      const signer = await makeSigner(algorithm)
      const verifier = await jwksVerifier(signer)
      const passport = await verifier.verify(await signToken(signer, claims({ big: 1 })))
      expect(passport).toMatchObject({ issuer: 'KBS1', jti: 'j1', kid: signer.kid, trustedBy: 'any issuer' })
      expect(passport.claims.submods).toEqual({})
      expect(passport.expiresAt.getTime()).toBe((passport.claims.exp as number) * 1000)
    },
  )

  it('is accepted with a header key instead of a kid, as Trustee’s AS makes them', async () => {
    const signer = await makeSigner()
    const { kid: _, ...jwk } = signer.jwk
    const verifier = await jwksVerifier(signer)
    expect(await codeOf(verifier.verify(await signToken(signer, claims(), { kid: undefined, jwk })))).toBe(
      'accepted',
    )
  })

  it('is accepted with both, and the kid decides', async () => {
    const [signer, other] = [await makeSigner(), await makeSigner()]
    const verifier = await jwksVerifier(signer)
    expect(await codeOf(verifier.verify(await signToken(signer, claims(), { jwk: other.jwk })))).toBe(
      'accepted',
    )
  })

  it('keeps large integers of the claims exactly', async () => {
    const signer = await makeSigner()
    const verifier = await jwksVerifier(signer)
    const text = `{"exp":${epoch(300)},"svn":18446744073709551615}`
    expect((await verifier.verify(await signToken(signer, text))).claims.svn).toBe(18446744073709551615n)
  })

  it('may nest as deep as what our attestation service mints', async () => {
    const signer = await makeSigner()
    const verifier = await jwksVerifier(signer)
    const nested = (levels: number) => JSON.parse('['.repeat(levels) + ']'.repeat(levels)) as unknown
    const submods = { cpu0: { 'ear.veraison.annotated-evidence': { init_data_claims: nested(33) } } }
    expect(await codeOf(verifier.verify(await signToken(signer, claims({ submods }))))).toBe('accepted')
    const tooDeep = await signToken(signer, claims({ submods: nested(200) }))
    expect(await codeOf(verifier.verify(tooDeep))).toBe('malformed')
  })

  it('may carry 120 KiB of evidence', async () => {
    const signer = await makeSigner()
    const verifier = await jwksVerifier(signer)
    expect(
      await codeOf(verifier.verify(await signToken(signer, claims({ evidence: 'e'.repeat(120_000) })))),
    ).toBe('accepted')
  })
})

describe('a passport is refused when', () => {
  const cases: [string, (signer: Signer) => Promise<string>, PassportRejectionCode][] = [
    ['it is no token', async () => 'nonsense', 'malformed'],
    ['it is a JWE', async () => 'a.b.c.d.e', 'malformed'],
    ['it is larger than any', async () => 'a'.repeat(1_048_577), 'too-large'],
    ['its payload is no object', (signer) => signToken(signer, '[]'), 'malformed'],
    ['it has a claim twice', (signer) => signToken(signer, `{"exp":${epoch(300)},"a":1,"a":2}`), 'malformed'],
    [
      'it has critical extensions',
      (signer) => signToken(signer, claims(), { crit: ['b64'], b64: true }),
      'malformed',
    ],
    ['it names no key', (signer) => signToken(signer, claims(), { kid: undefined }), 'unknown-key'],
    ['it names an unknown key', (signer) => signToken(signer, claims(), { kid: 'x' }), 'unknown-key'],
    [
      'another key has signed it',
      async (signer) => signToken({ ...(await makeSigner()), kid: signer.kid }, claims()),
      'bad-signature',
    ],
    ['it has no exp', (signer) => signToken(signer, claims({ exp: undefined })), 'missing-expiry'],
    ['its exp is a string', (signer) => signToken(signer, claims({ exp: '9999999999' })), 'missing-expiry'],
    ['its exp is absurd', (signer) => signToken(signer, `{"exp":1e300}`), 'missing-expiry'],
    [
      'it has expired by more than 60 s',
      (signer) => signToken(signer, claims({ exp: epoch(-62) })),
      'expired',
    ],
    [
      'it begins in more than 60 s',
      (signer) => signToken(signer, claims({ nbf: epoch(120) })),
      'not-yet-valid',
    ],
    ['its nbf is no number', (signer) => signToken(signer, claims({ nbf: 'x' })), 'not-yet-valid'],
  ]
  it.each(cases)('%s', async (_, make, code) => {
    const signer = await makeSigner()
    const verifier = await jwksVerifier(signer)
    expect(await codeOf(verifier.verify(await make(signer)))).toBe(code)
  })

  it('its signature or its claims have been changed', async () => {
    const signer = await makeSigner()
    const verifier = await jwksVerifier(signer)
    const [header, , signature] = (await signToken(signer, claims())).split('.')
    const [, payload] = (await signToken(signer, claims({ iss: 'other' }))).split('.')
    expect(await codeOf(verifier.verify(`${header}.${payload}.${signature}`))).toBe('bad-signature')
  })

  it('its alg is none, symmetric, or another than that of the key', async () => {
    const signer = await makeSigner('RS256')
    const verifier = await jwksVerifier(signer)
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const none = `${part({ alg: 'none', kid: signer.kid })}.${part(claims())}.AA`
    const input = `${part({ alg: 'HS256', kid: signer.kid })}.${part(claims())}`
    const symmetric = `${input}.${createHmac('sha256', signer.publicPem).update(input).digest('base64url')}`
    const other = await signToken({ ...signer, algorithm: 'PS256' }, claims())
    for (const token of [none, symmetric, other])
      expect(await codeOf(verifier.verify(token))).toBe('unsupported-algorithm')
  })

  it('its clock skew is used up, and not before', async () => {
    const signer = await makeSigner()
    const token = await signToken(signer, { exp: 1_000_000, nbf: 999_000 })
    const at = async (seconds: number, more = '') =>
      codeOf((await jwksVerifier(signer, more, { now: () => new Date(seconds * 1000) })).verify(token))
    expect(await at(1_000_060)).toBe('accepted')
    expect(await at(1_000_061)).toBe('expired')
    expect(await at(998_940)).toBe('accepted')
    expect(await at(998_939)).toBe('not-yet-valid')
    expect(await at(1_000_001, 'clock_skew_seconds = 0')).toBe('expired')
  })

  it('quotes nothing of the token', async () => {
    const signer = await makeSigner()
    const verifier = await jwksVerifier(signer)
    const token = await signToken(signer, claims({ exp: epoch(-600), iss: 'ssss' }))
    await expect(verifier.verify(token)).rejects.not.toThrow(/ssss|ey/)
  })
})

describe('issuers', () => {
  it('vouch with their own keys only', async () => {
    const [first, second] = [await makeSigner(), await makeSigner()]
    const [one, two] = await Promise.all(
      [first, second].map((signer) => temporaryFile('jwks.json', keySetOf(signer))),
    )
    const verifier = await verifierOf(`[attestation_token]
issuers = [{ issuer = "one", jwk_sets = ["${one}"] }, { issuer = "two", jwk_sets = ["${two}"], audience = "KBS2" }]
`)
    const ask = async (signer: Signer, change: Record<string, unknown>) =>
      codeOf(verifier.verify(await signToken(signer, claims(change))))
    expect(await ask(first, { iss: 'one' })).toBe('accepted')
    expect(await ask(second, { iss: 'two', aud: 'KBS2' })).toBe('accepted')
    expect(await ask(second, { iss: 'two', aud: ['x', 'KBS2'] })).toBe('accepted')
    expect(await ask(second, { iss: 'one' })).toBe('unknown-key')
    expect(await ask(first, { iss: 'two', aud: 'KBS2' })).toBe('unknown-key')
    expect(await ask(first, { iss: 'three' })).toBe('untrusted-issuer')
    expect(await ask(first, { iss: undefined })).toBe('untrusted-issuer')
    expect(await ask(second, { iss: 'two' })).toBe('wrong-audience')
    expect(await ask(second, { iss: 'two', aud: 'KBS2x' })).toBe('wrong-audience')
  })

  it('may be required to name this service, whoever they are', async () => {
    const signer = await makeSigner()
    const verifier = await jwksVerifier(signer, 'audience = "KBS2"')
    expect(await codeOf(verifier.verify(await signToken(signer, claims())))).toBe('wrong-audience')
    expect(await codeOf(verifier.verify(await signToken(signer, claims({ aud: 'KBS2' }))))).toBe('accepted')
  })

  it('rotate their keys at an https server without a restart', async () => {
    const server = await startDocumentServer()
    closers.push(() => server.close())
    const ca = await temporaryFile('ca.pem', server.caPem)
    const [old, fresh] = [await makeSigner(), await makeSigner()]
    server.documents.set('/.well-known/jwks.json', keySetOf(old))
    const verifier = await verifierOf(`[attestation_token]
jwks_cooldown_seconds = 1
issuers = [{ issuer = "KBS1", jwk_sets = ["${server.url}/.well-known/jwks.json"], ca = "${ca}" }]
`)
    expect(await codeOf(verifier.verify(await signToken(old, claims())))).toBe('accepted')
    server.documents.set('/.well-known/jwks.json', keySetOf(old, fresh))
    await new Promise((resolve) => setTimeout(resolve, 1_100))
    expect(await codeOf(verifier.verify(await signToken(fresh, claims())))).toBe('accepted')
    expect(await codeOf(verifier.verify(await signToken(old, claims())))).toBe('accepted')
  })

  it('whose keys were never to be had make the service unready, and the refusal says so', async () => {
    const server = await startDocumentServer()
    closers.push(() => server.close())
    const ca = await temporaryFile('ca.pem', server.caPem)
    const verifier = await verifierOf(`[attestation_token]
issuers = [{ jwk_sets = ["${server.url}/jwks"], ca = "${ca}" }]
`)
    await expect(verifier.ping()).rejects.toThrow(/no keys/)
    expect(await codeOf(verifier.verify(await signToken(await makeSigner(), claims())))).toBe(
      'keys-unavailable',
    )
  })
})

describe('a passport whose header key is certified by a pinned CA', () => {
  const root = makeCertificate({ name: 'root', ca: true })

  async function certified(
    leaf: TestIdentity,
    chain: readonly TestIdentity[],
    pinned: readonly TestIdentity[] = [root],
    now?: () => Date,
  ) {
    const file = await temporaryFile('ca.pem', pinned.map(({ pem }) => pem).join('\n'))
    const toml = `[attestation_token]\ntrusted_certs_paths = ["${file}"]\n`
    const verifier = await verifierOf(toml, now === undefined ? {} : { now })
    const signer = await makeSigner('ES256', leaf)
    const x5c = chain.map(({ der }) => der.toString('base64'))
    return {
      verifier,
      signer,
      x5c,
      token: await signToken(signer, claims(), { kid: undefined, jwk: { ...signer.jwk, x5c } }),
    }
  }

  const codeFor = async (...args: Parameters<typeof certified>) => {
    const { verifier, token } = await certified(...args)
    return codeOf(verifier.verify(token))
  }

  it('is accepted, with the root in x5c or not, again and again', async () => {
    const leaf = makeCertificate({ name: 'leaf', issuer: root })
    const { verifier, token } = await certified(leaf, [leaf, root])
    expect(await codeOf(verifier.verify(token))).toBe('accepted')
    expect(await codeOf(verifier.verify(token))).toBe('accepted')
    expect(await codeFor(leaf, [leaf])).toBe('accepted')
  })

  it('is accepted over intermediates in any order', async () => {
    const first = makeCertificate({ name: 'first', issuer: root, ca: true, usage: KeyUsageFlags.keyCertSign })
    const second = makeCertificate({ name: 'second', issuer: first, ca: true })
    const leaf = makeCertificate({ name: 'leaf', issuer: second, usage: KeyUsageFlags.digitalSignature })
    expect(await codeFor(leaf, [leaf, first, second])).toBe('accepted')
    expect(await codeFor(leaf, [leaf, second, first, root])).toBe('accepted')
    expect(await codeFor(leaf, [leaf, second], [first])).toBe('accepted')
    expect(await codeFor(leaf, [leaf, second])).toBe('untrusted-certificate')
  })

  it('is accepted from an RSA root, an RSA leaf, and a self-signed certificate that is pinned itself', async () => {
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const rsaRoot = makeCertificate({ name: 'rsa root', ca: true, keys: rsa })
    const leaf = makeCertificate({ name: 'leaf', issuer: rsaRoot })
    expect(await codeFor(leaf, [leaf], [rsaRoot])).toBe('accepted')
    const own = makeCertificate({ name: 'own', ca: true })
    expect(await codeFor(own, [own], [own])).toBe('accepted')
  })

  it('is accepted with base64url or broken lines in x5c', async () => {
    const leaf = makeCertificate({ name: 'leaf', issuer: root })
    const { verifier, signer } = await certified(leaf, [leaf])
    for (const entry of [
      leaf.der.toString('base64url'),
      (leaf.der.toString('base64').match(/.{1,64}/g) ?? []).join('\n'),
    ]) {
      const token = await signToken(signer, claims(), {
        kid: undefined,
        jwk: { ...signer.jwk, x5c: [entry] },
      })
      expect(await codeOf(verifier.verify(token))).toBe('accepted')
    }
  })

  const past = (days: number) => new Date(Date.now() - days * 86_400_000)
  const stranger = makeCertificate({ name: 'root', ca: true })
  const notCa = makeCertificate({ name: 'not a CA', issuer: root })
  const noSign = makeCertificate({
    name: 'no sign',
    issuer: root,
    ca: true,
    usage: KeyUsageFlags.digitalSignature,
  })
  const short = makeCertificate({ name: 'short', issuer: root, ca: true, pathLength: 0 })
  const below = makeCertificate({ name: 'below', issuer: short, ca: true })
  const expiredCa = makeCertificate({
    name: 'expired',
    issuer: root,
    ca: true,
    notBefore: past(9),
    notAfter: past(1),
  })
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 })
  const weakCa = makeCertificate({ name: 'weak', issuer: root, ca: true, keys: weak })

  const refused: [string, () => TestIdentity, readonly TestIdentity[]][] = [
    [
      'of a stranger with the name of the root',
      () => makeCertificate({ name: 'leaf', issuer: stranger }),
      [stranger],
    ],
    ['of an issuer that is no CA', () => makeCertificate({ name: 'leaf', issuer: notCa }), [notCa]],
    [
      'of a CA that may not sign certificates',
      () => makeCertificate({ name: 'leaf', issuer: noSign }),
      [noSign],
    ],
    ['beyond the path length', () => makeCertificate({ name: 'leaf', issuer: below }), [below, short]],
    ['of an expired CA', () => makeCertificate({ name: 'leaf', issuer: expiredCa }), [expiredCa]],
    ['of a CA with a weak key', () => makeCertificate({ name: 'leaf', issuer: weakCa }), [weakCa]],
    [
      'that has expired',
      () => makeCertificate({ name: 'leaf', issuer: root, notBefore: past(9), notAfter: past(1) }),
      [],
    ],
    [
      'that is not valid yet',
      () => makeCertificate({ name: 'leaf', issuer: root, notBefore: past(-1), notAfter: past(-9) }),
      [],
    ],
    ['that is a CA', () => makeCertificate({ name: 'leaf', issuer: root, ca: true }), []],
    [
      'not for signatures',
      () => makeCertificate({ name: 'leaf', issuer: root, usage: KeyUsageFlags.keyEncipherment }),
      [],
    ],
    [
      'with a critical extension that is not understood',
      () => makeCertificate({ name: 'leaf', issuer: root, criticalExtension: '1.2.3.4' }),
      [],
    ],
    ['signed with SHA-1', () => makeCertificate({ name: 'leaf', issuer: root, brokenHash: true }), []],
    [
      'with name constraints',
      () => makeCertificate({ name: 'leaf', issuer: root, otherExtension: '2.5.29.30' }),
      [],
    ],
  ]
  it.each(refused)('is refused with a certificate %s', async (_, makeLeaf, others) => {
    const leaf = makeLeaf()
    expect(await codeFor(leaf, [leaf, ...others])).toBe('untrusted-certificate')
  })

  it('is refused without x5c, with x5c for another key, and with bytes after a certificate', async () => {
    const leaf = makeCertificate({ name: 'leaf', issuer: root })
    const other = makeCertificate({ name: 'other', issuer: root })
    expect(await codeFor(leaf, [])).toBe('untrusted-certificate')
    expect(await codeFor(leaf, [other])).toBe('untrusted-certificate')
    const longer = { ...leaf, der: Buffer.concat([leaf.der, Buffer.from([0])]) }
    expect(await codeFor(leaf, [longer])).toBe('untrusted-certificate')
    expect(
      await codeFor(
        leaf,
        Array.from({ length: 9 }, () => leaf),
      ),
    ).toBe('untrusted-certificate')
  })

  it('is refused once its certificate has expired, although it was accepted before', async () => {
    let now = new Date()
    const leaf = makeCertificate({ name: 'leaf', issuer: root, notAfter: new Date(Date.now() + 60_000) })
    const { verifier, signer, x5c } = await certified(leaf, [leaf], [root], () => now)
    const token = await signToken(signer, claims({ exp: epoch(9_000) }), { jwk: { ...signer.jwk, x5c } })
    expect(await codeOf(verifier.verify(token))).toBe('accepted')
    now = new Date(Date.now() + 61_000)
    expect(await codeOf(verifier.verify(token))).toBe('untrusted-certificate')
  })

  it('is judged by the file as it is now, and by the former while it cannot be read', async () => {
    const file = await temporaryFile('ca.pem', makeCertificate({ name: 'other root', ca: true }).pem)
    // ten seconds are the shortest interval that the configuration allows, too long for a test
    const config = {
      ...configOf(`[attestation_token]\ntrusted_certs_paths = ["${file}"]\n`).attestationToken,
      jwksRefreshSeconds: 0.05,
    }
    const verifier = await createPassportVerifier(config, { logger, profile: 'production' })
    closers.push(() => verifier.close())
    const leaf = makeCertificate({ name: 'leaf', issuer: root })
    const { token } = await certified(leaf, [leaf])
    const ask = () => codeOf(verifier.verify(token))
    expect(await ask()).toBe('untrusted-certificate')
    await writeFile(file, root.pem)
    await expect.poll(ask, { timeout: 3_000 }).toBe('accepted')
    await writeFile(file, 'broken')
    await new Promise((resolve) => setTimeout(resolve, 150))
    expect(await ask()).toBe('accepted')
  })

  it('is accepted by a published key when the header key is not certified', async () => {
    const signer = await makeSigner()
    const server = await startDocumentServer()
    closers.push(() => server.close())
    const [file, ca] = await Promise.all([
      temporaryFile('ca.pem', root.pem),
      temporaryFile('server.pem', server.caPem),
    ])
    const verifier = await verifierOf(`[attestation_token]
jwks_cooldown_seconds = 1
issuers = [{ certs = ["${file}"], jwk_sets = ["${server.url}/jwks"], ca = "${ca}" }]
`)
    const token = await signToken(signer, claims(), { jwk: signer.jwk })
    expect(await codeOf(verifier.verify(token))).toBe('untrusted-certificate')
    server.documents.set('/jwks', keySetOf(signer))
    await expect.poll(() => codeOf(verifier.verify(token)), { timeout: 3_000 }).toBe('accepted')
  })

  it('stops the start when the file has no certificate', async () => {
    const file = await temporaryFile('ca.pem', 'empty')
    await expect(verifierOf(`[attestation_token]\ntrusted_certs_paths = ["${file}"]\n`)).rejects.toThrow(
      /no certificate/,
    )
  })
})

describe('a passport that was minted in the development profile', () => {
  it('is accepted in that profile only', async () => {
    const signer = await makeSigner()
    const file = await temporaryFile('jwks.json', keySetOf(signer))
    const token = await signToken(signer, claims({ 'passport-kbs.profile': 'development' }))
    const toml = `[attestation_token]\ntrusted_jwk_sets = ["${file}"]\n`
    expect(await codeOf((await verifierOf(toml)).verify(token))).toBe('accepted')
    expect(await codeOf((await verifierOf(toml, { profile: 'production' })).verify(token))).toBe(
      'development-only',
    )
  })
})

describe('our own signer', () => {
  const ownKeys = (signer: Signer): OwnKeys => ({
    issuer: 'KBS1',
    jwks: () => ({ keys: [{ ...signer.jwk }] }),
  })

  it('is trusted without being configured, by kid or header key', async () => {
    const signer = await makeSigner()
    const verifier = await verifierOf('', { ownKeys: ownKeys(signer) })
    expect((await verifier.verify(await signToken(signer, claims()))).trustedBy).toBe('own signer')
    const token = await signToken(signer, claims(), { kid: undefined, jwk: signer.jwk })
    expect(await codeOf(verifier.verify(token))).toBe('accepted')
    await verifier.ping()
  })

  it('is trusted for its own name only', async () => {
    const signer = await makeSigner()
    const verifier = await verifierOf('', { ownKeys: ownKeys(signer) })
    expect(await codeOf(verifier.verify(await signToken(signer, claims({ iss: 'x' }))))).toBe(
      'untrusted-issuer',
    )
    expect(await codeOf(verifier.verify(await signToken(await makeSigner(), claims())))).toBe('unknown-key')
  })
})

describe('a key in the header', () => {
  it('is believed only with insecure_header_jwk, and only in the development profile', async () => {
    const signer = await makeSigner()
    const token = await signToken(signer, claims(), { kid: undefined, jwk: signer.jwk })
    const toml = '[attestation_token]\ninsecure_header_jwk = true\n'
    expect(await codeOf((await verifierOf(toml)).verify(token))).toBe('accepted')
    expect(await codeOf((await verifierOf(toml, { profile: 'production' })).verify(token))).toBe(
      'untrusted-issuer',
    )
    expect(await codeOf((await jwksVerifier(await makeSigner())).verify(token))).toBe('unknown-key')
  })

  it('must be a key', async () => {
    const signer = await makeSigner()
    const verifier = await jwksVerifier(signer)
    for (const jwk of [
      7,
      {},
      { kty: 'oct', k: 'AA' },
      { ...signer.jwk, x: 'AA' },
      { ...signer.jwk, x5c: 'x' },
      { ...signer.jwk, x5c: ['*'] },
    ]) {
      expect(await codeOf(verifier.verify(await signToken(signer, claims(), { jwk })))).toBe('malformed')
    }
  })
})

describe('whatever is sent', () => {
  /** A generator with a seed, so that a failure can be repeated. */
  function numbers(seed: number): (below: number) => number {
    let state = seed
    return (below) => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      return state % below
    }
  }

  it('the answer is a passport or a refusal, never another error', async () => {
    const root = makeCertificate({ name: 'root', ca: true })
    const leaf = makeCertificate({ name: 'leaf', issuer: root })
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const impostor = makeCertificate({ name: 'root', ca: true, keys: rsa })
    const signer = await makeSigner('ES256', leaf)
    const [file, jwks] = await Promise.all([
      temporaryFile('ca.pem', root.pem),
      temporaryFile('jwks.json', keySetOf(await makeSigner())),
    ])
    const verifier = await verifierOf(
      `[attestation_token]\ntrusted_certs_paths = ["${file}"]\ntrusted_jwk_sets = ["${jwks}"]\n`,
    )
    const next = numbers(20_260_821)
    for (let round = 0; round < 600; round++) {
      // one byte of one certificate, header member or token character is changed
      const der = Buffer.from(leaf.der)
      if (round % 3 === 0) der[next(der.length)] = next(256)
      const x5c = [der, impostor.der, root.der].map((bytes) => bytes.toString('base64'))
      const jwk: Record<string, unknown> = { ...signer.jwk, x5c }
      if (round % 3 === 1)
        jwk[['kty', 'crv', 'x', 'y', 'alg', 'use', 'key_ops', 'x5c'][next(8)] ?? ''] = [
          null,
          7,
          '',
          'RSA',
          [],
          {},
          ['x'],
        ][next(7)]
      let token = await signToken(signer, claims(), { kid: undefined, jwk })
      if (round % 3 === 2) {
        const at = next(token.length)
        token = token.slice(0, at) + '.A_=é'.charAt(next(5)) + token.slice(at + 1)
      }
      await codeOf(verifier.verify(token))
    }
    const untouched = await signToken(signer, claims(), {
      kid: undefined,
      jwk: { ...signer.jwk, x5c: [leaf, impostor].map(({ der }) => der.toString('base64')) },
    })
    expect(await codeOf(verifier.verify(untouched))).toBe('accepted')
    const misled = await signToken(signer, claims(), {
      kid: undefined,
      jwk: {
        ...signer.jwk,
        x5c: [
          makeCertificate({ name: 'leaf', issuer: makeCertificate({ name: 'root', ca: true }), keys: leaf }),
          impostor,
        ].map(({ der }) => der.toString('base64')),
      },
    })
    expect(await codeOf(verifier.verify(misled))).toBe('untrusted-certificate')
  })
})
