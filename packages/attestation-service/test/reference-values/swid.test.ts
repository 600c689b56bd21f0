import { describe, expect, it } from 'vitest'
import { readSwid } from '../../src/reference-values/swid.ts'

const namespaces = `xmlns="http://standards.iso.org/iso/19770/-2/2015/schema.xsd"
  xmlns:rim="https://trustedcomputinggroup.org/resource/tcg-reference-integrity-manifest-rim-information-model/"
  xmlns:SHA384="http://www.w3.org/2001/04/xmlenc#sha384"`
/** The measurement of spec 02 §6.2. */
const hash12 =
  '758af96044c700f98a85347be27124d51c05b8784ba216b629b9aaab6d538c759aed9922a133e4ac473564d359b271d5'
const zeros = '0'.repeat(96)
const usualMeta = '<Meta edition="GPU" rim:PlatformManufacturerStr="NVIDIA Corporation"/>'
const measurement = (index: string, hashes: string) =>
  `<Resource type="Measurement" index="${index}" ${hashes}/>`

const tag = (payload: string, meta = usualMeta) =>
  `<?xml version="1.0"?><SoftwareIdentity ${namespaces}>${meta}<Payload>${payload}</Payload></SoftwareIdentity>`
const valuesOf = (xml: string) => Object.fromEntries(readSwid(Buffer.from(xml)))

describe('the measurements of a SWID tag (spec 02 §6.2)', () => {
  it('are named by manufacturer, edition and index', () => {
    expect(valuesOf(tag(measurement('12', `SHA384:Hash0="${hash12}"`)))).toEqual({
      'NVIDIA_Corporation.GPU.measurement_12': [hash12],
    })
  })

  it('have all hashes up to the first that is missing, but none of zeros', () => {
    const hashes = `SHA384:Hash0="aa" SHA384:Hash1="${zeros}" SHA384:Hash2="bb" SHA384:Hash4="cc"`
    expect(valuesOf(tag(measurement('1', hashes)))).toEqual({
      'NVIDIA_Corporation.GPU.measurement_1': ['aa', 'bb'],
    })
  })

  it('are left out where there is no hash but zeros', () => {
    const payload = measurement('1', `SHA384:Hash0="${zeros}"`) + measurement('2', '')
    expect(valuesOf(tag(payload))).toEqual({})
  })

  it('have underscores for dashes and for the spaces of the manufacturer', () => {
    const meta = '<Meta edition="a-b c" rim:PlatformManufacturerStr="A-B C D"/>'
    expect(Object.keys(valuesOf(tag(measurement('1-2', 'SHA384:Hash0="aa"'), meta)))).toEqual([
      'A_B_C_D.a_b c.measurement_1_2',
    ])
  })

  it('are found whatever the prefixes are, and only under their namespaces', () => {
    const payload = `${measurement('1', 'Hash0="aa"')}<x:Resource xmlns:x="urn:other" type="Measurement" index="2" SHA384:Hash0="bb"/>`
    expect(valuesOf(tag(payload))).toEqual({})
    const renamed = tag(measurement('1', 'SHA384:Hash0="aa"'))
      .replaceAll('SHA384:', 'h:')
      .replace('xmlns:SHA384', 'xmlns:h')
    expect(valuesOf(renamed.replace('xmlns:SHA384=', 'xmlns:h='))).toEqual({
      'NVIDIA_Corporation.GPU.measurement_1': ['aa'],
    })
  })

  it('are those of the first Payload; other resources are passed over', () => {
    const other = '<Resource type="File" index="3" SHA384:Hash0="cc"/>'
    const xml = tag(measurement('1', 'SHA384:Hash0="aa"') + other).replace(
      '</SoftwareIdentity>',
      `<Payload>${measurement('2', 'SHA384:Hash0="bb"')}</Payload></SoftwareIdentity>`,
    )
    expect(Object.keys(valuesOf(xml))).toEqual(['NVIDIA_Corporation.GPU.measurement_1'])
  })
})

describe('a SWID tag is refused that', () => {
  it.each([
    ['is not XML', 'swid', /not well-formed/],
    ['ends early', tag('').slice(0, -5), /not well-formed/],
    ['has no Meta', tag('', ''), /no Meta/],
    ['has no manufacturer', tag('', '<Meta edition="x"/>'), /without PlatformManufacturerStr/],
    ['has no edition', tag('', '<Meta rim:PlatformManufacturerStr="x"/>'), /without edition/],
    ['has no Payload', tag('').replace('<Payload></Payload>', ''), /no Payload/],
    [
      'has a measurement without index',
      tag('<Resource type="Measurement" SHA384:Hash0="aa"/>'),
      /without index/,
    ],
    ['has a hash that is none', tag(measurement('1', 'SHA384:Hash0="xyz"')), /not hexadecimal/],
    [
      'has a measurement twice',
      tag(measurement('1', 'SHA384:Hash0="aa"') + measurement('1', 'SHA384:Hash0="bb"')),
      /twice/,
    ],
    [
      'declares entities',
      `<!DOCTYPE x [<!ENTITY a "b">]>${tag('').replace(/^<\?.*\?>/, '')}`,
      /document type/,
    ],
    ['uses unknown entities', tag('&a;'), /not well-formed/],
  ])('%s', (_, xml, message) => {
    expect(() => valuesOf(xml)).toThrow(message)
  })

  it('is not UTF-8', () => {
    expect(() => readSwid(new Uint8Array([0xff, 0xfe]))).toThrow(/UTF-8/)
  })
})
