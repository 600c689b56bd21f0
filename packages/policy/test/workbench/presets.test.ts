/** What the presets decide for claims that were recorded of every TEE. */
import { describe, expect, it } from 'vitest'
import {
  checkForPurpose,
  compilePolicy,
  decide,
  fromJs,
  type PresetName,
  parseJson,
  presets,
  type Value,
} from '../../src/index.ts'
import { countingBytes, NOW } from '../support/engine.ts'
import { hasVectors, recordedClaims, recordedTees, tokenWith } from './recorded-claims.ts'

const surroundings = { now: NOW, randomBytes: countingBytes }
const request = (plugin: string) =>
  fromJs({ plugin, method: 'GET', 'resource-path': ['a', 'b', 'c'], query: {} })

function allows(preset: PresetName, input: Value, plugin = 'resource'): boolean {
  const policy = compilePolicy([{ file: `${preset}.rego`, text: presets[preset] }])
  return decide('resource', policy, { input, data: request(plugin) }, surroundings) === 'allowed'
}

const names = Object.keys(presets) as PresetName[]

describe.each(names)('the preset %s', (name) => {
  it('has no finding', () => {
    expect(checkForPurpose([{ file: name, text: presets[name] }], { purpose: 'resource' })).toEqual([])
  })

  it('denies other plugins than resource', () => {
    const token = fromJs({ submods: { cpu0: { 'ear.status': 'affirming' } } })
    expect(allows(name, token, 'nebula-ca')).toBe(false)
  })
})

describe.skipIf(!hasVectors).each(recordedTees)('with recorded claims of %s', (tee) => {
  const records = hasVectors ? recordedClaims(tee) : []

  it.each(records)('%s: only deny-all denies an affirming guest', (_name, claims) => {
    const token = tokenWith(tee, claims)
    expect(names.filter((name) => allows(name, token))).toEqual(['affirming', 'allowAll', 'trusteeDefault'])
  })

  it.each(records)('%s: affirming denies every other status', (_name, claims) => {
    for (const status of ['none', 'warning', 'contraindicated']) {
      const token = tokenWith(tee, claims, status)
      expect(allows('affirming', token)).toBe(false)
      expect(allows('allowAll', token)).toBe(true)
      expect(allows('trusteeDefault', token)).toBe(true)
    }
  })
})

describe('sample evidence', () => {
  const evidence = {
    sample: { svn: '1', launch_digest: 'abcde', platform_version: { major: 1, minor: 4 }, debug: false },
    report_data: '',
    runtime_data_claims: null,
  }
  const sample = (status: string) =>
    fromJs({ submods: { cpu0: { 'ear.status': status, 'ear.veraison.annotated-evidence': evidence } } })

  it('is refused by the default of Trustee, and let through by affirming once it is appraised so', () => {
    expect(allows('trusteeDefault', sample('affirming'))).toBe(false)
    expect(allows('affirming', sample('affirming'))).toBe(true)
    expect(allows('affirming', sample('contraindicated'))).toBe(false)
  })
})

describe('affirming', () => {
  it('denies as soon as one device is not', () => {
    const token = (status: unknown) =>
      fromJs({ submods: { cpu0: { 'ear.status': 'affirming' }, gpu0: { 'ear.status': status } } })
    expect(allows('affirming', token('affirming'))).toBe(true)
    expect(allows('affirming', token('warning'))).toBe(false)
    expect(allows('affirming', parseJson('{"submods":{"cpu0":{"ear.status":"affirming"},"gpu0":{}}}'))).toBe(
      false,
    )
  })

  it('denies tokens that say nothing of a CPU', () => {
    for (const text of ['{}', '{"submods":{}}', '{"submods":{"gpu0":{"ear.status":"affirming"}}}'])
      expect(allows('affirming', parseJson(text))).toBe(false)
  })
})
