import { describe, expect, it } from 'vitest'
import { hygonNumber } from '../../src/csv/hygon-number.ts'
import { verifySm2 } from '../../src/csv/sm2.ts'

/** The signature example of GB/T 32918.5-2017, annex A.2. */
const key = {
  x: 0x09f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020n,
  y: 0xccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13n,
}
const userId = Buffer.from('1234567812345678')
const message = Buffer.from('message digest')
const r = 0xf5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3n
const s = 0xb1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aan
const n = 0xfffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123n
const p = 0xfffffffeffffffffffffffffffffffffffffffff00000000ffffffffffffffffn

describe('SM2 verification', () => {
  it('accepts the example of the standard', () => {
    expect(verifySm2(key, userId, message, { r, s })).toBe(true)
  })

  it('refuses another message, another user id and an empty one', () => {
    expect(verifySm2(key, userId, Buffer.from('message digesT'), { r, s })).toBe(false)
    expect(verifySm2(key, Buffer.from('1234567812345679'), message, { r, s })).toBe(false)
    expect(verifySm2(key, new Uint8Array(0), message, { r, s })).toBe(false)
  })

  it.each([
    ['r = 0', { r: 0n, s }],
    ['s = 0', { r, s: 0n }],
    ['r = n', { r: n, s }],
    ['s = n', { r, s: n }],
    ['r + n, which is r modulo n', { r: r + n, s }],
    ['s + n, which is s modulo n', { r, s: s + n }],
    ['r + s = n', { r, s: n - r }],
    ['r and s swapped', { r: s, s: r }],
  ])('refuses %s', (_what, signature) => {
    expect(verifySm2(key, userId, message, signature)).toBe(false)
  })

  it.each([
    ['off the curve', { x: key.x, y: key.y ^ 1n }],
    ['at the origin', { x: 0n, y: 0n }],
    ['with a coordinate that is not reduced', { x: key.x + p, y: key.y }],
    ['with a coordinate of p', { x: p, y: key.y }],
  ])('refuses a key %s', (_what, otherKey) => {
    expect(verifySm2(otherKey, userId, message, { r, s })).toBe(false)
  })

  it('refuses the mirrored key', () => {
    expect(verifySm2({ x: key.x, y: p - key.y }, userId, message, { r, s })).toBe(false)
  })
})

describe('a number of Hygon’s structures', () => {
  it('is little endian in 32 of 72 bytes', () => {
    const field = new Uint8Array(72)
    field.set([0x34, 0x12])
    field[31] = 0x80
    expect(hygonNumber(field)).toBe((0x80n << 248n) + 0x1234n)
  })

  it.each([32, 71])('is none when byte %d is not zero', (at) => {
    const field = new Uint8Array(72)
    field[at] = 1
    expect(hygonNumber(field)).toBeUndefined()
  })
})
