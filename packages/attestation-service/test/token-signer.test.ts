import { createPublicKey, generateKeyPairSync, hkdfSync, type KeyObject, X509Certificate } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { jsonObject } from '@passport-kbs/protocol'
import { compactVerify, createLocalJWKSet, decodeProtectedHeader, importJWK, type JWK, jwtVerify } from 'jose'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SigningKeyError } from '../src/signing-key.ts'
import { createTokenSigner, type TokenSigner } from '../src/token-signer.ts'
import { certificate, rootCertificate, type TestCertificate } from './certificate-authority.ts'

let folder: string
let time: Date
const now = () => time

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'token-signer-'))
  time = new Date('2026-06-01T00:00:00Z')
})
afterEach(async () => await rm(folder, { recursive: true }))

const root = rootCertificate()
const p256 = () => generateKeyPairSync('ec', { namedCurve: 'P-256' })
const payload = () => jsonObject({ iat: 1, exp: Math.floor(time.getTime() / 1000) + 300, big: 2n ** 64n })

async function put(name: string, content: string): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, content)
  return path
}
const putKey = (key: KeyObject, type: 'pkcs8' | 'sec1' = 'pkcs8', name = 'key.pem') =>
  put(name, key.export({ type, format: 'pem' }).toString())

function leaf(key: { privateKey: KeyObject; publicKey: KeyObject }, options = {}): TestCertificate {
  return certificate('Leaf', key.privateKey, { issuer: root, publicKey: key.publicKey, ...options })
}

const verifyWithPublished = async (signer: TokenSigner, token: string) =>
  await jwtVerify(token, createLocalJWKSet({ keys: [...signer.jwks().keys] as unknown as JWK[] }), {
    currentDate: time,
  })

describe('a token (spec 02 §3.1)', () => {
  it('has typ, alg, kid and jwk in its header and nothing else', async () => {
    const signer = await createTokenSigner({ now })
    const header = decodeProtectedHeader(await signer.sign(payload()))
    expect(Object.keys(header)).toEqual(['typ', 'alg', 'kid', 'jwk'])
    expect(header).toMatchObject({ typ: 'JWT', alg: 'ES256', kid: signer.kid })
    expect(header.jwk).toEqual({
      alg: 'ES256',
      kty: 'EC',
      crv: 'P-256',
      kid: signer.kid,
      x: expect.stringMatching(/^[\w-]{43}$/),
      y: expect.stringMatching(/^[\w-]{43}$/),
    })
  })

  it('verifies by its key id against the published keys', async () => {
    const signer = await createTokenSigner({ now })
    const { protectedHeader } = await verifyWithPublished(signer, await signer.sign(payload()))
    expect(protectedHeader.alg).toBe('ES256')
  })

  it('keeps all digits of integers', async () => {
    const signer = await createTokenSigner({ now })
    const token = await signer.sign(payload())
    expect(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()).toContain(
      '"big":18446744073709551616',
    )
  })

  it('names in x5c the chain that a Trustee KBS verifies: leaf with the key of the jwk, then to the root', async () => {
    const key = p256()
    const keyPath = await putKey(key.privateKey)
    const certPath = await put('chain.pem', leaf(key).pem + root.pem)
    const signer = await createTokenSigner({ keyPath, certPath, certUrl: 'https://kbs.example/chain', now })
    const token = await signer.sign(payload())
    const { jwk } = decodeProtectedHeader(token)
    const header = jwk as JWK & { x5c: string[] }
    expect(header.x5u).toBe('https://kbs.example/chain')
    const chain = header.x5c.map((der) => new X509Certificate(Buffer.from(der, 'base64')))
    const [first, last] = chain
    if (!first || !last || chain.length !== 2) throw new Error('two certificates expected')
    expect(first.publicKey.export({ format: 'jwk' })).toEqual({
      kty: 'EC',
      crv: 'P-256',
      x: header.x,
      y: header.y,
    })
    expect(first.verify(last.publicKey)).toBe(true)
    expect(last.raw).toEqual(new X509Certificate(root.pem).raw)
    await compactVerify(token, await importJWK(header, 'ES256'))
    expect(signer.certificateNotAfter).toEqual(new Date('2027-01-01T00:00:00Z'))
    expect(signer.jwks().keys[0]).toMatchObject({
      use: 'sig',
      alg: 'ES256',
      kid: signer.kid,
      x5c: header.x5c,
    })
  })
})

