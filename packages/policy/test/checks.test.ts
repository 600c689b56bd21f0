/** Syntax and static checks: what is refused, and where (spec 05 §3, §4, §7). */
import { describe, expect, it } from 'vitest'
import { checkPolicy, PolicyCompileError, QUERY_REFERENCE_VALUE } from '../src/index.ts'
import { findingsOf, resultOf } from './support/engine.ts'

const rule = (text: string) => `package policy\n${text}`

describe('what the checks refuse, with its place', () => {
  it.each([
    ['no package', 'x := 1', 'syntax@1:1'],
    ['an empty text', '', 'syntax@1:1'],
    ['an unterminated string', rule('x := "a'), 'syntax@2:6'],
    ['text after a rule', rule('x := 1\n}'), 'syntax@3:1'],
    ['an empty body', rule('x if {}'), 'syntax@2:6'],
    ['a body without if', rule('x { true }'), 'dialect@2:3'],
    ['a head without value and body', rule('p[y]'), 'dialect@2:1'],
    ['white space before a bracket', rule('x := input [0]'), 'syntax@2:12'],
    ['an unknown import root', 'package p\nimport foo', 'syntax@2:8'],
    ['two imports of one name', 'package p\nimport data.a\nimport data.b.a', 'shadowing@3:8'],
    [
      'rego.v1 and future.keywords together',
      'package p\nimport rego.v1\nimport future.keywords',
      'shadowing@3:8',
    ],
    ['rego.v1 twice', 'package p\nimport rego.v1\nimport rego.v1', 'shadowing@3:8'],
    ['an unsafe variable', rule('x := y if {\n\tsome y\n\ty > 1\n}'), 'unsafe_variable@3:7'],
    ['a misspelt name', rule('known := ["a"]\nx if input.a == knwon[_]'), 'undefined_name@3:17'],
    ['use before :=', rule('x if {\n\ty == 1\n\ty := 1\n}'), 'unsafe_variable@3:2'],
    ['two := of one name', rule('x if {\n\ty := 1\n\ty := 2\n}'), 'shadowing@4:2'],
    ['an unknown function', rule('x if no_such(1)'), 'unknown_function@2:6'],
    ['a wrong number of arguments', rule('x if count(1, 2, 3)'), 'arity@2:6'],
    ['a mock of other arity', rule('f(a, b) := a\nx if count([]) with count as f'), 'arity@3:16'],
    ['rules that need each other', rule('a if b\nb if a'), 'recursion@2:1'],
    ['a rule that reads its own package', rule('x := data.policy'), 'recursion@2:1'],
    ['a function that calls itself', rule('f(n) := f(n - 1)'), 'recursion@2:1'],
    ['one name as set and value', rule('p contains 1\np := 2'), 'conflicting_rules@3:1'],
    [
      'one name as partial object and value',
      rule('p := {"a": 1}\np[k] := 1 if k := "b"'),
      'conflicting_rules@3:1',
    ],
    ['a rule below a complete rule', rule('p := {"a": 1}\np.b := 2'), 'conflicting_rules@2:1'],
    ['functions of different arity', rule('f(a) := a\nf(a, b) := b'), 'conflicting_rules@3:1'],
    ['two defaults', rule('default x := 1\ndefault x := 2'), 'conflicting_rules@3:1'],
    ['a default with a reference', rule('default x := input.a'), 'bad_default@2:14'],
    ['a default with a call', rule('default x := count([])'), 'bad_default@2:14'],
    ['a rule named input', rule('input := 1'), 'shadowing@2:1'],
    ['a local named data', rule('x if {\n\tdata := 1\n}'), 'shadowing@3:2'],
    ['http.send', rule('x if http.send({})'), 'forbidden_builtin@2:6'],
    ['net.lookup_ip_addr', rule('x if net.lookup_ip_addr("a")'), 'forbidden_builtin@2:6'],
    ['iteration over a scalar', rule('x if some y in 1'), 'syntax@2:16'],
    ['patterns of different length', rule('x if [a, b] = [1, 2, 3]'), 'syntax@2:6'],
    ['NUL and what it hides', 'package p\nx := 1\u0000y := 2', 'syntax@2:7'],
  ])('%s', (_name, text, expected) => {
    expect(findingsOf(text)[0]).toBe(expected)
  })

  it('counts columns in code points', () => {
    expect(findingsOf(rule('x := "😀😀" + ]'))).toEqual(['syntax@2:13'])
  })

  it('reports all errors of a module up to 20, and every module', () => {
    expect(findingsOf(rule('a := ]\nb := 1\nc := }\nd if no_such(1)'))).toEqual(['syntax@2:6', 'syntax@4:6'])
    expect(findingsOf(rule('a if no_such(1)\nb if nor_such(1)\nc := y'))).toHaveLength(3)
    expect(findingsOf(rule('a := ]\n'.repeat(50)))).toHaveLength(20)
  })

  it('shows the source line and names the cure', () => {
    const { errors } = checkPolicy([{ file: 'p.rego', text: rule('allow { true }') }])
    expect(errors[0]).toMatchObject({
      code: 'dialect',
      sourceLine: 'allow { true }',
      location: { file: 'p.rego' },
    })
    expect(errors[0]?.message).toMatch(/put `if` before the brace.*v0/)
  })

  it('never throws from checkPolicy', () => {
    expect(checkPolicy([{ file: 'p', text: '\u0000{' }]).errors).toHaveLength(1)
    expect(() => new PolicyCompileError([])).toThrow(RangeError)
  })

  it('warns about comparing a bare external call', () => {
    const options = { externals: [QUERY_REFERENCE_VALUE] }
    const text = rule(
      'x if input.svn >= query_reference_value("svn")\ny if input.m in query_reference_value("m")',
    )
    const { errors, warnings } = checkPolicy([{ file: 'p', text }], options)
    expect(errors).toEqual([])
    expect(warnings.map(({ code, location }) => `${code}@${location.line}`)).toEqual(['null_comparison@2'])
  })
})

