import { encodeBase64, encodeUtf8, type JsonValue, parseJson } from '@passport-kbs/protocol'
import { type KeyValueStore, openStorage, StorageUnavailable } from '@passport-kbs/storage'
import { beforeEach, describe, expect, it } from 'vitest'
import { ReferenceValueError } from '../src/attestation-service.ts'
import { createReferenceValues, type ReferenceValues, storageKeyOf } from '../src/reference-values.ts'

const now = new Date('2026-08-21T09:11:50.123Z')
const later = (ms: number) => new Date(now.getTime() + ms)

const envelope = (values: string | object, members: object = {}): JsonValue =>
  parseJson(
    JSON.stringify({
      version: '0.1.0',
      type: 'sample',
      payload: encodeBase64(encodeUtf8(typeof values === 'string' ? values : JSON.stringify(values))),
      ...members,
    }),
  )

let store: KeyValueStore
let values: ReferenceValues
beforeEach(async () => {
  store = (await openStorage({ type: 'Memory' })).namespace('reference_value')
  values = createReferenceValues(store)
})

const stored = async (key: string) => new TextDecoder().decode(await store.get(key))

describe('a registered reference value (spec 02 §6.3)', () => {
  it('is stored in the record of Trustee, valid for twelve months', async () => {
    expect(await values.register(envelope({ svn: ['1'] }), now)).toEqual(['svn'])
    expect(await stored('svn')).toBe(
      '{"version":"0.1.0","name":"svn","expiration":"2027-08-21T09:11:50Z","value":["1"]}',
    )
  })

  it('of the message of spec 01 §1.5 is read back', async () => {
    const message = parseJson('{"version":"0.1.0","type":"sample","payload":"eyJzdm4iOlsiMSJdfQ=="}')
    await values.register(message, now)
    expect(await values.query('svn', now)).toEqual(['1'])
  })

  it('may be of any kind and keeps all digits', async () => {
    await values.register(envelope('{"a":18446744073709551615,"b":[true,null],"c":{"d":"e"},"f":1.50}'), now)
    const found = await values.queryMany(['a', 'b', 'c', 'f', 'g'], now)
    expect(found).toEqual([
      18446744073709551615n,
      [true, null],
      parseJson('{"d":"e"}'),
      parseJson('1.50'),
      undefined,
    ])
  })

  it('overwrites one of the same name', async () => {
    await values.register(envelope({ svn: ['1'] }), now)
    await values.register(envelope({ svn: ['2'] }), now)
    expect(await values.query('svn', now)).toEqual(['2'])
  })

  it('ends on the last day of a month that has no such day', async () => {
    await values.register(envelope({ svn: 1 }), new Date('2028-02-29T00:00:00Z'))
    expect(await stored('svn')).toContain('"2029-02-28T00:00:00Z"')
  })

  it('is in a message without version as in one with', async () => {
    await values.register(envelope({ svn: 1 }, { version: undefined }), now)
    expect(await values.query('svn', now)).toBe(1)
  })
})

describe('expiration (spec 02 W-3)', () => {
  it('ends a value: it is unknown from then on', async () => {
    await values.register(envelope({ svn: 1 }, { expiration: '2026-08-21T09:12:00Z' }), now)
    expect(await values.query('svn', new Date('2026-08-21T09:11:59.999Z'))).toBe(1)
    expect(await values.query('svn', new Date('2026-08-21T09:12:00Z'))).toBeUndefined()
  })

  it('counts in records that Trustee wrote', async () => {
    await store.set('svn', encodeUtf8('{"name":"svn","expiration":"2026-08-20T00:00:00Z","value":1}'))
    expect(await values.query('svn', now)).toBeUndefined()
    expect(await values.query('svn', new Date('2026-08-19T00:00:00Z'))).toBe(1)
  })

  it.each([
    '2026-08-21T09:11:50Z',
    '2027-02-30T00:00:00Z',
    '2027-01-01',
    '2027-01-01T00:00:00+01:00',
    5,
    null,
  ])('is refused in a message as %s', async (expiration) => {
    await expect(values.register(envelope({ svn: 1 }, { expiration }), now)).rejects.toThrow(
      ReferenceValueError,
    )
  })
})

describe('a message (spec 02 §6.1)', () => {
  it.each<[string, JsonValue]>([
    ['of another version', envelope({ a: 1 }, { version: '0.2.0' })],
    ['of an unknown type', envelope({ a: 1 }, { type: 'Sample' })],
    ['without type', envelope({ a: 1 }, { type: undefined })],
    ['with provenance in place of payload', envelope({ a: 1 }, { payload: undefined, provenance: 'e30=' })],
    ['whose payload is not base64', envelope({ a: 1 }, { payload: '%%' })],
    ['whose payload is base64url', envelope({ a: 1 }, { payload: 'eyJhIjoiPz8_In0' })],
    ['whose payload is not JSON', envelope('{')],
    ['whose payload is a list', envelope('[1]')],
    ['with a name twice', envelope('{"a":1,"a":2}')],
    ['with no values', envelope({})],
    [
      'with too many values',
      envelope(Object.fromEntries(Array.from({ length: 1001 }, (_, n) => [`n${n}`, 1]))),
    ],
    ['with an empty name', envelope({ '': 1 })],
    ['with a name that is too long', envelope({ ['x'.repeat(513)]: 1 })],
    ['with a control character in a name', envelope({ 'a\nb': 1 })],
    ['with a value that is too large', envelope({ a: 'x'.repeat(1024 * 1024) })],
    ['that is a string', 'x'],
    ['that is null', null],
  ])('is refused %s', async (_, message) => {
    await expect(values.register(message, now)).rejects.toThrow(ReferenceValueError)
  })

  it('is taken as a whole or not at all', async () => {
    await expect(values.register(envelope({ a: 1, '': 2 }), now)).rejects.toThrow(ReferenceValueError)
    expect(await store.list()).toEqual([])
  })
})