describe('the signing key', () => {
  it.each(['sec1', 'pkcs8'] as const)('is read from %s PEM', async (type) => {
    const { privateKey, publicKey } = p256()
    const signer = await createTokenSigner({ keyPath: await putKey(privateKey, type), now })
    const { x, y } = publicKey.export({ format: 'jwk' })
    expect(signer.jwks().keys[0]).toMatchObject({ x, y })
  })

  it('is refused on another curve, of another kind, encrypted, or malformed', async () => {
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
    const encrypted = p256().privateKey.export({
      type: 'pkcs8',
      format: 'pem',
      cipher: 'aes-128-cbc',
      passphrase: 'x',
    })
    const paths = [
      await putKey(p384, 'pkcs8', 'a'),
      await putKey(rsa, 'pkcs8', 'b'),
      await put('c', encrypted.toString()),
      await put('d', 'nonsense'),
      await put('e', 'x'.repeat(100_000)),
      join(folder, 'absent'),
    ]
    for (const keyPath of paths)
      await expect(createTokenSigner({ keyPath, now })).rejects.toThrow(SigningKeyError)
  })

  it('is never in the published set', async () => {
    const signer = await createTokenSigner({ stateDir: join(folder, 'state'), now })
    await signer.rotate()
    for (const jwk of signer.jwks().keys) expect(jwk).not.toHaveProperty('d')
  })

  it('is made and kept, for its owner alone, in the state directory', async () => {
    const stateDir = join(folder, 'state')
    const first = await createTokenSigner({ stateDir, now })
    const second = await createTokenSigner({ stateDir, now })
    expect(second.kid).toBe(first.kid)
    const [name] = await readdir(stateDir)
    expect((await stat(join(stateDir, name ?? ''))).mode & 0o777).toBe(0o600)
    expect((await stat(stateDir)).mode & 0o777).toBe(0o700)
  })

  it('is the same for processes that start at once', async () => {
    const stateDir = join(folder, 'state')
    const signers = await Promise.all(Array.from({ length: 8 }, () => createTokenSigner({ stateDir, now })))
    expect(new Set(signers.map(({ kid }) => kid)).size).toBe(1)
    expect(await readdir(stateDir)).toHaveLength(1)
  })

  it('ends with the process where there is no directory', async () => {
    const [a, b] = [await createTokenSigner({ now }), await createTokenSigner()]
    expect(a.kid).not.toBe(b.kid)
  })
})

describe('the certificate chain', () => {
  const key = p256()
  const other = p256()
  const signerWith = async (...chain: string[]) =>
    createTokenSigner({
      keyPath: await putKey(key.privateKey),
      certPath: await put('chain.pem', chain.join('')),
      now,
    })

  it.each([
    ['of another key', [leaf(other).pem, root.pem], 'not of the signing key'],
    ['in the wrong order', [root.pem, leaf(key).pem], 'not of the signing key'],
    ['that does not follow', [leaf(key).pem, rootCertificate('Other').pem], 'not issued by'],
    ['of an impostor with the root’s name', [leaf(key).pem, rootCertificate().pem], 'not issued by'],
    [
      'that has expired',
      [leaf(key, { notAfter: new Date('2026-05-31T00:00:00Z') }).pem, root.pem],
      'has expired',
    ],
    [
      'that is not valid yet',
      [leaf(key, { notBefore: new Date('2026-06-02T00:00:00Z') }).pem, root.pem],
      'not valid yet',
    ],
    ['without certificate', ['nothing'], 'no certificate'],
    [
      'with a malformed certificate',
      ['-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'],
      'malformed',
    ],
    ['that is too long', Array.from({ length: 11 }, () => root.pem), 'too long'],
  ])('is refused where it is one %s', async (_, chain, text) => {
    await expect(signerWith(...chain)).rejects.toThrow(text)
  })

  it('that expires while the service runs is told once', async () => {
    const notices: string[] = []
    const keyPath = await putKey(key.privateKey)
    const certPath = await put('chain.pem', leaf(key).pem + root.pem)
    const signer = await createTokenSigner({
      keyPath,
      certPath,
      now,
      onNotice: (notice) => notices.push(notice),
    })
    time = new Date('2027-01-01T00:00:00Z')
    await signer.sign(payload())
    time = new Date('2027-01-01T00:00:05Z')
    await signer.sign(payload())
    expect(notices).toEqual([expect.stringContaining('has expired')])
  })

  it('may be a leaf alone', async () => {
    const signer = await signerWith(leaf(key).pem)
    expect(signer.jwks().keys[0]?.x5c).toHaveLength(1)
  })

  it('needs a key of the operator', async () => {
    await expect(createTokenSigner({ certPath: await put('chain.pem', root.pem), now })).rejects.toThrow(
      SigningKeyError,
    )
  })
})

