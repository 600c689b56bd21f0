/** X.690: what is DER and what is not. */
import { describe, expect, it } from 'vitest'
import {
  DerError,
  derBitStringBytes,
  derBoolean,
  derChildren,
  derIntegerBytes,
  derNamedBits,
  derOid,
  derText,
  derTime,
  derUnsigned,
  readDer,
} from '../../src/x509/der.ts'

const bytes = (hex: string) => Buffer.from(hex.replaceAll(' ', ''), 'hex')
const element = (hex: string) => readDer(bytes(hex))

describe('one element', () => {
  it.each([
    ['a high tag number', '1f 81 00 00'],
    ['an indefinite length', '30 80 00 00'],
    ['a long form where the short one fits', '04 81 01 00'],
    ['a length with a leading zero octet', `04 82 00 80 ${'00'.repeat(128)}`],
    ['a length of five octets', '04 85 00 00 00 00 01 00'],
    ['a length past the end', '04 02 00'],
    ['no length', '04'],
    ['nothing', ''],
    ['trailing bytes', '05 00 00'],
  ])('is not one with %s', (_name, hex) => {
    expect(() => element(hex)).toThrow(DerError)
  })

  it('may have 200 bytes', () => {
    expect(element(`04 81 c8 ${'00'.repeat(200)}`).content).toHaveLength(200)
  })

  it('must have the tag that was asked for', () => {
    expect(() => readDer(bytes('05 00'), 0x30)).toThrow('expected tag 0x30, found 0x5')
  })

  it('has children only when it is constructed', () => {
    expect(derChildren(element('30 04 05 00 05 00'))).toHaveLength(2)
    expect(() => derChildren(element('04 02 05 00'))).toThrow(DerError)
  })
})

describe('INTEGER', () => {
  it.each([
    ['02 01 00', 0],
    ['02 01 7f', 127],
    ['02 02 00 db', 219],
    ['02 07 1f ff ff ff ff ff ff', Number.MAX_SAFE_INTEGER],
  ])('%s is %i', (hex, value) => {
    expect(derUnsigned(element(hex))).toBe(value)
  })

  it.each([
    ['empty', '02 00'],
    ['with a superfluous zero octet', '02 02 00 7f'],
    ['with a superfluous ff octet', '02 02 ff 80'],
    ['negative', '02 01 80'],
    ['beyond the safe integers', '02 07 20 00 00 00 00 00 00'],
  ])('is not one when %s', (_name, hex) => {
    expect(() => derUnsigned(element(hex))).toThrow(DerError)
  })

  it('keeps its octets where the value does not matter', () => {
    expect([...derIntegerBytes(element('02 02 00 80'))]).toEqual([0, 0x80])
  })
})

describe('other types', () => {
  it('BOOLEAN is 00 or ff', () => {
    expect(derBoolean(element('01 01 ff'))).toBe(true)
    expect(derBoolean(element('01 01 00'))).toBe(false)
    expect(() => derBoolean(element('01 01 01'))).toThrow(DerError)
    expect(() => derBoolean(element('01 02 ff ff'))).toThrow(DerError)
  })

  it.each([
    ['06 03 55 04 03', '2.5.4.3'],
    ['06 09 2a 86 48 86 f7 0d 01 01 0a', '1.2.840.113549.1.1.10'],
    ['06 0a 2b 06 01 04 01 9c 78 01 03 01', '1.3.6.1.4.1.3704.1.3.1'],
    ['06 02 88 37', '2.999'],
  ])('OBJECT IDENTIFIER %s is %s', (hex, dotted) => {
    expect(derOid(element(hex))).toBe(dotted)
  })

  it.each(['06 00', '06 02 55 84', '06 03 55 80 04'])('OBJECT IDENTIFIER %s is malformed', (hex) => {
    expect(() => derOid(element(hex))).toThrow(DerError)
  })

  it('BIT STRING of whole bytes has no unused bits', () => {
    expect([...derBitStringBytes(element('03 02 00 aa'))]).toEqual([0xaa])
    expect(() => derBitStringBytes(element('03 02 01 aa'))).toThrow(DerError)
    expect(() => derBitStringBytes(element('03 00'))).toThrow(DerError)
  })

  it('named bits count from the left, and unused bits are zero', () => {
    const bit = derNamedBits(element('03 02 01 06'))
    expect([bit(5), bit(6), bit(0), bit(20)]).toEqual([true, true, false, false])
    for (const hex of ['03 02 02 06', '03 02 08 00', '03 01 01', '03 00']) {
      expect(() => derNamedBits(element(hex)), hex).toThrow(DerError)
    }
  })

  it('texts are in their alphabets', () => {
    expect(derText(element('0c 02 c3 a9'))).toBe('é')
    expect(() => derText(element('0c 01 ff'))).toThrow(DerError)
    expect(() => derText(element('13 01 ff'))).toThrow(DerError)
    expect(() => derText(element('04 01 41'))).toThrow(DerError)
  })
})

describe('times of RFC 5280 §4.1.2.5', () => {
  const time = (tag: string, text: string) =>
    derTime(
      element(`${tag} ${text.length.toString(16).padStart(2, '0')} ${Buffer.from(text).toString('hex')}`),
    )

  it.each([
    ['17', '201022172305Z', '2020-10-22T17:23:05.000Z'],
    ['17', '491231235959Z', '2049-12-31T23:59:59.000Z'],
    ['17', '500101000000Z', '1950-01-01T00:00:00.000Z'],
    ['18', '20500101000000Z', '2050-01-01T00:00:00.000Z'],
    ['17', '240229000000Z', '2024-02-29T00:00:00.000Z'],
  ])('%s %s is %s', (tag, text, iso) => {
    expect(time(tag, text).toISOString()).toBe(iso)
  })

  it.each([
    ['17', '2010221723Z'],
    ['17', '201022172305+0100'],
    ['17', '230229000000Z'],
    ['17', '201322172305Z'],
    ['17', '201022242305Z'],
    ['17', '201022172360Z'],
    ['18', '20201022172305.5Z'],
    ['18', '00000101000000Z'],
    ['13', '201022172305Z'],
  ])('%s %s is none', (tag, text) => {
    expect(() => time(tag, text)).toThrow(DerError)
  })
})
