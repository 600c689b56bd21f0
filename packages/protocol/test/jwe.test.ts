import { createPrivateKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  decodeBase64UrlNoPad,
  decodeHex,
  decodeUtf8,
  encodeBase64Url,
  encodeHex,
  encodeUtf8,
  exportTeePrivateKeyPem,
  generateTeeKeyPair,
  importTeePrivateKeyPem,
  JweError,
  type JweResponse,
  jsonObject,
  openWithTeeKey,
  parseJson,
  parseJweResponse,
  sealForTee,
  type TeePrivateKey,
  teeKeyKinds,
} from '../src/index.ts'
import { sealWith } from '../src/jwe-seal.ts'
import { ecdhWrappingKey, mlKemWrappingKey, unwrapKey, wrapKey } from '../src/key-wrap.ts'

/** Spec 01 appendix A.3. */
const vectors = [
  {
    crv: 'P-256',
    d: 'bc282e71b172b06d62124ff3e7e6899ab19714cf2bf8bd75fa8eeaa4484d761b',
    x: 'S1qV_4Z8dCsDNe-kjENVfrjGppgZUchudaBFt6MhyYw',
    y: 'n5JQZG4T660N1eJUJ4ZKGPWCem3wU_cNfbfrBWcBXSs',
    ephemeral: '58051dd6a51bc3b97714122c19f8beaf6609649d8effc5d3843f130d060b7bfb',
    wrappingKey: '4502c1e98722559a581722b889bf5c64a6aba18071a9d8c71b9ef77eb1159d98',
    jwe: {
      protected:
        'eyJhbGciOiJFQ0RILUVTK0EyNTZLVyIsImVuYyI6IkEyNTZHQ00iLCJlcGsiOnsiY3J2IjoiUC0yNTYiLCJrdHkiOiJFQyIsIngiOiJ6MGQyclFQSUdoNy1nQ3Rvb0Z0b0pZWUJCNEE2TXdnckNxUklHTTY5RXJjIiwieSI6Im9tVnhTUWxJTGRHQmdDdGFuQVVRNnJ2Q01EZ2ttLXI1VW53Q0d2UV9WUjgifX0',
      encrypted_key: 'rdY2KKMSJZdNcU4jkVa66lw-NXG5z0D6sSnBNaRrG8rUeqCRc0a8sA',
      iv: 'IiIiIiIiIiIiIiIi',
      ciphertext: 'Y5J0PeC8-jyXWqo',
      tag: 'xOpWCOcftOpjwzH91-hsmQ',
    },
  },
  {
    crv: 'P-521',
    d: '00004221bf1943c3a3197d131916e84d33e60e43f280b7ba334d2268b03c2eafb8dcf87bd59ecc7d2fb6647df03273bd603d93f4a2c9766c11c9ed97df1273a91283',
    x: 'AMrhAeECYqHIlCpsYi6sncBlSpoOp0ESzYmVP9Wlq4ZiLN1_3i83gdIvPg6_hrNvrYOI5Zx7Wuku8blkBl6te7CN',
    y: 'AEaIXRp6AKhmg7p6qVT7Vov81dHz-Yl2gnA4Phm4U-5tfGedba0aGyMCdYgOCIXKyb2VeODFlOd4uJfdNZ8FZEf8',
    ephemeral:
      '00003c56c884c1b97c017394454ec6726551a614944d52b758080cccc3662e53d3781fa314526a03a948b8766cb6fa1fbe1df02af8b8a22b06e631f0362c5404bbad',
    wrappingKey: 'a1d45e241c4d024574fcebcbe7f25edfa18b982d70bee8b3118f37dcb7a21e85',
    jwe: {
      protected:
        'eyJhbGciOiJFQ0RILUVTK0EyNTZLVyIsImVuYyI6IkEyNTZHQ00iLCJlcGsiOnsiY3J2IjoiUC01MjEiLCJrdHkiOiJFQyIsIngiOiJBZDJjc0FsejBieHV2TlNqTGZTa2xUYjUzbEJuM19xSF85Wlh1Ql9yU2prc2NMc1RhMVU4MGxLeVFNZHZZYmh1SXZGQ3NsTlBGZDBrY3EzVDhrd3BNMGEtIiwieSI6IkFBeTIxSjh3Z2pudUdQRFlqWURSRUNpd3Q1cTRQRHVIZV9SNXUtUHk5MFVYdzBWQTlZcC1qLTFvRXNFWmt4ckxuV2RPV0x3Zi1RNTljd2NmMkx6cVFPSDMifX0',
      encrypted_key: 'EKVaBuioG5sTDn79rVoGYeY_s8dZohptVu-cmz12_BkEjzvVN9H0yQ',
      iv: 'IiIiIiIiIiIiIiIi',
      ciphertext: 'Y5J0PeC8-jyXWqo',
      tag: 'g6rLjBmAQa__H1Tug5HEyg',
    },
  },
] as const

