import { describe, expect, it } from 'vitest'
import { resourceUrl } from '../src/index.ts'

/** Spec 01 §9.1. */
describe('resourceUrl', () => {
  it.each([
    ['a/b/c', 'http://kbs:8080/kbs/v0/resource/a/b/c'],
    ['/a/b/c', 'http://kbs:8080/kbs/v0/resource/a/b/c'],
    ['kbs:///a/b/c', 'http://kbs:8080/kbs/v0/resource/a/b/c'],
    ['kbs://other:1/a/b/c?q=1', 'http://kbs:8080/kbs/v0/resource/a/b/c?q=1'],
    ['kbs+nebula-ca:///credential?name=x', 'http://kbs:8080/kbs/v0/nebula-ca/credential?name=x'],
  ])('makes %s the address %s', (resource, url) => {
    expect(resourceUrl('http://kbs:8080/', resource).href).toBe(url)
  })
  it('refuses other URIs', () => {
    expect(() => resourceUrl('http://kbs', 'https://kbs/a')).toThrow(TypeError)
  })
})
