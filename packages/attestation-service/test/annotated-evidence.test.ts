import { jsonObject, parseJson, stringifyJson } from '@passport-kbs/protocol'
import { describe, expect, it } from 'vitest'
import { annotateEvidence } from '../src/annotated-evidence.ts'
import { AttestationPolicyError } from '../src/attestation-service.ts'

const context = {
  tee: 'tdx',
  initDataClaims: jsonObject({ 'aa.toml': 'x' }),
  runtimeDataClaims: jsonObject({ 'additional-evidence': '{}', nonce: 'n' }),
  verboseToken: true,
} as const
const annotate = (json: string, changes = {}) =>
  stringifyJson(
    annotateEvidence(parseJson(json) as ReturnType<typeof jsonObject>, { ...context, ...changes }),
  )

describe('annotated evidence (spec 02 §2.6)', () => {
  it('has init_data and report_data at the top, with what they stand for, and the rest under the TEE', () => {
    expect(
      annotate('{"quote": {"b": 1}, "report_data": "aa", "init_data": "bb", "a": 18446744073709551615}'),
    ).toBe(
      '{"init_data":"bb","init_data_claims":{"aa.toml":"x"},"report_data":"aa",' +
        '"runtime_data_claims":{"additional-evidence":"{}","nonce":"n"},' +
        '"tdx":{"quote":{"b":1},"a":18446744073709551615}}',
    )
  })

  it('shows no runtime data where the evidence carries none, and no init data', () => {
    expect(annotate('{"uuid": "x"}')).toBe('{"tdx":{"uuid":"x"}}')
  })

  it('has null for init data of which only the digest is known', () => {
    expect(annotate('{"init_data": "bb"}', { initDataClaims: null })).toBe(
      '{"init_data":"bb","init_data_claims":null,"tdx":{}}',
    )
  })

  it('leaves out the evidence of devices unless the token is to be verbose', () => {
    expect(annotate('{"report_data": "aa"}', { verboseToken: false })).toBe(
      '{"report_data":"aa","runtime_data_claims":{"nonce":"n"},"tdx":{}}',
    )
  })

  it('keeps numbers as they are', () => {
    expect(annotate('{"a": 1.50, "b": -9223372036854775809}')).toBe(
      '{"tdx":{"a":1.50,"b":-9223372036854775809}}',
    )
  })

  it.each(['init_data', 'report_data'])('is refused where %s is no string', (name) => {
    expect(() => annotate(`{"${name}": 1}`)).toThrow(AttestationPolicyError)
  })
})
