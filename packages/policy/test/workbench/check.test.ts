import { describe, expect, it } from 'vitest'
import { checkForPurpose, type Finding, type PolicyPurpose, probablePurpose } from '../../src/index.ts'

function findings(body: string, purpose: PolicyPurpose = 'resource', header = 'package policy\n'): Finding[] {
  return checkForPurpose([{ file: 'p.rego', text: `${header}\n${body}\n` }], { purpose })
}
const codes = (found: readonly Finding[]) => found.map(({ code }) => code)
/** Findings on an `allow` with this body. */
const onBody = (body: string) => findings(`allow if {\n\t${body}\n}`)
const evidence = 'input.submods.cpu0["ear.veraison.annotated-evidence"]'

describe('an error', () => {
  it('has line, column, source line and remedy', () => {
    expect(findings('allow if y == 1')).toMatchObject([
      {
        severity: 'error',
        code: 'undefined_name',
        location: { file: 'p.rego', line: 3, column: 10 },
        sourceLine: 'allow if y == 1',
        remedy: expect.stringMatching(/define a rule/),
      },
    ])
  })

  it('hides the warnings, which may be its consequences', () => {
    expect(codes(findings('other if y == 1'))).toEqual(['undefined_name'])
  })
})

describe('a path that no claims have', () => {
  it.each([
    [`${evidence}.snp.measurment == "x"`, 'measurment', 'measurement'],
    [`${evidence}.tdx.quote.body.mrtd`, 'mrtd', 'mr_td'],
    ['some s in input.submods; s["ear.statuss"] == "affirming"', 'ear.statuss', 'ear.status'],
    [`e := ${evidence}; e.csv.polcy.nodbg`, 'polcy', 'policy'],
    [`every l in ${evidence}.tdx.uefi_event_logs { l.typename == "x" }`, 'typename', 'type_name'],
    ['count([s | some s in input.submods; s["ear.staus"] == "x"]) > 0', 'ear.staus', 'ear.status'],
    ['not input.submods.cpu0["ear.stats"]', 'ear.stats', 'ear.status'],
    [`x := {m: 1 | m := ${evidence}.sgx.body.mrenclave}; count(x) == 1`, 'mrenclave', 'mr_enclave'],
  ])('is warned about, in %s', (body, unknown, near) => {
    const found = onBody(body)
    expect(codes(found)).toEqual(['unknown_claim'])
    expect(found[0]?.message).toContain(JSON.stringify(unknown))
    expect(found[0]?.message).toContain(`did you mean ${JSON.stringify(near)}?`)
  })

  it('is found behind a rule that stands for a part of the input', () => {
    const found = findings(`evidence := ${evidence}\n\nallow if evidence.snp.chipid`)
    expect(codes(found)).toEqual(['unknown_claim'])
  })

  it('is not warned about where it depends on a variable, or on an extension of NVIDIA', () => {
    expect(onBody('some name; input.submods[name]["ear.status"] == "affirming"')).toEqual([])
    expect(onBody(`${evidence}.nvidia["x-nvidia-anything"]`)).toEqual([])
  })

  it('is not warned about where `with` replaces the input', () => {
    expect(onBody('input.whatever with input as {"whatever": 1}')).toEqual([])
  })

  it('of attestation policies is looked up in annotated evidence', () => {
    const claims = 'trust_claims := {"hardware": 2} if'
    expect(findings(`${claims} input.snp.measurement == "x"`, 'attestation')).toEqual([])
    expect(codes(findings(`${claims} input.submods`, 'attestation'))).toEqual(['unknown_claim'])
    expect(codes(findings(`${claims} input.snp.report_data == "x"`, 'attestation'))).toEqual([
      'unknown_claim',
    ])
  })
})

describe('a policy without the rule that decides', () => {
  it.each([
    ['resource', 'allow'],
    ['attestation', 'trust_claims'],
  ] as const)('for %s is warned about', (purpose, rule) => {
    const [found, ...more] = findings('other := 1', purpose)
    expect(found).toMatchObject({ code: 'missing_rule', severity: 'warning' })
    expect(found?.message).toContain(`data.policy.${rule}`)
    expect(more).toEqual([])
  })

  it('because of its package is told so', () => {
    expect(codes(findings('allow := true', 'resource', 'package mine\n'))).toEqual(['package_name'])
  })

  it('because it is a function is warned about', () => {
    expect(codes(findings('allow(x) if x == 1'))).toEqual(['missing_rule'])
  })
})

