/** Properties: the order of rules, the names of variables and the cut into modules do not matter. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  compareValues,
  compilePolicy,
  equalValues,
  fromJs,
  PolicyCompileError,
  PolicyError,
  parseJson,
  presets,
  toJsonText,
} from '../src/index.ts'
import { countingBytes, NOW } from './support/engine.ts'

const json = fc.jsonValue({ maxDepth: 4 })

/** Rules that can be shuffled: each defines a name of its own or adds to a partial rule. */
const RULES = [
  'default allow := false',
  'allow if { count(bad) == 0; total > 3 }',
  'bad contains k if { some k, v in input; not good(v) }',
  'good(v) if is_number(v)',
  'good(v) if v == "fine"',
  'total := sum([v | some v in input; is_number(v)])',
  'shape[type_name(v)] contains k if some k, v in input',
  'grade := "high" if total > 10\nelse := "low"',
  'pairs := {[a, b] | some a, x in input; some b, y in input; x == y; a < b}',
]
const NAMES = ['allow', 'bad', 'total', 'shape', 'grade', 'pairs']

const input = fc.dictionary(
  fc.constantFrom('a', 'b', 'c', 'd', 'e'),
  fc.oneof(fc.integer({ min: -3, max: 9 }), fc.constant('fine'), fc.constant(null)),
)

function results(texts: readonly string[], x: unknown): string {
  const policy = compilePolicy(texts.map((text, i) => ({ file: `m${i}`, text })))
  const rules = NAMES.map((name) => `data.policy.${name}`)
  const evaluation = policy.evaluate({ rules, input: fromJs(x), now: NOW, randomBytes: countingBytes })
  if (evaluation.kind !== 'done') throw new Error('no external builtin is declared')
  return [...evaluation.results]
    .map(([name, r]) => `${name}=${r.kind === 'value' ? toJsonText(r.value) : r.kind}`)
    .join('\n')
}

const inOnePackage = (rules: readonly string[]) => `package policy\n${rules.join('\n')}`

describe('the result', () => {
  it('does not depend on the order of the rules', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(RULES, { minLength: RULES.length }), input, (shuffled, x) => {
        expect(results([inOnePackage(shuffled)], x)).toBe(results([inOnePackage(RULES)], x))
      }),
      { numRuns: 100 },
    )
  })

  it('does not depend on how the rules are cut into modules', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: RULES.length - 1 }), input, (cut, x) => {
        const halves = [inOnePackage(RULES.slice(0, cut)), inOnePackage(RULES.slice(cut))]
        expect(results(halves, x)).toBe(results([inOnePackage(RULES)], x))
      }),
      { numRuns: 50 },
    )
  })

  it('does not depend on the names of variables', () => {
    const renamed = RULES.map((rule) => rule.replace(/\bv\b/g, 'value_1').replace(/\bk\b/g, '_key'))
    fc.assert(
      fc.property(input, (x) => {
        expect(results([inOnePackage(renamed)], x)).toBe(results([inOnePackage(RULES)], x))
      }),
    )
  })

  it('does not depend on the order in which input members come', () => {
    fc.assert(
      fc.property(input, (x) => {
        const reversed = Object.fromEntries(Object.entries(x).reverse())
        expect(results([inOnePackage(RULES)], reversed)).toBe(results([inOnePackage(RULES)], x))
      }),
    )
  })
})

describe('values', () => {
  it('survive JSON', () => {
    fc.assert(
      fc.property(json, (x) => {
        expect(equalValues(parseJson(toJsonText(fromJs(x))), fromJs(x))).toBe(true)
      }),
    )
  })

  it('are totally ordered, and order agrees with equality', () => {
    fc.assert(
      fc.property(json, json, json, (x, y, z) => {
        const [a, b, c] = [fromJs(x), fromJs(y), fromJs(z)]
        expect(Math.sign(compareValues(a, b)) + Math.sign(compareValues(b, a))).toBe(0)
        expect(compareValues(a, b) === 0).toBe(equalValues(a, b))
        if (compareValues(a, b) <= 0 && compareValues(b, c) <= 0)
          expect(compareValues(a, c)).toBeLessThanOrEqual(0)
      }),
    )
  })
})

