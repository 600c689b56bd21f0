import { describe, expect, it } from 'vitest'
import {
  diffDecisions,
  fromJs,
  inputOfRecord,
  parseJson,
  readRecord,
  toJs,
  UnusableRecord,
} from '../../src/index.ts'
import { countingBytes, NOW } from '../support/engine.ts'

const surroundings = { now: NOW, randomBytes: countingBytes }
const source = (body: string) => ({ file: 'p.rego', text: `package policy\n\n${body}\n` })
const record = (name: string, input: unknown, decided?: string) => ({ name, input: fromJs(input), decided })

describe('a comparison of decisions', () => {
  const records = [record('one', { a: 1 }), record('two', { a: 2 })]

  it('names those that would change, and how', () => {
    const diff = diffDecisions(
      'resource',
      { old: source('allow if input.a'), new: source('default allow := false\n\nallow if input.a == 1') },
      records,
      surroundings,
    )
    expect(diff).toEqual({
      compared: 2,
      changes: [{ name: 'two', before: 'allowed', after: 'denied (data.policy.allow is false)' }],
      incomparable: [],
    })
  })

  it('uses what was recorded where there is no old policy', () => {
    const diff = diffDecisions(
      'resource',
      { new: source('allow if input.a == 1') },
      [record('one', { a: 1 }, 'denied'), record('two', { a: 2 }, 'denied'), record('three', {})],
      surroundings,
    )
    expect(diff.changes).toEqual([{ name: 'one', before: 'denied', after: 'allowed' }])
    expect(diff.incomparable).toEqual(['three'])
  })

  it('shows failures and results that are not booleans as denials', () => {
    const after = (body: string) =>
      diffDecisions(
        'resource',
        { old: source('allow := true'), new: source(body) },
        records.slice(0, 1),
        surroundings,
      ).changes[0]?.after
    expect(after('allow := "yes"')).toBe('denied (data.policy.allow is not a boolean)')
    expect(after('allow if input.none')).toBe('denied (data.policy.allow is undefined)')
    expect(after('other := 1')).toBe('denied (there is no data.policy.allow)')
    expect(after('allow if to_number("x")')).toBe('failed (builtin)')
  })

  it('of appraisals compares the trust claims, with recorded reference values', () => {
    const policy = (value: number) =>
      source(`trust_claims := {"hardware": ${value}} if input.sample.svn in query_reference_value("svn")`)
    const decisions = [
      {
        ...record('guest', { sample: { svn: '1' } }),
        referenceValues: new Map([['svn', fromJs(['1'])]]),
      },
    ]
    const diff = diffDecisions('attestation', { old: policy(2), new: policy(32) }, decisions, surroundings)
    expect(diff.changes).toEqual([{ name: 'guest', before: 'hardware 2', after: 'hardware 32' }])
  })
})

describe('a record', () => {
  const evidence = { sample: { svn: '1' }, report_data: 'aa' }
  const payload = { submods: { cpu0: { 'ear.veraison.annotated-evidence': evidence } } }

  it('may be a token, its answer, or its payload', () => {
    const token = `e30.${Buffer.from(JSON.stringify(payload)).toString('base64url')}.c2ln`
    for (const text of [token, `${token}\n`, JSON.stringify({ token }), JSON.stringify(payload)]) {
      expect(toJs(readRecord(text))).toEqual(payload)
    }
  })

  it('is the whole payload for a resource policy, the evidence of a submod for an attestation policy', () => {
    expect(toJs(inputOfRecord(fromJs(payload), 'resource'))).toEqual(payload)
    expect(toJs(inputOfRecord(fromJs(payload), 'attestation'))).toEqual(evidence)
    expect(() => inputOfRecord(fromJs(payload), 'attestation', { submod: 'gpu0' })).toThrow(UnusableRecord)
  })

  it('of a verifier has report data and init data moved to the top, as the service does', () => {
    const claims = parseJson('{"report_data":"aa","init_data":"bb","measurement":"cc"}')
    expect(toJs(inputOfRecord(claims, 'attestation', { tee: 'snp' }))).toEqual({
      snp: { measurement: 'cc' },
      report_data: 'aa',
      runtime_data_claims: null,
      init_data: 'bb',
      init_data_claims: null,
    })
  })

  it.each(['[]', '"text"', '{"measurement":"cc"}'])('cannot be %s', (text) => {
    expect(() => inputOfRecord(parseJson(text), 'attestation')).toThrow(UnusableRecord)
  })
})