describe('what the grammar accepts', () => {
  it.each([
    ['a byte order mark and CRLF', '\uFEFFpackage policy\r\nx := 1\r\n'],
    [
      'future imports without effect',
      'package policy\nimport future.keywords.if\nimport future.keywords\nx := 1',
    ],
    ['keywords as fields', 'package policy\nx := 1 if not input.default.package.not.if'],
    ['else behind comments and blank lines', 'package policy\nx := 2 if {\n\tfalse\n}\n\n# next\nelse := 1'],
    ['chained bodies', 'package policy\nx := 1 if { false } { true }'],
    ['trailing commas and line breaks', 'package policy\nx := [\n\t1,\n][0]'],
    ['if with one literal', 'package policy\nx := 1 if not false'],
    ['v1 with `=`', 'package policy\ndefault x = 1'],
    ['raw strings over lines', 'package policy\nx := 1 if `a\nb` == "a\\nb"'],
    ['unions in brackets', 'package policy\ny := {1}\nz := {2}\nx := count([y | z, 5][0]) - 1'],
    [
      'references on calls and literals',
      'package policy\nf(a) := {"b": a}\nx := f([1]).b[0] if [1, 2][1] == 2',
    ],
  ])('%s', (_name, text) => {
    expect(resultOf(text.replace(/^\uFEFF?package policy/, ''), {})).toBeDefined()
    expect(findingsOf(text)).toEqual([])
  })

  it('takes comments and blank lines before the package', () => {
    expect(findingsOf('# METADATA\n# title: x\n\n  package policy\nx := 1')).toEqual([])
  })

  it('takes bodies without if, partial sets without contains and identifiers named in, if, every in v0', () => {
    const options = { dialect: 'v0' } as const
    expect(resultOf('p[y] { y = [1, 2][_] }\nx = count(p) { true }', { options })).toBe(2)
    expect(resultOf('in = 3\nx = in + 1 { true }', { options })).toBe(4)
    expect(resultOf('import future.keywords.every\nx { every y in [1] { y == 1 } }', { options })).toBe(true)
    expect(findingsOf('package p\nimport rego.v1\nallow { true }', options)).toEqual(['dialect@3:7'])
  })

  it('offers only what upstream has when told to', () => {
    expect(findingsOf(rule('x := crypto.sha256("a")'), { builtins: 'upstream' })).toEqual([
      'unknown_function@2:6',
    ])
    expect(findingsOf(rule('x := count([1])'), { builtins: 'upstream' })).toEqual([])
  })
})