const plaintext = encodeUtf8('test secret')

describe.each(vectors)('the vector for $crv', (vector) => {
  const teeKey = ecPrivateKey(vector)
  const ephemeralPublic = JSON.parse(decodeUtf8(decodeBase64UrlNoPad(vector.jwe.protected))).epk

  it('decrypts', () => {
    expect(decodeUtf8(openWithTeeKey(teeKey, vector.jwe))).toBe('test secret')
  })

  it('comes out again when the secrets are fixed', () => {
    const ephemeral = ecPrivateKey({ ...ephemeralPublic, d: vector.ephemeral })
    const jwe = sealWith(teeKey.publicKey, plaintext, {
      cek: new Uint8Array(32).fill(0x11),
      iv: new Uint8Array(12).fill(0x22),
      ephemeralKey: () => ephemeral.key,
    })
    expect(jwe).toEqual(vector.jwe)
  })

  it('has the wrapping key of the Concat KDF', () => {
    const ephemeral = ecPrivateKey({ ...ephemeralPublic, d: vector.ephemeral })
    expect(encodeHex(ecdhWrappingKey(ephemeral.key, teeKey.publicKey.key))).toBe(vector.wrappingKey)
  })
})

describe('ML-KEM-768+A192KW', () => {
  it('derives the wrapping key of appendix A.4', () => {
    const secret = Uint8Array.from({ length: 32 }, (_, index) => index)
    expect(encodeHex(mlKemWrappingKey(secret))).toBe('3ca895ec8c52f6c90562f607de97f1dd01e5cb9da6c23525')
  })
})

/** RFC 3394 §4.5 and §4.6. */
describe('AES key wrap', () => {
  it.each([
    [
      '000102030405060708090a0b0c0d0e0f1011121314151617',
      '00112233445566778899aabbccddeeff0001020304050607',
      '031d33264e15d33268f24ec260743edce1c6c7ddee725a936ba814915c6762d2',
    ],
    [
      '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f',
      '00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f',
      '28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21',
    ],
  ])('wraps as the RFC shows', (wrappingKey, key, wrapped) => {
    expect(encodeHex(wrapKey(decodeHex(wrappingKey), decodeHex(key)))).toBe(wrapped)
    expect(encodeHex(unwrapKey(decodeHex(wrappingKey), decodeHex(wrapped)))).toBe(key)
  })
})

describe.each(teeKeyKinds)('a JWE for %s', (kind) => {
  const teeKey = generateTeeKeyPair(kind)

  it('opens with the private key, whatever it holds', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (secret) => {
        const jwe = parseJweResponse(parseJson(JSON.stringify(sealForTee(teeKey.publicKey, secret))))
        expect(openWithTeeKey(teeKey, jwe)).toEqual(secret)
      }),
      { numRuns: 10 },
    )
  })

  it('opens after the private key has been through PEM', () => {
    const copy = importTeePrivateKeyPem(exportTeePrivateKeyPem(teeKey))
    expect(copy.publicKey.jwk).toEqual(teeKey.publicKey.jwk)
    expect(decodeUtf8(openWithTeeKey(copy, sealForTee(teeKey.publicKey, plaintext)))).toBe('test secret')
  })

  it('does not open with another key', () => {
    const other = generateTeeKeyPair(kind)
    expect(() => openWithTeeKey(other, sealForTee(teeKey.publicKey, plaintext))).toThrow(JweError)
  })

  it('does not open if one bit of any member is changed', () => {
    const jwe = sealForTee(teeKey.publicKey, plaintext)
    for (const member of ['encrypted_key', 'iv', 'ciphertext', 'tag'] as const) {
      const bytes = decodeBase64UrlNoPad(jwe[member])
      bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1
      expect(() => openWithTeeKey(teeKey, { ...jwe, [member]: encodeBase64Url(bytes) })).toThrow(JweError)
    }
  })

  it('never repeats key, IV or ciphertext', () => {
    const [first, second] = [sealForTee(teeKey.publicKey, plaintext), sealForTee(teeKey.publicKey, plaintext)]
    for (const member of ['encrypted_key', 'iv', 'ciphertext', 'tag'] as const) {
      expect(first[member]).not.toBe(second[member])
    }
  })
})

