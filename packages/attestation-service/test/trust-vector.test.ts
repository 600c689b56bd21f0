import { parseJson, stringifyJson } from '@passport-kbs/protocol'
import { describe, expect, it } from 'vitest'
import { AttestationPolicyError } from '../src/attestation-service.ts'
import { readTrustVector, trustStatus } from '../src/trust-vector.ts'

const read = (json: string) => readTrustVector(parseJson(json))

describe('trust claims of a policy (spec 02 §2.8)', () => {
  it('come in the order of a token, and only those that are set', () => {
    expect(Object.entries(read('{"hardware": 2, "executables": 33, "instance-identity": 0}'))).toEqual([
      ['instance-identity', 0],
      ['executables', 33],
      ['hardware', 2],
    ])
  })

  it.each([
    ['an unknown claim', '{"hardware": 2, "hardwares": 2}'],
    ['a member of JavaScript objects', '{"hardware": 2, "constructor": 2}'],
    ['nothing', '{}'],
    ['258, which Trustee reads as an affirming 2', '{"hardware": 258}'],
    ['128', '{"hardware": 128}'],
    ['-129', '{"hardware": -129}'],
    ['2^64 + 2', '{"hardware": 18446744073709551618}'],
    ['a string', '{"hardware": "2"}'],
    ['null', '{"hardware": null}'],
    ['a boolean', '{"hardware": true}'],
    ['a fraction', '{"hardware": 2.5}'],
  ])('are refused with %s', (_, json) => {
    expect(() => read(json)).toThrow(AttestationPolicyError)
  })

  it.each(['null', '[]', '"x"', '2', '["hardware"]'])('are refused where they are %s', (json) => {
    expect(() => read(json)).toThrow('trust_claims is not an object')
  })

  it('never repeat their values in an error', () => {
    expect(() => read('{"hardware": "secret-of-a-claim"}')).not.toThrow('secret-of-a-claim')
  })
})

describe('the status of a submod', () => {
  it.each([
    ['none', { hardware: 0, configuration: 1, executables: -1 }],
    ['affirming', { hardware: 2, configuration: 31, executables: 0 }],
    ['affirming', { hardware: -2, configuration: -32 }],
    ['warning', { hardware: 2, configuration: 32 }],
    ['warning', { hardware: 95, configuration: -33, executables: -96 }],
    ['contraindicated', { hardware: 2, configuration: 96 }],
    ['contraindicated', { hardware: -97 }],
    ['contraindicated', { hardware: 127, configuration: 2 }],
    ['contraindicated', { hardware: -128, configuration: 2 }],
  ])('is %s for %o: the worst of its tiers', (status, vector) => {
    expect(trustStatus(readTrustVector(parseJson(stringifyJson(vector))))).toBe(status)
  })
})
