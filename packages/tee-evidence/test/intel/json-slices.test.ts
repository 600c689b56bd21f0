import { parseJson } from '@passport-kbs/protocol'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { childSlices, withoutWhiteSpace } from '../../src/intel/json-slices.ts'

describe('Slices of JSON text', () => {
  test('of an object are the raw text of its members, whatever they hold', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string(), fc.jsonValue()),
        fc.constantFrom(undefined, 1, '\t'),
        (object, indent) => {
          const text = JSON.stringify(object, null, indent)
          const slices = childSlices(text)
          expect([...slices.keys()]).toEqual(Object.keys(parseJson(text) as object))
          for (const [name, slice] of slices) {
            expect(JSON.parse(slice)).toEqual(JSON.parse(JSON.stringify(object[name])))
            expect(text).toContain(slice)
          }
        },
      ),
    )
  })

  test('of an array are the raw text of its entries', () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue()), (array) => {
        const slices = [...childSlices(JSON.stringify(array, null, 2)).values()]
        expect(slices.map((slice) => JSON.parse(slice))).toEqual(JSON.parse(JSON.stringify(array)))
      }),
    )
  })

  test('without white space are what a compact writer writes', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(withoutWhiteSpace(JSON.stringify(value, null, 3))).toBe(JSON.stringify(value))
      }),
    )
  })

  test('keep numbers, escapes and order as they are written', () => {
    const text = '{ "b" : 1.50e+1 , "a\\u0062": "x \\" { y", "c":[ 1 , {"d" : null} ] }'
    expect([...childSlices(text)]).toEqual([
      ['b', '1.50e+1'],
      ['ab', '"x \\" { y"'],
      ['c', '[ 1 , {"d" : null} ]'],
    ])
    expect(withoutWhiteSpace(text)).toBe('{"b":1.50e+1,"a\\u0062":"x \\" { y","c":[1,{"d":null}]}')
  })
})
