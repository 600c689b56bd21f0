import { describe, expect, it } from 'vitest'
import { parseResourcePath, resourceKey } from '../src/resource-path.ts'

describe('the name of a resource (spec 01 §5.1)', () => {
  it.each([['a/b/c'], ['default/key/1'], ['_/-/0'], ['-a/_b/C.d..e'], [`${'a'.repeat(255)}/b/c`]])(
    '%s is one',
    (name) => {
      const path = parseResourcePath(name.split('/'))
      expect(path && resourceKey(path)).toBe(name)
    },
  )

  it.each([
    [''],
    ['a/b'],
    ['a/b/c/d'],
    ['a/b/c/'],
    ['/a/b/c'],
    ['a//c'],
    ['//'],
    ['../b/c'],
    ['a/../c'],
    ['a/b/..'],
    ['a/b/.c'],
    ['./b/c'],
    ['a/b/c d'],
    ['a/b/c\n'],
    ['a/b/c\u0000'],
    ['a/b/ç'],
    ['a/b/c\\x2Fd'],
    ['a/b/c%2Fd'],
    ['a/b/c~'],
    ['a:1/b/c'],
    [`${'a'.repeat(256)}/b/c`],
  ])('%j is none', (name) => {
    expect(parseResourcePath(name.split('/'))).toBeUndefined()
  })
})
