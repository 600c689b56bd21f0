import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  decodeBase64,
  decodeBase64Url,
  decodeBase64UrlNoPad,
  decodeHex,
  decodeUtf8,
  EncodingError,
  encodeBase64,
  encodeBase64Url,
  encodeHex,
  encodeUtf8,
} from '../src/index.ts'

const pairs = [
  ['hexadecimal', encodeHex, decodeHex],
  ['base64', encodeBase64, decodeBase64],
  ['base64url', encodeBase64Url, decodeBase64Url],
  ['base64url without padding', encodeBase64Url, decodeBase64UrlNoPad],
] as const

describe.each(pairs)('%s', (_name, encode, decode) => {
  it('decodes what it encodes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70 }), (bytes) => {
        expect(decode(encode(bytes))).toEqual(bytes)
      }),
    )
  })

  it('reads no text in two ways: what decodes is what would be encoded, up to case or padding', () => {
    const unit = fc.constantFrom(...'09afAFzZ+/-_= \n')
    fc.assert(
      fc.property(fc.array(unit, { maxLength: 12 }), (units) => {
        const text = units.join('')
        try {
          expect(encode(decode(text)).toLowerCase().replace(/=+$/, '')).toBe(
            text.toLowerCase().replace(/=+$/, ''),
          )
        } catch (error) {
          expect(error).toBeInstanceOf(EncodingError)
        }
      }),
      { numRuns: 2000 },
    )
  })

  it('gives bytes that own their memory', () => {
    const bytes = decode(encode(Uint8Array.of(1, 2, 3)))
    expect(bytes.buffer.byteLength).toBe(3)
    expect(Buffer.isBuffer(bytes)).toBe(false)
  })
})

describe('strictness', () => {
  it.each(['0', '0x00', '0g', ' 00', '00 ', '00\n'])('refuses hexadecimal %j', (text) => {
    expect(() => decodeHex(text)).toThrow(EncodingError)
  })
  it('accepts hexadecimal of both cases', () => {
    expect(decodeHex('aAfF')).toEqual(Uint8Array.of(0xaa, 0xff))
  })
  it.each(['AA', 'AA=', 'A===', 'AB==', 'AAB=', 'AA==\n', 'A-==', 'AA==AAAA', '===='])(
    'refuses base64 %j',
    (text) => {
      expect(() => decodeBase64(text)).toThrow(EncodingError)
    },
  )
  it.each(['A', 'AA=', 'AB', 'AAB', 'AB==', 'A+', 'AA== ', '=', 'AA===', '====', 'AA==AA=='])(
    'refuses base64url %j',
    (text) => {
      expect(() => decodeBase64Url(text)).toThrow(EncodingError)
    },
  )
  it('accepts base64url with or without padding, where padding is allowed', () => {
    expect(decodeBase64Url('_w==')).toEqual(Uint8Array.of(255))
    expect(decodeBase64Url('_w')).toEqual(Uint8Array.of(255))
    expect(() => decodeBase64UrlNoPad('_w==')).toThrow(EncodingError)
  })
  it('refuses what is not UTF-8', () => {
    expect(decodeUtf8(encodeUtf8('é😀'))).toBe('é😀')
    expect(() => decodeUtf8(Uint8Array.of(0xc0, 0x80))).toThrow(EncodingError)
  })
})
