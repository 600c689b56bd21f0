/** Spec 05 §13: a secret is released only where the engine gives exactly `true` for `data.policy.allow`. */
import { compilePolicy, PolicyError, parseJson, toJsonText } from '@passport-kbs/policy'
import { decodeBase64UrlNoPad } from '@passport-kbs/protocol'
import { describe, expect, it } from 'vitest'
import { resourcePolicyKey } from '../src/resource-policy.ts'
import { affirmingClaims, opened, openTestKbs, passport, type TestKbs, utf8 } from './fixtures.ts'

const secret = 'what only the right guest may have'
const path = '/kbs/v0/resource/a/b/c'
const runs = 400

/** Random choices that are the same in every run (mulberry32). */
function choicesOf(seed: number) {
  let state = seed
  const next = (bound: number) => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) % bound
  }
  return { next, of: <T>(items: readonly T[]): T => items[next(items.length)] as T }
}

type Choices = ReturnType<typeof choicesOf>

const CLAIMS = [true, false, null, 0, 1, -1, '', 'true', [], [true], {}, { a: true }, 1e300]
const NOT_QUITE_TRUE = [
  'false',
  'null',
  '0',
  '1',
  '"true"',
  '[true]',
  '{true}',
  '{"allow": true}',
  '[]',
  '""',
]
const FAILING = [
  '1 / 0',
  'to_number("x")',
  'count(true)',
  'regex.match("(", "a")',
  'numbers.range(1, 99999999)',
]

function term(choices: Choices, depth: number): string {
  const sub = () => term(choices, depth - 1)
  switch (choices.next(depth > 0 ? 14 : 7)) {
    case 0:
    case 1:
      return 'true'
    case 2:
      return choices.of(NOT_QUITE_TRUE)
    case 3:
      return choices.of(['input.x', 'input.y', 'input.x.a', 'input.x[_]', 'input.missing', 'input'])
    case 4:
      return choices.of([
        'data.method',
        'data.plugin',
        'data["resource-path"]',
        'data.query.v',
        'data.policy.q',
      ])
    case 5:
      return choices.next(4) === 0 ? choices.of(FAILING) : 'input.x'
    case 6:
      return choices.of(['q', 'unknown', 'data.policy.allow', 'http.send({})'])
    case 7:
      return `(${sub()} ${choices.of(['==', '!=', '<', '>=', '+', '&'])} ${sub()})`
    case 8:
      return `(${sub()} in [${sub()}, ${sub()}])`
    case 9:
      return `[y | y := ${sub()}][0]`
    case 10:
      return `{"a": ${sub()}}.a`
    case 11:
      return `count([${sub()}])`
    case 12:
      return `object.get({"k": ${sub()}}, "${choices.of(['k', 'l'])}", ${sub()})`
    default:
      return `is_boolean(${sub()})`
  }
}

function literal(choices: Choices): string {
  const t = term(choices, 2)
  return choices.of([t, t, `not ${t}`, `every v in [${t}] { v }`, `some v in [${t}]; v`, `z := ${t}`])
}

function rule(choices: Choices): string {
  const t = term(choices, 2)
  return choices.of([
    `allow := ${t}`,
    `allow := ${t} if { ${literal(choices)} }`,
    `allow if { ${literal(choices)}; ${literal(choices)} }`,
    `allow if ${literal(choices)}`,
    `allow := false if { ${literal(choices)} } else := ${t}`,
    `default allow := ${choices.of(['true', 'false', 'false', 'null', '1', '"true"'])}`,
    'allow contains true',
    'allow.really := true',
    'allow(_) := true',
    'allowed := true',
    'allow {',
  ])
}

function policyText(choices: Choices): string {
  const rules = Array.from({ length: 1 + choices.next(3) }, () => rule(choices))
  const name = choices.of(['policy', 'policy', 'policy', 'policy', 'policy', 'other', 'policy.allow'])
  return `package ${name}\n${rules.join('\n')}\n${choices.of(['q := true', 'q if input.y', 'q := 5'])}\n`
}

/** What the engine says by itself of the same claims: `true`, another value, no value, or the kind of the failure. */
function verdictOf(text: string, claims: string): string {
  try {
    const evaluation = compilePolicy([{ file: resourcePolicyKey, text }]).evaluate({
      rules: ['data.policy.allow'],
      input: parseJson(claims),
      data: parseJson('{"plugin":"resource","method":"GET","resource-path":["a","b","c"],"query":{"v":"1"}}'),
      now: 0n,
      randomBytes: (size) => new Uint8Array(size),
    })
    const result = evaluation.kind === 'done' ? evaluation.results.get('data.policy.allow') : undefined
    return result?.kind === 'value' ? toJsonText(result.value) : (result?.kind ?? evaluation.kind)
  } catch (error) {
    if (error instanceof PolicyError) return error.name
    throw error
  }
}

/** Asks for the secret under a policy that lies in the store, as if another replica had put it there. */
async function ask(kbs: TestKbs, text: string, authorization: string): Promise<Response> {
  await kbs.storage.namespace('kbs').set(resourcePolicyKey, utf8(text))
  return kbs.request('GET', `${path}?v=1`, { authorization })
}

describe('for random policies and claims', () => {
  it('a secret is released exactly where the engine gives `true`', async () => {
    const kbs = await openTestKbs()
    await kbs.storage.namespace('repository').set('a/b/c', utf8(secret))
    const choices = choicesOf(20_260_821)
    const seen = new Map<string, number>()
    for (let run = 0; run < runs; run++) {
      const text = policyText(choices)
      const claims = { ...affirmingClaims(), x: choices.of(CLAIMS), y: choices.of(CLAIMS) }
      const { authorization } = await passport({ claims })
      const payload = Buffer.from(decodeBase64UrlNoPad(authorization.split('.')[1] ?? '')).toString()
      const verdict = verdictOf(text, payload)
      seen.set(verdict, (seen.get(verdict) ?? 0) + 1)
      const answer = await ask(kbs, text, authorization)
      expect(answer.status === 200, `${verdict} of ${text}`).toBe(verdict === 'true')
      if (answer.status === 200) expect(await opened(answer)).toEqual(utf8(secret))
      else expect(await answer.text()).not.toContain('ciphertext')
    }
    // the generator must reach every kind of outcome, or the property says little
    const outcomes = [
      'true',
      'false',
      '1',
      'undefined',
      'missing',
      'PolicyCompileError',
      'PolicyEvaluationError',
    ]
    expect([...seen.keys()]).toEqual(expect.arrayContaining(outcomes))
    expect(seen.get('true')).toBeGreaterThan(20)
  })
})