describe('the parser', () => {
  const fragments = fc.constantFrom(
    'package p',
    '\n',
    ' ',
    'x',
    ':=',
    '=',
    'if',
    '{',
    '}',
    '[',
    ']',
    '(',
    ')',
    '"',
    '`',
    '$"',
    '|',
    '&',
    '-',
    '1',
    '1e9',
    '.',
    ',',
    ';',
    ':',
    'some',
    'in',
    'every',
    'not',
    'else',
    'default',
    'with',
    'as',
    'import',
    'data',
    'input',
    'contains',
    'set(',
    '_',
    '#',
    '\\',
    '\u0000',
    '😀',
    '\ud800',
    'null',
    'true',
  )

  it('turns any text into a policy or a PolicyCompileError, and nothing else', () => {
    fc.assert(
      fc.property(
        fc.array(fragments, { maxLength: 40 }),
        fc.constantFrom('v0' as const, 'v1' as const),
        (parts, dialect) => {
          try {
            compilePolicy([{ file: 'p', text: `package p\n${parts.join('')}` }], { dialect })
          } catch (error) {
            expect(error).toBeInstanceOf(PolicyCompileError)
          }
        },
      ),
      { numRuns: 3_000 },
    )
  })
})

describe('release', () => {
  it('happens only when the value is exactly true', () => {
    const body = fc.constantFrom(
      'input.a',
      'not input.a',
      'count(input) > 0',
      '1 / input.a == 1',
      'input.a[_] == 1',
      'every v in input.a { v }',
      'false',
      'input',
    )
    fc.assert(
      fc.property(
        fc.array(body, { minLength: 1, maxLength: 3 }),
        json,
        fc.constantFrom('true', '"true"', '1', 'input.v'),
        (literals, x, value) => {
          const text = `package policy\nallow := ${value} if {\n${literals.join('\n')}\n}`
          let released = false
          try {
            const evaluation = compilePolicy([{ file: 'p', text }]).evaluate({
              rules: ['data.policy.allow'],
              input: fromJs(x),
              now: NOW,
              randomBytes: countingBytes,
              limits: { steps: 1_000 },
            })
            const result =
              evaluation.kind === 'done' ? evaluation.results.get('data.policy.allow') : undefined
            released = result?.kind === 'value' && result.value === true
          } catch (error) {
            expect(error).toBeInstanceOf(PolicyError)
          }
          if (released) expect(value === 'true' || value === 'input.v').toBe(true)
        },
      ),
    )
  })
})

describe('presets', () => {
  const data = fromJs({ plugin: 'resource', 'resource-path': ['r', 't', 'k'], query: {} })
  const submods = (...statuses: (string | undefined)[]) => ({
    submods: Object.fromEntries(
      statuses.map((status, i) => [
        `cpu${i}`,
        { 'ear.status': status, 'ear.veraison.annotated-evidence': {} },
      ]),
    ),
  })
  const allows = (name: keyof typeof presets, x: unknown, plugin = data) => {
    const policy = compilePolicy([{ file: name, text: presets[name] }])
    const evaluation = policy.evaluate({
      rules: ['data.policy.allow'],
      input: fromJs(x),
      data: plugin,
      now: NOW,
      randomBytes: countingBytes,
    })
    const result = evaluation.kind === 'done' ? evaluation.results.get('data.policy.allow') : undefined
    return result?.kind === 'value' ? result.value : undefined
  }

  it('deny all, or allow every valid token for resources', () => {
    expect(allows('denyAll', submods('affirming'))).toBe(false)
    expect(allows('allowAll', {})).toBe(true)
    expect(allows('allowAll', {}, fromJs({ plugin: 'nebula-ca' }))).toBe(false)
  })

  it('affirming: every submodule affirming, and a CPU among them', () => {
    expect(allows('affirming', submods('affirming', 'affirming'))).toBe(true)
    for (const x of [
      submods('warning'),
      submods('affirming', 'none'),
      submods('affirming', undefined),
      submods(),
      {},
      { submods: { gpu0: { 'ear.status': 'affirming' } } },
    ]) {
      expect(allows('affirming', x)).toBe(false)
    }
  })

  it('trusteeDefault: anything but the sample TEE', () => {
    expect(allows('trusteeDefault', submods('contraindicated'))).toBe(true)
    expect(
      allows('trusteeDefault', {
        submods: { cpu0: { 'ear.veraison.annotated-evidence': { sample: { svn: 1 } } } },
      }),
    ).toBe(false)
    expect(allows('trusteeDefault', {}, fromJs({ plugin: 'other' }))).toBe(false)
  })
})
