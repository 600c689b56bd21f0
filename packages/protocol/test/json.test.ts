import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  JsonDecimal,
  JsonSyntaxError,
  type JsonValue,
  jsonObject,
  parseJson,
  stringifyJson,
} from '../src/index.ts'

/** Spec 03 §2.4.1-2. */
describe('parseJson', () => {
  it.each([
    ['null', null],
    [' \t\r\n true ', true],
    ['false', false],
    ['0', 0],
    ['-12', -12],
    ['999999999999999', 999999999999999],
    ['1000000000000000', 1000000000000000],
    ['9007199254740991', 9007199254740991],
    ['9007199254740992', 9007199254740992n],
    ['18446744073709551615', 18446744073709551615n],
    ['-9223372036854775808', -9223372036854775808n],
    ['""', ''],
    ['"a\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9"', 'a"\\/\b\f\n\r\tAé'],
    ['"\\ud83d\\ude00 😀"', '😀 😀'],
    ['[]', []],
    ['[1,[2,"x"],{}]', [1, [2, 'x'], jsonObject({})]],
  ] as [string, JsonValue][])('reads %j', (text, value) => {
    expect(parseJson(text)).toEqual(value)
    expect(parseJson(new TextEncoder().encode(text))).toEqual(value)
  })

  it.each(['1.0', '0e0', '-0', '1E+2', '-0.5', '1e400'])('keeps %s as it is written', (text) => {
    const value = parseJson(text)
    expect(value).toBeInstanceOf(JsonDecimal)
    expect(stringifyJson(value)).toBe(text)
  })

  it('makes objects without a prototype, so that no member name is special', () => {
    const value = parseJson('{"__proto__":1,"constructor":2,"toString":3}') as Record<string, JsonValue>
    expect(Object.getPrototypeOf(value)).toBeNull()
    expect(Object.entries(value)).toEqual([
      ['__proto__', 1],
      ['constructor', 2],
      ['toString', 3],
    ])
  })

  it.each([
    ['{"a":1,"a":1}', 'duplicate member name'],
    ['{"a":1,"\\u0061":2}', 'duplicate member name'],
    ['{"__proto__":1,"__proto__":2}', 'duplicate member name'],
    ['[{"x":{"b":1,"b":2}}]', 'duplicate member name'],
    ['1 2', 'content after the value'],
    ['{} x', 'content after the value'],
    ['01', 'content after the value'],
    ['[00]', '"," or closing bracket expected'],
    ['', 'unexpected end'],
    ['[1', 'unexpected end'],
    ['{"a":', 'unexpected end'],
    ['"abc', 'unexpected end'],
    ['[1,]', 'value expected'],
    ['{"a":1,}', 'member name expected'],
    ['{a:1}', 'member name expected'],
    ['{"a" 1}', '":" expected'],
    ['[1 2]', '"," or closing bracket expected'],
    ['NaN', 'value expected'],
    ['Infinity', 'value expected'],
    ['-Infinity', 'digit expected'],
    ['nul', 'value expected'],
    ['+1', 'value expected'],
    ['.5', 'value expected'],
    ['1.', 'digit expected'],
    ['1e', 'digit expected'],
    ['-', 'digit expected'],
    ['"\\x41"', 'unknown escape'],
    ['"\\constructor"', 'unknown escape'],
    ['"\\u12g4"', 'four hexadecimal digits expected'],
    ['"\\u+123"', 'four hexadecimal digits expected'],
    ['"a\nb"', 'control character in a string'],
    ['"\u0000"', 'control character in a string'],
    ['"\\ud83d"', 'lone surrogate'],
    ['"\\ude00\\ud83d"', 'lone surrogate'],
    ['"\ud83d"', 'lone surrogate'],
    ['"\ud83d\\ude00"', 'lone surrogate'],
    ['{"\\udc00":1}', 'lone surrogate'],
    ['\ufeff{}', 'value expected'],
    ['\u00a01', 'value expected'],
    ['/**/1', 'value expected'],
    ["'a'", 'value expected'],
  ])('refuses %j: %s', (text, reason) => {
    expect(thrown(() => parseJson(text)).reason).toBe(reason)
  })

  it('accepts 32 levels and refuses 33, unless told otherwise', () => {
    const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels)
    expect(() => parseJson(nested(32))).not.toThrow()
    expect(thrown(() => parseJson(nested(33))).reason).toBe('nested too deeply')
    expect(() => parseJson(nested(33), { maxDepth: 33 })).not.toThrow()
    expect(thrown(() => parseJson('{"a":[]}', { maxDepth: 1 })).reason).toBe('nested too deeply')
    expect(thrown(() => parseJson('['.repeat(1e6), { maxDepth: 1e9 })).reason).toBe('nested too deeply')
    expect(() => parseJson(`[${'[],'.repeat(1000)}1]`)).not.toThrow()
  })

  it('refuses bytes that are not UTF-8, and a byte order mark', () => {
    expect(thrown(() => parseJson(Uint8Array.of(0x22, 0xff, 0x22))).reason).toBe('not UTF-8')
    expect(thrown(() => parseJson(Uint8Array.of(0x22, 0xed, 0xa0, 0x80, 0x22))).reason).toBe('not UTF-8')
    expect(thrown(() => parseJson(Uint8Array.of(0xef, 0xbb, 0xbf, 0x31))).reason).toBe('value expected')
  })

  it('counts bytes, not characters, against the size limit', () => {
    expect(parseJson('"é"', { maxBytes: 4 })).toBe('é')
    expect(thrown(() => parseJson('"é"', { maxBytes: 3 })).reason).toBe('text too large')
    expect(thrown(() => parseJson(new Uint8Array(4), { maxBytes: 3 })).reason).toBe('text too large')
  })

  it('refuses absurdly long numbers, which would be slow to convert', () => {
    expect(parseJson('9'.repeat(1024))).toBeTypeOf('bigint')
    expect(thrown(() => parseJson('9'.repeat(1025))).reason).toBe('number too long')
  })

  it('never repeats the text in its message', () => {
    expect(thrown(() => parseJson('{"secret": hunter2}')).message).not.toMatch(/hunter2|secret/)
  })

  it('gives a value or a JsonSyntaxError for any text', () => {
    const alphabet = fc.constantFrom(...'[]{}",:\\u0123e.+-tfnal \n', '\ud800', 'é')
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          fc.array(alphabet).map((a) => a.join('')),
        ),
        (text) => {
          const mine = outcome(() => parseJson(text))
          if (mine instanceof Error) expect(mine).toBeInstanceOf(JsonSyntaxError)
          else expect(() => JSON.parse(text)).not.toThrow()
        },
      ),
      { numRuns: 500 },
    )
  })

  it('reads what JSON.stringify writes as JSON.parse does', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6, noUnicodeString: false } as never), (text) => {
        if (!text.isWellFormed() || /\\ud[89a-f]/i.test(text)) return
        expect(plain(parseJson(text))).toEqual(JSON.parse(text))
      }),
      { numRuns: 300 },
    )
  })

  it('is the inverse of stringifyJson', () => {
    fc.assert(
      fc.property(anyValue(), (value) => {
        const text = stringifyJson(value)
        expect(parseJson(text)).toEqual(value)
        expect(stringifyJson(parseJson(text))).toBe(text)
      }),
      { numRuns: 300 },
    )
  })
})