describe('names (spec 02 W-16)', () => {
  const uri = 'rvps:///github.com/confidential-containers/tdx/rtmr_1:v0.18.0'

  it.each(['svn', 'tdx/rtmr_1', 'NVIDIA_Corporation.GPU.measurement_12'])('%s is its own key', (name) => {
    expect(storageKeyOf(name)).toBe(name)
  })

  it.each([uri, 'ACME Inc/Road Runner', '../a', 'a//b', '.', `sha256-${'0'.repeat(64)}`, '__proto__ x', 'ä'])(
    '%s has a key that every store takes',
    async (name) => {
      expect(storageKeyOf(name)).toMatch(/^sha256-[0-9a-f]{64}$/)
      await values.register(envelope({ [name]: ['x'] }), now)
      expect(await values.query(name, now)).toEqual(['x'])
    },
  )

  it('as long as Trustee can write to a file are keys themselves, longer ones are hashed', async () => {
    expect(storageKeyOf('a'.repeat(255))).toBe('a'.repeat(255))
    const segments = (count: number) => Array.from({ length: count }, () => 'a').join('/')
    // each "/" is four characters in the name of the file
    expect(storageKeyOf(segments(51))).toBe(segments(51))
    for (const name of ['a'.repeat(256), segments(53), segments(60)]) {
      expect(storageKeyOf(name)).toMatch(/^sha256-/)
      await values.register(envelope({ [name]: 1 }), now)
      expect(await values.query(name, now)).toBe(1)
    }
  })

  it('of members of JavaScript objects are names like others', async () => {
    await values.register(envelope('{"__proto__":1,"constructor":2}'), now)
    expect(await values.queryMany(['constructor', '__proto__', 'toString'], now)).toEqual([2, 1, undefined])
  })

  it('that no value can have are unknown', async () => {
    expect(await values.queryMany(['', 'a\u0000', 'x'.repeat(600)], now)).toEqual([
      undefined,
      undefined,
      undefined,
    ])
  })
})

describe('a stored record that is broken', () => {
  it.each([
    ['no JSON', '{'],
    ['an array', '[]'],
    ['of another name', '{"name":"other","expiration":"2027-01-01T00:00:00Z","value":1}'],
    ['of another version', '{"version":"9","name":"svn","expiration":"2027-01-01T00:00:00Z","value":1}'],
    ['without expiration', '{"name":"svn","value":1}'],
    ['without value', '{"name":"svn","expiration":"2027-01-01T00:00:00Z"}'],
  ])('is an error and not an unknown value: %s', async (_, text) => {
    await store.set('svn', encodeUtf8(text))
    await expect(values.query('svn', now)).rejects.toThrow(ReferenceValueError)
  })
})

describe('a store that fails while values are written', () => {
  const failing = (inner: KeyValueStore, failsAt: number, failsAfter = false): KeyValueStore => {
    let writes = 0
    const fail = () => {
      throw new StorageUnavailable('down')
    }
    return {
      ...inner,
      set: async (key, value, options) =>
        ++writes === failsAt ? fail() : await inner.set(key, value, options),
      compareAndSet: async (...args) => (failsAfter ? fail() : await inner.compareAndSet(...args)),
    }
  }

  it('keeps the values of before', async () => {
    await values.register(envelope({ a: 1 }), now)
    const before = await stored('a')
    const broken = createReferenceValues(failing(store, 3))
    await expect(broken.register(envelope({ a: 2, b: 2, c: 2 }), later(1000))).rejects.toThrow(
      StorageUnavailable,
    )
    expect(await store.list()).toEqual(['a'])
    expect(await stored('a')).toBe(before)
  })

  it('says so where they cannot be put back', async () => {
    await values.register(envelope({ a: 1 }), now)
    const broken = createReferenceValues(failing(store, 2, true))
    await expect(broken.register(envelope({ a: 2, b: 2 }), later(1000))).rejects.toThrow(
      'register the message again',
    )
  })

  it('does not stop later messages', async () => {
    const broken = createReferenceValues(failing(store, 1))
    await expect(broken.register(envelope({ a: 2 }), now)).rejects.toThrow(StorageUnavailable)
    expect(await broken.register(envelope({ a: 3 }), now)).toEqual(['a'])
  })
})

describe('messages at the same time', () => {
  it('leave the values of one of them as a whole', async () => {
    const names = ['a', 'b', 'c', 'd']
    const message = (n: number) => envelope(Object.fromEntries(names.map((name) => [name, n])))
    await Promise.all(Array.from({ length: 10 }, (_, n) => values.register(message(n), now)))
    expect(new Set(await values.queryMany(names, now)).size).toBe(1)
  })
})
