/** Spec 03 §4.1: the pinned certificates are AMD's. */
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { prepareRoots } from '../../src/amd/chain.ts'
import { type AmdGeneration, amdRoots } from '../../src/index.ts'
import { commonName, parseCertificate } from '../../src/x509/certificate.ts'
import { vectorBytes, vectors } from '../eventlog/vectors.ts'

const table = [
  ['Milan', 'ark', 'ARK-Milan', '010000', '69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd'],
  ['Milan', 'ask', 'SEV-Milan', '010001', '67d303bd3905fd38db8b20e0793699870e7fa612eaad5dec358293fd8c0bac1b'],
  [
    'Milan',
    'asvk',
    'SEV-VLEK-Milan',
    '010101',
    'c5e081f59b7efab1fe2f8b505e159704e72f29cab7ef7cf628a05a42439082f5',
  ],
  ['Genoa', 'ark', 'ARK-Genoa', '020000', '4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1'],
  ['Genoa', 'ask', 'SEV-Genoa', '020002', '5464738c1546aed5f2cecf1dc98c5c960a92e8913238a61711bc90ec6e828521'],
  [
    'Genoa',
    'asvk',
    'SEV-VLEK-Genoa',
    '020101',
    '197e610743a917d6b9bb982a5a9226ccc0a15b611be0619e626aca9151457372',
  ],
  ['Turin', 'ark', 'ARK-Turin', '030000', '1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a'],
  ['Turin', 'ask', 'SEV-Turin', '030001', '5b77ef5fe7a7a004fd9032668fba9d0fda22f88c4442069a479636a6ae3b3185'],
  [
    'Turin',
    'asvk',
    'SEV-VLEK-Turin',
    '030101',
    '104e10a8bd060a3c20a434261a57d0588fd65a88915b4f65b08bdecaf8df1a3c',
  ],
] as const

function pinned(generation: AmdGeneration, role: 'ark' | 'ask' | 'asvk'): Uint8Array {
  return amdRoots[generation]?.[role] ?? new Uint8Array()
}

describe('the pinned roots', () => {
  it.each(table)('%s %s is %s, serial %s', (generation, role, name, serial, fingerprint) => {
    const der = pinned(generation, role)
    expect(createHash('sha256').update(der).digest('hex')).toBe(fingerprint)
    const certificate = parseCertificate(der)
    expect(commonName(certificate.subject)).toBe(name)
    expect(certificate.serialNumber).toBe(serial)
  })

  it('are chains', () => {
    expect([...prepareRoots(amdRoots).keys()]).toEqual(['Milan', 'Genoa', 'Turin'])
  })

  it('are refused when one certificate is of another product', () => {
    const { Milan, Genoa } = amdRoots
    if (Milan === undefined || Genoa === undefined) throw new Error('no pinned roots')
    expect(() => prepareRoots({ Milan: { ...Milan, ask: Genoa.ask } })).toThrow(TypeError)
    expect(() => prepareRoots({ Milan: { ...Milan, ask: Milan.asvk } })).toThrow(TypeError)
  })

  it.skipIf(vectors === undefined).each(table)('%s %s equals the published file', (generation, role) => {
    const file = vectorBytes('snp', 'roots', 'der', `${generation.toLowerCase()}-${role}.der`)
    expect(Buffer.from(pinned(generation, role))).toEqual(Buffer.from(file))
  })
})
