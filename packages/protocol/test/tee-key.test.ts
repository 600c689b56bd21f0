import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import {
  encodeBase64Url,
  generateTeeKeyPair,
  importTeePrivateKeyPem,
  type JsonValue,
  jsonObject,
  parseTeePublicKey,
  TeeKeyError,
  teeKeyThumbprint,
} from '../src/index.ts'

const ec = {
  kty: 'EC',
  crv: 'P-256',
  alg: 'ECDH-ES+A256KW',
  x: 'MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4',
  y: '4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM',
}

/** The example key of RFC 7638 §3.1. */
const rsa = {
  kty: 'RSA',
  n: '0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw',
  e: 'AQAB',
  alg: 'RSA-OAEP-256',
}

const akp = { ...generateTeeKeyPair('ML-KEM-768+A192KW').publicKey.jwk }

/** Spec 01 §3.1. */
describe('parseTeePublicKey', () => {
  it('keeps exactly the members that are hashed', () => {
    expect({ ...parseTeePublicKey(jsonObject({ ...ec, use: 'enc', kid: 'x' })).jwk }).toEqual(ec)
    expect({ ...parseTeePublicKey(jsonObject({ ...rsa, kid: 'x' })).jwk }).toEqual(rsa)
    expect({ ...parseTeePublicKey(jsonObject({ ...akp, x: 1 }), { allowMlKem: true }).jwk }).toEqual(akp)
  })

  it('accepts P-521', () => {
    const { jwk } = generateTeeKeyPair('ECDH-ES+A256KW-P521').publicKey
    expect(parseTeePublicKey(jwk)).toMatchObject({ kty: 'EC', crv: 'P-521' })
  })

  it('accepts RSA1_5 and ML-KEM only where the policy says so', () => {
    const old = jsonObject({ ...rsa, alg: 'RSA1_5' })
    expect(code(old)).toBe('refused')
    expect(parseTeePublicKey(old, { allowRsa15: true }).alg).toBe('RSA1_5')
    expect(code(jsonObject(akp))).toBe('refused')
    expect(parseTeePublicKey(jsonObject(akp), { allowMlKem: true }).kty).toBe('AKP')
  })

  it.each([
    ['nothing', null, 'malformed'],
    ['a list', [], 'malformed'],
    ['no kty', jsonObject({ ...ec, kty: null }), 'malformed'],
    ['another kty', jsonObject({ ...ec, kty: 'OKP' }), 'malformed'],
    ['kty in lower case', jsonObject({ ...ec, kty: 'ec' }), 'malformed'],
    ['a number for x', jsonObject({ ...ec, x: 1 }), 'malformed'],
    ['P-384', jsonObject({ ...ec, crv: 'P-384' }), 'refused'],
    ['another alg', jsonObject({ ...ec, alg: 'ECDH-ES' }), 'refused'],
    ['a short coordinate', jsonObject({ ...ec, x: ec.x.slice(4) }), 'unusable'],
    ['a long coordinate', jsonObject({ ...ec, x: `AAAA${ec.x}` }), 'unusable'],
    ['a padded coordinate', jsonObject({ ...ec, x: `${ec.x}=` }), 'unusable'],
    ['a point off the curve', jsonObject({ ...ec, x: ec.y }), 'unusable'],
    [
      'the point at infinity as zeros',
      jsonObject({ ...ec, x: 'A'.repeat(43), y: 'A'.repeat(43) }),
      'unusable',
    ],
    ['RSA of 1024 bits', jsonObject({ ...rsa, n: modulus(128) }), 'unusable'],
    ['RSA of 2047 bits', jsonObject({ ...rsa, n: modulus(256, 0x7f) }), 'unusable'],
    ['RSA of 4104 bits', jsonObject({ ...rsa, n: modulus(513) }), 'unusable'],
    [
      'an even modulus',
      jsonObject({ ...rsa, n: encodeBase64Url(new Uint8Array(256).fill(0xfe)) }),
      'unusable',
    ],
    ['a modulus with a leading zero', jsonObject({ ...rsa, n: `AAAA${rsa.n}` }), 'unusable'],
    ['an empty modulus', jsonObject({ ...rsa, n: '' }), 'unusable'],
    ['the exponent 3', jsonObject({ ...rsa, e: 'Aw' }), 'unusable'],
    ['the exponent 1', jsonObject({ ...rsa, e: 'AQ' }), 'unusable'],
    ['an even exponent', jsonObject({ ...rsa, e: encodeBase64Url(Uint8Array.of(1, 0, 2)) }), 'unusable'],
    [
      'an exponent of 40 bits',
      jsonObject({ ...rsa, e: encodeBase64Url(Uint8Array.of(1, 0, 0, 0, 1)) }),
      'unusable',
    ],
    ['an endless member', jsonObject({ ...rsa, n: 'A'.repeat(100_000) }), 'unusable'],
    ['RSA with an EC alg', jsonObject({ ...rsa, alg: 'ECDH-ES+A256KW' }), 'refused'],
  ] as [string, JsonValue, string][])('refuses %s', (_name, value, expected) => {
    expect(code(value)).toBe(expected)
  })

  it('refuses ML-KEM keys of the wrong size or with coefficients out of range', () => {
    const allowMlKem = true
    const withPub = (pub: string) => () => parseTeePublicKey(jsonObject({ ...akp, pub }), { allowMlKem })
    expect(withPub(encodeBase64Url(new Uint8Array(1183)))).toThrow(TeeKeyError)
    expect(withPub(encodeBase64Url(new Uint8Array(1184).fill(0xff)))).toThrow(TeeKeyError)
  })

  it('looks at own members only', () => {
    expect(code(Object.create(ec))).toBe('malformed')
  })

  it('never repeats a value in its message', () => {
    expect(() => parseTeePublicKey(jsonObject({ ...ec, crv: 'my-curve' }))).toThrow(/^(?!.*my-curve)/)
  })
})

