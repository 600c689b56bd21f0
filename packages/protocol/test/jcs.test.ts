import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { canonicalJson, JsonDecimal, type JsonValue, jsonObject, parseJson } from '../src/index.ts'

/** RFC 8785; spec 01 §2.6 and appendix A.1. */
describe('canonicalJson', () => {
  it('gives the digest of the generic check of appendix A.1', () => {
    const text = canonicalJson(parseJson('{"b":1,"a":"test","c":{"d":"e"}}'))
    expect(createHash('sha384').update(text).digest('hex')).toBe(
      'e71ce8e70d814ba6639c3612ebee0ff1f76f650f8dbb5e47157e0f3f525cd22c4597480a186427c813ca941da78870c3',
    )
  })

  it('writes the example of RFC 8785 §3.2.2', () => {
    const value = parseJson(String.raw`{
      "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
      "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
      "literals": [null, true, false]
    }`)
    expect(canonicalJson(value)).toBe(
      String.raw`{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
    )
  })

  it('sorts members by UTF-16 code units, as RFC 8785 §3.2.3 shows', () => {
    const value = parseJson(
      String.raw`{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}`,
    )
    expect(Object.values(JSON.parse(canonicalJson(value)))).toHaveLength(7)
    expect([...canonicalJson(value).matchAll(/:"(\w+)/g)].map((match) => match[1])).toEqual([
      'Carriage',
      'One',
      'Control',
      'Latin',
      'Euro',
      'Emoji',
      'Hebrew',
    ])
  })

  it.each([
    ['-0', '0'],
    ['-0.0', '0'],
    ['1.0', '1'],
    ['1e21', '1e+21'],
    ['100000000000000000000', '100000000000000000000'],
    ['9007199254740992', '9007199254740992'],
  ])('writes the number %s as %s', (token, canonical) => {
    expect(canonicalJson(parseJson(token))).toBe(canonical)
  })

  it.each([18446744073709551615n, 9007199254740993n, 10n ** 400n])(
    'refuses the integer %s, which a double would round',
    (integer) => {
      expect(() => canonicalJson(integer)).toThrow(TypeError)
    },
  )

  it('refuses lone surrogates and numbers out of range', () => {
    expect(() => canonicalJson('\ud800')).toThrow(TypeError)
    expect(() => canonicalJson(jsonObject({ '\udc00': 1 }))).toThrow(TypeError)
    expect(() => canonicalJson(new JsonDecimal('1e400'))).toThrow(TypeError)
    expect(() => canonicalJson(Number.NaN)).toThrow(TypeError)
  })

  it('is idempotent and does not depend on the order of members', () => {
    const { value } = fc.letrec<{ value: JsonValue }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.constant(null),
        fc.boolean(),
        fc.maxSafeInteger(),
        fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => new JsonDecimal(JSON.stringify(n))),
        fc.string({ unit: 'grapheme' }),
        fc.array(tie('value'), { maxLength: 4 }),
        fc.dictionary(fc.string({ unit: 'grapheme' }), tie('value'), { maxKeys: 5 }).map(jsonObject),
      ),
    }))
    fc.assert(
      fc.property(value, (sample) => {
        const text = canonicalJson(sample)
        expect(canonicalJson(parseJson(text))).toBe(text)
        expect(canonicalJson(reversed(sample))).toBe(text)
      }),
      { numRuns: 300 },
    )
  })
})

function reversed(value: JsonValue): JsonValue {
  if (Array.isArray(value)) return value.map(reversed)
  if (value === null || typeof value !== 'object' || value instanceof JsonDecimal) return value
  return jsonObject(
    Object.fromEntries(
      Object.entries(value)
        .reverse()
        .map(([name, member]) => [name, reversed(member)]),
    ),
  )
}