describe('stringifyJson', () => {
  it('refuses what JSON cannot hold', () => {
    expect(() => stringifyJson(Number.NaN)).toThrow(TypeError)
    expect(() => stringifyJson(Number.POSITIVE_INFINITY)).toThrow(TypeError)
    expect(() => stringifyJson([undefined] as unknown as JsonValue)).toThrow(TypeError)
    expect(() => new JsonDecimal('1}')).toThrow(TypeError)
  })

  it('refuses a cycle instead of running out of stack', () => {
    const cycle: JsonValue[] = []
    cycle.push(cycle)
    expect(() => stringifyJson(cycle)).toThrow(RangeError)
  })
})

function outcome(run: () => JsonValue): JsonValue | Error {
  try {
    return run()
  } catch (error) {
    return error as Error
  }
}

function thrown(run: () => unknown): JsonSyntaxError {
  try {
    run()
  } catch (error) {
    expect(error).toBeInstanceOf(JsonSyntaxError)
    return error as JsonSyntaxError
  }
  throw new Error('nothing was thrown')
}

/** The value as JSON.parse would have made it. */
function plain(value: JsonValue): unknown {
  if (typeof value === 'bigint') return Number(value)
  if (value instanceof JsonDecimal) return value.toNumber()
  if (Array.isArray(value)) return value.map(plain)
  if (value === null || typeof value !== 'object') return value
  const copy = {}
  for (const [name, member] of Object.entries(value)) {
    Object.defineProperty(copy, name, {
      value: plain(member),
      enumerable: true,
      configurable: true,
      writable: true,
    })
  }
  return copy
}

export function anyValue(): fc.Arbitrary<JsonValue> {
  const text = fc.string({ unit: 'grapheme' })
  const { value } = fc.letrec<{ value: JsonValue }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 5 },
      fc.constant(null),
      fc.boolean(),
      fc.maxSafeInteger().map((n) => (Object.is(n, -0) ? 0 : n)),
      fc.bigInt({ min: 2n ** 53n, max: 2n ** 80n }),
      fc.constantFrom('1.0', '-0', '2e-7', '1E5').map((token) => new JsonDecimal(token)),
      text,
      fc.array(tie('value'), { maxLength: 5 }),
      fc
        .dictionary(fc.oneof(text, fc.constant('__proto__')), tie('value'), {
          maxKeys: 5,
          noNullPrototype: false,
        })
        .map(jsonObject),
    ),
  }))
  return value
}