describe('teeKeyThumbprint', () => {
  it('is that of RFC 7638 §3.1, whatever the alg', () => {
    expect(teeKeyThumbprint(parseTeePublicKey(jsonObject(rsa)))).toBe(
      'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs',
    )
  })
  it('covers the alg of an AKP key, whose type alone says nothing', () => {
    expect(teeKeyThumbprint(generateTeeKeyPair('ML-KEM-768+A192KW').publicKey)).toMatch(/^[\w-]{43}$/)
  })
})

describe('importTeePrivateKeyPem', () => {
  it('reads RSA keys as PKCS#1 and PKCS#8, EC keys as SEC1 and PKCS#8', () => {
    const rsaKey = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
    const ecKey = generateKeyPairSync('ec', { namedCurve: 'P-521' }).privateKey
    for (const type of ['pkcs1', 'pkcs8'] as const) {
      expect(importTeePrivateKeyPem(rsaKey.export({ format: 'pem', type }).toString()).publicKey.kty).toBe(
        'RSA',
      )
    }
    for (const type of ['sec1', 'pkcs8'] as const) {
      expect(importTeePrivateKeyPem(ecKey.export({ format: 'pem', type }).toString()).publicKey.kty).toBe(
        'EC',
      )
    }
  })

  it('refuses what is no TEE key', () => {
    const pem = (key: ReturnType<typeof generateKeyPairSync>) =>
      key.privateKey.export({ format: 'pem', type: 'pkcs8' })
    expect(() => importTeePrivateKeyPem('')).toThrow(TeeKeyError)
    expect(() => importTeePrivateKeyPem(pem(generateKeyPairSync('ed25519')).toString())).toThrow(TeeKeyError)
    const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' })
    expect(() => importTeePrivateKeyPem(pem(p384).toString())).toThrow(TeeKeyError)
  })
})

function modulus(size: number, first = 0xff): string {
  const bytes = new Uint8Array(size).fill(0xff)
  bytes[0] = first
  return encodeBase64Url(bytes)
}

function code(value: JsonValue): string {
  try {
    parseTeePublicKey(value)
    return 'accepted'
  } catch (error) {
    expect(error).toBeInstanceOf(TeeKeyError)
    return (error as TeeKeyError).code
  }
}