describe('rotation (spec 02 W-9)', () => {
  it('signs with the new key at once and publishes the old one until its tokens have expired', async () => {
    const signer = await createTokenSigner({ stateDir: join(folder, 'state'), retainSeconds: 600, now })
    const former = signer.kid
    const token = await signer.sign(payload())
    const kid = await signer.rotate()
    expect(kid).not.toBe(former)
    expect(signer.jwks().keys.map((jwk) => jwk.kid)).toEqual([kid, former])
    await verifyWithPublished(signer, token)
    expect(decodeProtectedHeader(await signer.sign(payload())).kid).toBe(kid)
    time = new Date(time.getTime() + 600_001)
    expect(signer.jwks().keys.map((jwk) => jwk.kid)).toEqual([kid])
  })

  it('survives a restart', async () => {
    const stateDir = join(folder, 'state')
    const signer = await createTokenSigner({ stateDir, now })
    await signer.rotate()
    await signer.rotate()
    const restarted = await createTokenSigner({ stateDir, now })
    expect(restarted.jwks()).toEqual(signer.jwks())
    expect(restarted.jwks().keys).toHaveLength(3)
  })

  it('many times publishes each key once, the current one first, and not without end', async () => {
    const stateDir = join(folder, 'state')
    const signer = await createTokenSigner({ stateDir, now })
    for (let n = 0; n < 70; n++) await signer.rotate()
    const kids = signer.jwks().keys.map(({ kid }) => kid)
    expect(kids[0]).toBe(signer.kid)
    expect(new Set(kids).size).toBe(kids.length)
    expect(kids).toHaveLength(65)
    expect((await createTokenSigner({ stateDir, now })).jwks().keys).toHaveLength(65)
  })

  it('can withdraw a key that has leaked', async () => {
    const signer = await createTokenSigner({ now })
    const token = await signer.sign(payload())
    await signer.rotate({ withdraw: true })
    expect(signer.jwks().keys).toHaveLength(1)
    await expect(verifyWithPublished(signer, token)).rejects.toThrow('no applicable key')
  })

  it('back to an earlier key publishes it as the current one', async () => {
    const [old, next] = [p256(), p256()]
    const keyPath = await putKey(old.privateKey)
    const signer = await createTokenSigner({ keyPath, now })
    const former = signer.kid
    await putKey(next.privateKey)
    await signer.reload()
    await putKey(old.privateKey)
    await signer.reload()
    expect(signer.kid).toBe(former)
    expect(signer.jwks().keys.map(({ kid }) => kid)[0]).toBe(former)
    expect(signer.jwks().keys).toHaveLength(2)
  })

  it('of one replica is seen by another through the directory', async () => {
    const stateDir = join(folder, 'state')
    const [a, b] = [await createTokenSigner({ stateDir, now }), await createTokenSigner({ stateDir, now })]
    const former = a.kid
    await a.rotate()
    time = new Date(time.getTime() + 5_000)
    await b.sign(payload())
    expect(b.kid).toBe(a.kid)
    expect(b.jwks().keys.map((jwk) => jwk.kid)).toEqual([a.kid, former])
  })

  it('keeps nothing private of the old key', async () => {
    const stateDir = join(folder, 'state')
    const signer = await createTokenSigner({ stateDir, now })
    await signer.rotate()
    const texts = await Promise.all(
      (await readdir(stateDir)).map((name) => readFile(join(stateDir, name), 'utf8')),
    )
    expect(texts.filter((text) => text.includes('PRIVATE KEY'))).toHaveLength(1)
    expect(texts.join('')).not.toContain('"d"')
  })

  it('is by new files where the key is the operator’s', async () => {
    const [old, next] = [p256(), p256()]
    const keyPath = await putKey(old.privateKey)
    const certPath = await put('chain.pem', leaf(old).pem + root.pem)
    const signer = await createTokenSigner({ keyPath, certPath, now })
    const former = signer.kid
    await expect(signer.rotate()).rejects.toThrow(SigningKeyError)
    expect(await signer.reload()).toBe(false)
    await putKey(next.privateKey)
    await put('chain.pem', leaf(next).pem + root.pem)
    expect(await signer.reload()).toBe(true)
    expect(signer.jwks().keys.map((jwk) => jwk.kid)).toEqual([signer.kid, former])
    expect(createPublicKey(next.privateKey).export({ format: 'jwk' })).toMatchObject({
      x: signer.jwks().keys[0]?.x,
    })
  })

  it('happens without being asked when files have changed, and waits while key and chain do not fit', async () => {
    const [old, next] = [p256(), p256()]
    const notices: string[] = []
    const keyPath = await putKey(old.privateKey)
    const certPath = await put('chain.pem', leaf(old).pem + root.pem)
    const signer = await createTokenSigner({
      keyPath,
      certPath,
      now,
      onNotice: (notice) => notices.push(notice),
    })
    const former = signer.kid
    await putKey(next.privateKey)
    time = new Date(time.getTime() + 5_000)
    await verifyWithPublished(signer, await signer.sign(payload()))
    expect(signer.kid).toBe(former)
    expect(notices).toEqual(['the signing key could not be read again; the former stays in use'])
    await put('chain.pem', leaf(next).pem + root.pem)
    time = new Date(time.getTime() + 5_000)
    await verifyWithPublished(signer, await signer.sign(payload()))
    expect(signer.kid).not.toBe(former)
  })
})

