import { describe, expect, it } from 'vitest'
import {
  canonicalJson,
  deviceRuntimeData,
  encodeBase64,
  encodeHex,
  initDataDigest,
  type JsonObject,
  parseHashAlgorithm,
  parseJson,
  primaryRuntimeData,
  runtimeDataDigest,
} from '../src/index.ts'

const nonce = 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8='
const teePublicKeyJson = parseJson(
  '{"kty":"EC","crv":"P-256","alg":"ECDH-ES+A256KW","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}',
) as JsonObject

/** Spec 01 appendix A.1. */
describe('runtime data', () => {
  it('of a device is the nonce and the key', () => {
    const data = deviceRuntimeData({ nonce, teePublicKeyJson })
    expect(canonicalJson(data)).toBe(
      '{"nonce":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","tee-pubkey":{"alg":"ECDH-ES+A256KW","crv":"P-256","kty":"EC","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}}',
    )
    expect(encodeHex(runtimeDataDigest(data, 'sha384'))).toBe(
      '90df2d9286ca24c8a886cb47e5ca7eb5f81250b2bf3cae2adb51d1978b49690ab9d4efe1c17385028f91f83d3fef0193',
    )
  })

  it('of the primary evidence has the text of the device evidence too, empty if there is none', () => {
    const data = primaryRuntimeData({ nonce, teePublicKeyJson, additionalEvidence: '' })
    expect(encodeHex(runtimeDataDigest(data, 'sha384'))).toBe(
      '8a6244441b1b1171b3a1d56a693d4ce116c1f9ca1ae558bc5f59d46dada54cf49e92a361ab2472c434652fed5887f16d',
    )
    expect(encodeHex(runtimeDataDigest(data, 'sha512'))).toBe(
      'f407f8640c82dd411525153d2b3fac21b53476073afb50f18006aede37f2328b8242485e60439d377a063a9d68b2a5beabc43c5198e3ca041138e5c724518ae7',
    )
    // the transcript of spec 01 §2.10
    expect(encodeBase64(runtimeDataDigest(data, 'sha384'))).toBe(
      'imJERBsbEXGzodVqaT1M4RbB+coa5Vi8X1nUba2lTPSekqNhqyRyxDRlL+1Yh/Ft',
    )
  })

  it('hashes device evidence as a string, quotes escaped', () => {
    const additionalEvidence =
      '{"sampledevice":{"svn":"2","report_data":"kN8tkobKJMiohstH5cp+tfgSULK/PK4q21HRl4tJaQq51O/hwXOFAo+R+D0/7wGT"}}'
    const data = primaryRuntimeData({ nonce, teePublicKeyJson, additionalEvidence })
    expect(encodeHex(runtimeDataDigest(data, 'sha384'))).toBe(
      '6f1795a63fb640595a4c24e03e2c0e6cd6dc6035faf6ee0192a3244ae08d11650550c8d42bcf0a69e5fdeef803f4eabd',
    )
  })

  it('can be hashed with each algorithm that a challenge may select', () => {
    const sizes = (['sha256', 'sha384', 'sha512', 'sm3'] as const).map(
      (hash) => runtimeDataDigest({}, hash).length,
    )
    expect(sizes).toEqual([32, 48, 64, 32])
    expect(parseHashAlgorithm('SHA512')).toBe('sha512')
    expect(parseHashAlgorithm('sha-512')).toBeUndefined()
  })
})

/** Spec 01 appendix A.2. */
describe('init data', () => {
  const body = 'algorithm = "sha384"\nversion = "0.1.0"\n\n[data]\n"key1" = "value1"\n'
  it('is hashed byte for byte', () => {
    expect(encodeHex(initDataDigest(body, 'sha384'))).toBe(
      'ad344b89d2a0c99aad897d9b86bb5d3e47a81d10a68ff85d050dfac2463a542023b209996e7f8ff001e588df394d1d09',
    )
    expect(encodeHex(initDataDigest(body, 'sha256'))).toBe(
      'f574f51012ccd7f3c9935a000298917d492d21b4c14e8b116592f2b73c85b081',
    )
  })
})
