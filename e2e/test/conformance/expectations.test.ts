/** What counts as the expected claims. */
import { describe, expect, it } from 'vitest'
import { differences } from '../../src/conformance/expectations.ts'

describe('differences', () => {
  it('compares long texts to their end, and prints their beginning', () => {
    const text = 'a'.repeat(5000)
    expect(differences(text, text, 'event')).toEqual([])
    const [difference = ''] = differences(`${text}b`, `${text}c`, 'event')
    expect(difference).toContain('event is "aaa')
    expect(difference.length).toBeLessThan(500)
  })

  it('tells a number from the same number as a text, and an absent member from null', () => {
    expect(differences({ a: 1 }, { a: '1' }, 'claims')).toEqual(['claims.a is "1", not 1'])
    expect(differences({ a: null }, {}, 'claims')).toEqual(['claims.a is absent, not null'])
  })

  it('tells arrays of different lengths apart', () => {
    expect(differences([1n, 2], [1n], 'list')).toEqual(['list is [1], not [1,2]'])
  })
})
