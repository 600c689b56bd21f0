import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { readCorim } from '../../src/reference-values/corim.ts'
import { type CborItem, cbor, map, tagged } from './cbor-writer.ts'

const nobody = { keys: [], requireSigned: false }
const hex = (text: string) => new Uint8Array(Buffer.from(text, 'hex'))

const uuid = tagged(37, hex('31fb5abf023e4992aa4e95f9c1503bfa'))
const acme = map([0, map([1, 'ACME'], [2, 'RoadRunner'])])
const measured = (key: CborItem, value: ReadonlyMap<number | string, CborItem>) => map([0, key], [1, value])
const digests = (...values: string[]) => map([2, values.map((value) => [1, hex(value)])])

const comid = (environment: CborItem, measurements: CborItem[]) =>
  cbor(map([1, map([0, 'tag'])], [4, map([0, [[environment, measurements]]])]))
const corim = (tags: CborItem[], ...more: [number, CborItem][]) =>
  tagged(501, map([0, 'corim'], [1, tags], ...more))
const oneCorim = (...measurements: CborItem[]) => cbor(corim([tagged(506, comid(acme, measurements))]))
const valuesOf = (bytes: Uint8Array) => Object.fromEntries(readCorim(bytes, nobody).values)

/** The three measurements of spec 02 §6.2 under one UUID. */
const digestVector = [
  '87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7',
  '0263829989b6fd954f72baaf2fc64bc2e2f01d692d4de72986ea808f6e99813f',
  'a3a5e715f0cc574a73c3f9bebb6bc24f32ffd5b67b387244c2c909da779a1478',
]

describe('the reference triples of a CoRIM (spec 02 §6.2)', () => {
  it('become one value per name, with the digests of equal names together', () => {
    const bytes = oneCorim(...digestVector.map((digest) => measured(uuid, digests(digest))))
    expect(valuesOf(bytes)).toEqual({
      'ACME/RoadRunner/31fb5abf-023e-4992-aa4e-95f9c1503bfa/digests': digestVector,
    })
  })

  it('are named by class, key, name and serial number', () => {
    const bytes = oneCorim(
      measured('boot loader', map([2, [[7, hex('aa')]]], [11, 'BL'], [8, 'SN1'])),
      measured(7, digests('bb', 'bb', 'cc')),
      measured(tagged(111, hex('2a03')), digests('dd')),
    )
    expect(valuesOf(bytes)).toEqual({
      'ACME/RoadRunner/boot loader/BL/SN1/digests': ['aa'],
      'ACME/RoadRunner/claim7/digests': ['bb', 'cc'],
      'ACME/RoadRunner/digests': ['dd'],
    })
  })

  it('have raw bytes as hexadecimal, and no other raw values', () => {
    const bytes = oneCorim(
      measured('a', map([4, tagged(560, hex('0102'))])),
      measured('b', map([4, tagged(561, hex('03'))])),
      measured('c', map([1, tagged(552, 4)])),
    )
    expect(valuesOf(bytes)).toEqual({ 'ACME/RoadRunner/a/raw_bytes': '0102' })
  })

  it('are read from bare bytes that are a CoMID, too; other tags are passed over', () => {
    const bytes = cbor(
      corim([
        comid(acme, [measured('a', digests('aa'))]),
        tagged(505, hex('a0')),
        tagged(508, hex('a0')),
        hex('ffff'),
        tagged(506, comid(map(), [measured('b', digests('bb'))])),
      ]),
    )
    expect(valuesOf(bytes)).toEqual({ 'ACME/RoadRunner/a/digests': ['aa'], 'b/digests': ['bb'] })
  })

  it('may stand in the tags of early drafts', () => {
    const wrapped = Buffer.concat([hex('d901f4'), hex('d901f6'), oneCorim(measured('a', digests('aa')))])
    expect(valuesOf(wrapped)).toEqual({ 'ACME/RoadRunner/a/digests': ['aa'] })
  })

  it('bring their validity along', () => {
    const validity = map([0, tagged(1, 1_700_000_000)], [1, tagged(1, 1_900_000_000)])
    const content = readCorim(cbor(corim([], [4, validity])), nobody)
    expect(content.notBefore).toEqual(new Date('2023-11-14T22:13:20Z'))
    expect(content.notAfter).toEqual(new Date('2030-03-17T17:46:40Z'))
  })
})