describe('a derived key', () => {
  const derived = async (signer: TokenSigner, purpose = 'sessions') =>
    Buffer.from(await signer.deriveKey(purpose)).toString('hex')

  it('is one of 32 bytes for each purpose', async () => {
    const signer = await createTokenSigner({ now })
    expect(await derived(signer)).toMatch(/^[0-9a-f]{64}$/)
    expect(await derived(signer)).toBe(await derived(signer))
    expect(await derived(signer, 'something else')).not.toBe(await derived(signer))
  })

  it('is HKDF-SHA-256 of the private scalar, whatever the encoding of the key file', async () => {
    const { privateKey } = p256()
    const scalar = Buffer.from(privateKey.export({ format: 'jwk' }).d ?? '', 'base64url')
    const expected = Buffer.from(hkdfSync('sha256', scalar, '', 'sessions', 32)).toString('hex')
    for (const type of ['pkcs8', 'sec1'] as const) {
      const keyPath = await putKey(privateKey, type, `${type}.pem`)
      expect(await derived(await createTokenSigner({ keyPath, now }))).toBe(expected)
    }
  })

  it('is the same in every process that shares the state directory, and after a restart', async () => {
    const stateDir = join(folder, 'state')
    const [a, b] = [await createTokenSigner({ stateDir, now }), await createTokenSigner({ stateDir, now })]
    expect(await derived(a)).toBe(await derived(b))
    expect(await derived(await createTokenSigner({ stateDir, now }))).toBe(await derived(a))
  })

  it('is another in another process where the key ends with the process', async () => {
    const [a, b] = [await createTokenSigner({ now }), await createTokenSigner({ now })]
    expect(await derived(a)).not.toBe(await derived(b))
  })

  it('follows a rotation, which other replicas notice by themselves', async () => {
    const stateDir = join(folder, 'state')
    const [a, b] = [await createTokenSigner({ stateDir, now }), await createTokenSigner({ stateDir, now })]
    const before = await derived(a)
    await a.rotate()
    expect(await derived(a)).not.toBe(before)
    time = new Date(time.getTime() + 5_000)
    expect(await derived(b)).toBe(await derived(a))
  })
})

describe('keys published besides', () => {
  it('are those of the files named: public keys and certificates', async () => {
    const [a, b] = [p256(), p256()]
    const previousKeyPaths = [
      await put('a.pem', a.publicKey.export({ type: 'spki', format: 'pem' }).toString()),
      await put('b.pem', leaf(b).pem),
    ]
    const signer = await createTokenSigner({ previousKeyPaths, now })
    expect(
      signer
        .jwks()
        .keys.map(({ x }) => x)
        .slice(1),
    ).toEqual([a, b].map(({ publicKey }) => publicKey.export({ format: 'jwk' }).x))
  })
})