describe('a comparison with a reference value that may be unknown', () => {
  const claims = (body: string) =>
    findings(`trust_claims := {"hardware": 2} if {\n\t${body}\n}`, 'attestation')

  it.each(['==', '!=', '<', '<=', '>', '>='])('by %s is warned about', (operator) => {
    expect(codes(claims(`input.sample.svn ${operator} query_reference_value("svn")`))).toEqual([
      'null_comparison',
    ])
    expect(codes(claims(`v := query_reference_value("svn"); input.sample.svn ${operator} v`))).toEqual([
      'null_comparison',
    ])
  })

  it('is fine with `in`, after `!= null`, and after a type check', () => {
    expect(claims('input.sample.svn in query_reference_value("svn")')).toEqual([])
    expect(claims('v := query_reference_value("svn"); v != null; input.sample.svn == v')).toEqual([])
    expect(claims('v := query_reference_value("n"); is_number(v); input.snp.policy_abi_major >= v')).toEqual(
      [],
    )
  })

  it('is warned about by name where the registered ones are known', () => {
    const text =
      'package policy\n\ntrust_claims := {"hardware": 2} if input.tpm.pcr11 in query_reference_value("a")\n'
    const known = (names: string[]) =>
      checkForPurpose([{ file: 'p', text }], { purpose: 'attestation', referenceValues: new Set(names) })
    expect(known(['a'])).toEqual([])
    expect(codes(known(['b']))).toEqual(['unknown_reference_value'])
  })
})

describe('a body that never holds', () => {
  it.each([
    ['false', 'it is false'],
    ['1 == 2', 'compares constants'],
    ['"a" > "b"', 'compares constants'],
    ['not true', 'denies what is always true'],
    [`${evidence}.snp.policy_abi_major == "1"`, 'number, never string'],
    [`${evidence}["az-snp-vtpm"].policy_debug_allowed == false`, 'string, never boolean'],
    [`${evidence}.snp.policy_abi_major in ["1", "2"]`, 'no member of the collection is'],
    ['data.plugin in []', 'is empty'],
    [`"a" in ${evidence}.snp.measurement`, 'has no members'],
    ['some x in data.plugin; x == "a"', 'has no members'],
    ['data["resource-path"] == "a/b/c"', 'array, never string'],
    ['data.plugn == "resource"', 'neither a rule nor the service provides'],
    ['data.reference.values["x"]', 'neither a rule nor the service provides'],
    [`${evidence}.snp.measurement == "a"; ${evidence}.snp.measurement == "b"`, 'two different values'],
    [`${evidence}.snp.measurement; ${evidence}.tdx.quote`, 'claims of both "snp" and "tdx"'],
  ])('is warned about: %s', (body, reason) => {
    const found = onBody(body)
    expect(codes(found)).toEqual(['never_holds'])
    expect(found[0]?.message).toContain(reason)
  })

  it('is found through rules and functions that never have a value', () => {
    const found = findings('dead if 1 == 2\n\nf(x) := x if dead\n\nallow if f(1) == 1')
    expect(found.map(({ code, location }) => [code, location.line])).toEqual([
      ['never_holds', 3],
      ['never_holds', 5],
      ['never_holds', 7],
    ])
  })

  it('is not suspected of what may hold', () => {
    expect(onBody('input.submods[a]["ear.status"] == "x"; input.submods[b]["ear.status"] == "y"')).toEqual([])
    expect(onBody(`not ${evidence}.snp; ${evidence}.tdx`)).toEqual([])
    expect(findings('default dead := 1\n\ndead := 2 if 1 == 2\n\nallow if dead == 1').length).toBe(1)
    expect(onBody('data.query.x == "1"')).toEqual([])
    expect(onBody('data["resource-path"][0] == "default"')).toEqual([])
    expect(onBody('input.aud == "me"')).toEqual([])
  })
})

describe('a finding', () => {
  it('is at the place of the expression, once', () => {
    const found = onBody(`1 == 1; ${evidence}.snp.measurment == ${evidence}.snp.measurment`)
    expect(found).toHaveLength(1)
    expect(found[0]?.location).toMatchObject({ line: 4, column: 10 })
  })
})

describe('the purpose of a text', () => {
  it('shows in the rules and functions that it names', () => {
    expect(probablePurpose('package policy\nallow := true')).toBe('resource')
    expect(probablePurpose('package policy\ntrust_claims := {}')).toBe('attestation')
  })
})

describe('a policy of thousands of rules', () => {
  const rules = (rule: (i: number) => string, last: string) =>
    `${Array.from({ length: 9_000 }, (_, i) => rule(i)).join('\n')}\n${last}\n`

  it.each([
    ['that need each other', rules((i) => `r${i} if r${i + 1}`, 'r9000 if 1 == 2\nallow if r0')],
    [
      'that stand for each other',
      rules((i) => `r${i} := r${i + 1}.a`, 'r9000 := input.submods\nallow if r0'),
    ],
    ['that are all wrong', rules((i) => `allow if input.x${i} == 1`, '')],
  ])('%s is checked in bounded time, with a bounded answer', (_name, body) => {
    expect(findings(body).length).toBeLessThanOrEqual(200)
  })
})