describe('a CoRIM is refused that', () => {
  it.each([
    ['is not CBOR', hex('ff'), /not CBOR/],
    ['has bytes behind it', Buffer.concat([oneCorim(), hex('00')]), /not CBOR/],
    ['has a key twice', hex('d901f5a200000000'), /not CBOR/],
    ['is not tagged', cbor(map([1, []])), /not tagged/],
    ['is a list', cbor(tagged(501, [])), /not a map/],
    ['has no tags', cbor(tagged(501, map())), /no tags/],
    ['has a CoMID that is no byte string', cbor(corim([tagged(506, map())])), /not a byte string/],
    ['has a CoMID without triples', cbor(corim([tagged(506, cbor(map()))])), /without triples/],
    ['has a measurement without value', oneCorim(map([0, 'a'])), /without value/],
    ['has a digest that is no pair', oneCorim(measured('a', map([2, [[1]]]))), /no pair/],
    ['has digests that are text', oneCorim(measured('a', map([2, [[1, 'aa']]]))), /no pair/],
    ['has a short UUID', oneCorim(measured(tagged(37, hex('00')), digests('aa'))), /not 16 bytes/],
    [
      'has two raw values of one name',
      oneCorim(
        measured('a', map([4, tagged(560, hex('01'))])),
        measured('a', map([4, tagged(560, hex('02'))])),
      ),
      /two raw values/,
    ],
    ['has a validity in text', cbor(corim([], [4, map([1, 'tomorrow'])])), /epoch time/],
    ['nests without end', Buffer.alloc(100_000, 0x81), /not CBOR/],
  ])('%s', (_, bytes, message) => {
    expect(() => readCorim(bytes, nobody)).toThrow(message)
  })
})

describe('a signed CoRIM', () => {
  const content = () => oneCorim(measured('a', digests('aa')))
  const keys = {
    ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    ES384: generateKeyPairSync('ec', { namedCurve: 'P-384' }),
    EdDSA: generateKeyPairSync('ed25519'),
  }
  const identifiers = { ES256: -7, ES384: -35, EdDSA: -8 }
  const hashes = { ES256: 'sha256', ES384: 'sha384', EdDSA: null }
  type Name = keyof typeof keys

  function signed(
    name: Name,
    options: { algorithm?: number; key?: KeyObject; more?: [number, CborItem][] } = {},
  ) {
    const { algorithm = identifiers[name], key = keys[name].privateKey, more = [] } = options
    const header = cbor(map([1, algorithm], ...more))
    const toBeSigned = cbor(['Signature1', header, new Uint8Array(0), content()])
    const signature = sign(hashes[name], toBeSigned, { key, dsaEncoding: 'ieee-p1363' })
    return cbor(tagged(18, [header, map(), content(), new Uint8Array(signature)]))
  }
  const trust = (...names: Name[]) => ({
    keys: names.map((name) => keys[name].publicKey),
    requireSigned: false,
  })

  it.each(['ES256', 'ES384', 'EdDSA'] as const)('holds with %s', (name) => {
    const read = readCorim(signed(name), trust('ES256', 'ES384', 'EdDSA'))
    expect(read.isSigned).toBe(true)
    expect(read.values.size).toBe(1)
  })

  it.each([
    [
      'by another key',
      signed('ES256', { key: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey }),
    ],
    ['with the algorithm of another curve', signed('ES256', { algorithm: -35 })],
    ['by a key of another kind', signed('EdDSA')],
  ])('is refused when it was signed %s', (_, bytes) => {
    expect(() => readCorim(bytes, trust('ES256'))).toThrow(/not by a trusted key/)
  })

  it('is refused when its content was changed', () => {
    const bytes = Buffer.from(signed('ES256'))
    const place = bytes.indexOf(Buffer.from('ACME'))
    bytes[place] = 0x42
    expect(() => readCorim(bytes, trust('ES256'))).toThrow(/not by a trusted key/)
  })

  it('is refused with critical headers, which nobody here understands', () => {
    expect(() => readCorim(signed('ES256', { more: [[2, [99]]] }), trust('ES256'))).toThrow(/critical/)
  })

  it('counts as unsigned where no key is trusted', () => {
    expect(readCorim(signed('ES256'), nobody)).toMatchObject({ isSigned: false })
  })

  it.each([
    ['no list', tagged(18, 1)],
    ['no payload', tagged(18, [new Uint8Array(0), map(), 0, new Uint8Array(64)])],
    ['too many parts', tagged(18, [new Uint8Array(0), map(), new Uint8Array(0), new Uint8Array(64), 0])],
  ])('is refused when it has %s', (_, item) => {
    expect(() => readCorim(cbor(item as CborItem), nobody)).toThrow(/COSE_Sign1/)
  })
})
