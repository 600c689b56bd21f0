import { parseJson, stringifyJson } from '@passport-kbs/protocol'
import { describe, expect, it } from 'vitest'
import { AttestationPolicyError } from '../src/attestation-service.ts'
import { readExtensions } from '../src/extensions.ts'

const read = (json: string) => stringifyJson(readExtensions(parseJson(json)))
const one = (member: string) => `[{"name": "a", "key": -1, "value": 1, ${member}}]`

describe('extensions of a policy (spec 02 §2.9)', () => {
  it('become members, in order of their names', () => {
    expect(
      read('[{"name":"z","key":-2,"value":[1]},{"name":"a","key":-1,"value":{"b":18446744073709551615}}]'),
    ).toBe('{"a":{"b":18446744073709551615},"z":[1]}')
  })

  it('with the value null are left out', () => {
    expect(read('[{"name":"z","key":-2,"value":null}]')).toBe('{}')
  })

  it.each([
    'ear.status',
    'ear.trustworthiness-vector',
    'ear.appraisal-policy-id',
    'ear.veraison.annotated-evidence',
    'ear.veraison.policy-claims',
    'ear.veraison.key-attestation',
    'ear.passport-kbs.policy',
    'ear.passport-kbs.anything',
  ])('never take the name %s of a member that the service writes', (name) => {
    expect(() => readExtensions(parseJson(`[{"name":"${name}","key":-500,"value":1}]`))).toThrow(
      AttestationPolicyError,
    )
    expect(() => readExtensions(parseJson(`[{"name":"${name}","key":-500,"value":null}]`))).toThrow(
      AttestationPolicyError,
    )
  })

  it('never take the CBOR key of such a member', () => {
    for (const key of [1000, 1001, 1003, -70000]) {
      expect(() => readExtensions(parseJson(`[{"name":"n","key":${key},"value":1}]`))).toThrow('has the key')
    }
  })

  it.each([
    ['the same name twice', '[{"name":"a","key":1,"value":1},{"name":"a","key":2,"value":1}]'],
    ['the same key twice', '[{"name":"a","key":1,"value":1},{"name":"b","key":1,"value":1}]'],
    ['a key beyond 32 bits', '[{"name":"a","key":2147483648,"value":1}]'],
    ['a key that is a string', '[{"name":"a","key":"1","value":1}]'],
    ['no key', '[{"name":"a","value":1}]'],
    ['no value', '[{"name":"a","key":1}]'],
    ['no name', '[{"key":1,"value":1}]'],
    ['an empty name', '[{"name":"","key":1,"value":1}]'],
    ['something else', '["a"]'],
  ])('are refused with %s', (_, json) => {
    expect(() => readExtensions(parseJson(json))).toThrow(AttestationPolicyError)
  })

  it.each(['null', '{}', '"x"'])('are refused where they are %s and not an array', (json) => {
    expect(() => readExtensions(parseJson(json))).toThrow('extensions is not an array')
  })

  it('may have members that nobody knows', () => {
    expect(read(one('"comment": "why"'))).toBe('{"a":1}')
  })
})
