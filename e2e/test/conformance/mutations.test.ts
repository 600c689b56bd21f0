/** Spec 03 §13: the mutation language of the vectors. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { mutateBytes, mutateJson, VectorError } from '../../src/conformance/mutations.ts'

const folder = mkdtempSync(join(tmpdir(), 'mutations-'))
writeFileSync(join(folder, 'bytes.bin'), Uint8Array.of(1, 2, 0xff))
writeFileSync(join(folder, 'inner.json'), '{"a":[{"b":7}]}')
afterAll(() => rmSync(folder, { recursive: true }))

const document = '{"n": 18446744073709551615, "list": [1, 2], "hex": "00ff", "b64": "AP8", "bytes": [0, 255]}'
const mutate = (...mutations: Parameters<typeof mutateJson>[1]) => mutateJson(document, mutations, folder)

describe('json-*', () => {
  it('sets, deletes and appends, and keeps integers exact', () => {
    expect(mutate({ op: 'json-set', path: ['list', 0], value: 'x' })).toBe(
      '{"n":18446744073709551615,"list":["x",2],"hex":"00ff","b64":"AP8","bytes":[0,255]}',
    )
    expect(JSON.parse(mutate({ op: 'json-delete', path: ['list', 0] })).list).toEqual([2])
    expect(JSON.parse(mutate({ op: 'json-append', path: ['list'], value: 3 })).list).toEqual([1, 2, 3])
  })

  it.each([
    [undefined, [1, 2, 255]],
    ['base64url', 'AQL_'],
    ['base64', 'AQL/'],
    ['hex', '0102ff'],
  ])('takes a file as %s', (as, value) => {
    const reference = as === undefined ? { $file: 'bytes.bin' } : { $file: 'bytes.bin', as }
    expect(JSON.parse(mutate({ op: 'json-set', path: ['x'], value: [reference] })).x).toEqual([value])
  })

  it('takes a value inside a JSON file', () => {
    const reference = { $file: 'inner.json', as: 'json', path: ['a', 0, 'b'] }
    expect(JSON.parse(mutate({ op: 'json-set', path: ['x'], value: reference })).x).toBe(7)
    const { as: _, ...implied } = reference
    expect(JSON.parse(mutate({ op: 'json-set', path: ['x'], value: implied })).x).toBe(7)
  })
})

describe('bytes-*', () => {
  it.each([
    ['hex', 'hex', '01ff'],
    ['b64', 'base64url', 'Af8='],
    ['bytes', 'u8array', [1, 255]],
  ])('changes %s in its encoding %s', (name, enc, value) => {
    const changed = mutate({ op: 'bytes-xor', path: [name], enc, offset: 0, value: 1 })
    expect(JSON.parse(changed)[name]).toEqual(value)
  })

  it('works on files as on fields', () => {
    const bytes = Uint8Array.of(1, 2, 3, 4)
    const result = (mutation: Parameters<typeof mutateBytes>[1][number]) => [
      ...mutateBytes(bytes, [mutation]),
    ]
    expect(result({ op: 'bytes-set', offset: 1, value: 9 })).toEqual([1, 9, 3, 4])
    expect(result({ op: 'bytes-append', hex: '05' })).toEqual([1, 2, 3, 4, 5])
    expect(result({ op: 'bytes-truncate', length: 1 })).toEqual([1])
    expect(result({ op: 'bytes-splice', offset: 1, remove: 2, hex: 'aabbcc' })).toEqual([
      1, 0xaa, 0xbb, 0xcc, 4,
    ])
    expect([...bytes]).toEqual([1, 2, 3, 4])
  })
})

describe('texts', () => {
  it('text-replace changes the first occurrence, also into something that is not JSON', () => {
    expect(mutate({ op: 'text-replace', find: '"hex":', replace: '"hex":1,"hex":' })).toContain(
      '"hex":1,"hex":',
    )
    expect(mutate({ op: 'text-replace', find: '[0,255]', replace: '[' })).toMatch(/"bytes":\[\}$/)
  })

  it('string-replace works inside one string', () => {
    expect(JSON.parse(mutate({ op: 'string-replace', path: ['hex'], find: 'f', replace: '$&' })).hex).toBe(
      '00$&f',
    )
  })
})

describe('a vector that makes no sense', () => {
  it.each([
    [{ op: 'json-delete', path: ['nowhere'] }],
    [{ op: 'bytes-xor', path: ['hex'], enc: 'hex', offset: 2, value: 1 }],
    [{ op: 'text-replace', find: 'nowhere', replace: '' }],
    [{ op: 'unknown', path: ['hex'] }],
    ['text'],
  ])('%j is an error, not a pass', (mutation) => {
    expect(() => mutate(mutation)).toThrow(VectorError)
  })
})
