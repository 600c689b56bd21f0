import { describe, expect, it } from 'vitest'
import { fromJs, runRegoTests } from '../../src/index.ts'
import { countingBytes, NOW } from '../support/engine.ts'

const surroundings = { now: NOW, randomBytes: countingBytes }
const policy = `package policy

default allow := false

allow if {
	input.a == 1
	input.b == 2
}

unused if {
	input.c
}
`
const run = (tests: string, options: object = {}) =>
  runRegoTests(
    [
      { file: 'policy.rego', text: policy },
      { file: 'policy_test.rego', text: `package policy_test\n\nimport data.policy\n\n${tests}\n` },
    ],
    { ...surroundings, ...options },
  )

describe('tests in Rego', () => {
  it('are the rules whose names start with test_; true passes, all else fails', () => {
    const { tests } = run(`test_true := true
test_false := false
test_number := 1
test_undefined if input.none
helper if false`)
    expect(tests.map(({ rule, passed, reason }) => [rule.split('.').at(-1), passed, reason])).toEqual([
      ['test_true', true, undefined],
      ['test_false', false, 'is not true'],
      ['test_number', false, 'is not true'],
      ['test_undefined', false, 'is undefined'],
    ])
  })

  it('replace input, data and reference values', () => {
    const { tests } = run(
      `test_input if policy.allow with input as {"a": 1, "b": 2}
test_data if policy.allow with input as data.recorded
test_mock if query_reference_value("x") == 3 with query_reference_value as 3
test_known if query_reference_value("y") == [4]`,
      { data: fromJs({ recorded: { a: 1, b: 2 } }), referenceValues: new Map([['y', fromJs([4])]]) },
    )
    expect(tests.filter(({ passed }) => !passed)).toEqual([])
  })

  it('that fail with an error do not end the others', () => {
    const { tests } = run('test_error if to_number("x") == 1\n\ntest_fine := true')
    expect(tests.map(({ passed }) => passed)).toEqual([false, true])
    expect(tests[0]?.reason).toMatch(/^builtin: /)
  })

  it('tell which lines of the policy no test has run', () => {
    const { coverage, coveredPercent } = run('test_a if not policy.allow with input as {"a": 2}')
    expect(coverage.find(({ file }) => file === 'policy.rego')).toEqual({
      file: 'policy.rego',
      covered: [3, 5, 6],
      notCovered: [7, 10, 11],
    })
    expect(coveredPercent).toBe(50)
  })

  it('cover all when they run all', () => {
    const { coveredPercent } = run(`test_allow if policy.allow with input as {"a": 1, "b": 2}
test_deny if not policy.allow with input as {}
test_unused if policy.unused with input as {"c": 1}`)
    expect(coveredPercent).toBe(100)
  })
})