/** Spec 01 §3.3: the guest writes the header again, so its text is part of the interface. */
describe('the protected header', () => {
  it.each([
    ['RSA-OAEP-256', 'eyJhbGciOiJSU0EtT0FFUC0yNTYiLCJlbmMiOiJBMjU2R0NNIn0'],
    ['RSA1_5', 'eyJhbGciOiJSU0ExXzUiLCJlbmMiOiJBMjU2R0NNIn0'],
  ] as const)('for %s is constant', (alg, header) => {
    const pem = exportTeePrivateKeyPem(generateTeeKeyPair('RSA-OAEP-256'))
    const teeKey = importTeePrivateKeyPem(pem, alg)
    const jwe = sealForTee(teeKey.publicKey, plaintext)
    expect(jwe.protected).toBe(header)
    expect(decodeUtf8(openWithTeeKey(teeKey, jwe))).toBe('test secret')
  })

  it('for EC keys has its members in the guest order', () => {
    const { protected: header } = sealForTee(generateTeeKeyPair().publicKey, plaintext)
    expect(decodeUtf8(decodeBase64UrlNoPad(header))).toMatch(
      /^\{"alg":"ECDH-ES\+A256KW","enc":"A256GCM","epk":\{"crv":"P-256","kty":"EC","x":"[\w-]{43}","y":"[\w-]{43}"\}\}$/,
    )
  })

  it('for ML-KEM carries the encapsulated secret', () => {
    const { protected: header } = sealForTee(generateTeeKeyPair('ML-KEM-768+A192KW').publicKey, plaintext)
    expect(decodeUtf8(decodeBase64UrlNoPad(header))).toMatch(
      /^\{"alg":"ML-KEM-768\+A192KW","enc":"A256GCM","ek":"[\w-]{1451}"\}$/,
    )
  })
})

describe('openWithTeeKey is as strict as any guest', () => {
  const teeKey = ecPrivateKey(vectors[0])
  const jwe: JweResponse = vectors[0].jwe
  const header = JSON.parse(decodeUtf8(decodeBase64UrlNoPad(jwe.protected)))
  const withHeader = (changed: object) => ({
    ...jwe,
    protected: encodeBase64Url(encodeUtf8(JSON.stringify(changed))),
  })

  it('writes the header again, so that another spelling of the same header still opens', () => {
    const { alg, enc, epk } = header
    const respelled = { epk: { y: epk.y, x: epk.x, kty: 'EC', crv: 'P-256' }, enc, alg }
    expect(decodeUtf8(openWithTeeKey(teeKey, withHeader(respelled)))).toBe('test secret')
  })

  it.each([
    ['a padded member', { ...jwe, tag: `${jwe.tag}==` }],
    ['set unused bits', { ...jwe, tag: `${jwe.tag.slice(0, -1)}R` }],
    ['a short tag', { ...jwe, tag: encodeBase64Url(new Uint8Array(12)) }],
    ['a wrapped key below 8 bytes', { ...jwe, encrypted_key: 'AAAA' }],
    ['another member in the header', withHeader({ ...header, typ: 'JWE' })],
    ['another enc', withHeader({ ...header, enc: 'A128GCM' })],
    ['the alg of another key', withHeader({ ...header, alg: 'RSA-OAEP-256' })],
    ['the curve of another key', withHeader({ ...header, epk: { ...header.epk, crv: 'P-521' } })],
    ['no epk', withHeader({ ...header, epk: undefined })],
    ['a short coordinate', withHeader({ ...header, epk: { ...header.epk, x: 'AAAA' } })],
    ['a point off the curve', withHeader({ ...header, epk: { ...header.epk, x: header.epk.y } })],
    ['a header that is no JSON', { ...jwe, protected: 'AAAA' }],
    ['a header that is no object', { ...jwe, protected: encodeBase64Url(encodeUtf8('[]')) }],
  ] as [string, JweResponse][])('refuses %s', (_name, changed) => {
    expect(() => openWithTeeKey(teeKey, changed)).toThrow(JweError)
  })

  it('requires the five members as strings and ignores others', () => {
    expect(parseJweResponse(jsonObject({ ...jwe, aad: 'AAAA' }))).toEqual(jwe)
    expect(() => parseJweResponse(jsonObject({ ...jwe, tag: [1, 2] }))).toThrow('tag is not a string')
    expect(() => parseJweResponse([])).toThrow(JweError)
  })
})

function ecPrivateKey(fields: { crv: string; d: string; x: string; y: string }): TeePrivateKey {
  const { crv, d, x, y } = fields
  const jwk: JsonWebKey = { kty: 'EC', crv, x, y, d: encodeBase64Url(decodeHex(d)) }
  const key: KeyObject = createPrivateKey({ key: jwk, format: 'jwk' })
  return importTeePrivateKeyPem(key.export({ format: 'pem', type: 'pkcs8' }).toString())
}
