import { createHash, randomBytes } from 'node:crypto'
import { weierstrass } from '@noble/curves/abstract/weierstrass.js'

/** The curve of GB/T 32918.5 in its decimal-free textbook form. */
const parameters = {
  p: BigInt('0xfffffffeffffffffffffffffffffffffffffffff00000000ffffffffffffffff'),
  n: BigInt('0xfffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123'),
  h: 1n,
  a: BigInt('0xfffffffeffffffffffffffffffffffffffffffff00000000fffffffffffffffc'),
  b: BigInt('0x28e9fa9e9d9f5e344d5a9e4bcf6509a7f39789f515ab8f92ddbcbd414d940e93'),
  Gx: BigInt('0x32c4ae2c1f1981195f9904466a39c9948fe30bbff2660be1715a4589334c74c7'),
  Gy: BigInt('0xbc3736a2f4f6779c59bdcee36b692153d0a9877cc62a474002df32e52139f0a0'),
}

const Point = weierstrass(parameters)
const { n } = parameters

/** A signing key with the user id that its certificate names. */
export interface Sm2Signer {
  readonly x: bigint
  readonly y: bigint
  readonly userId: string
  /** Signs SM3(Z || message) (GB/T 32918.2 §6). */
  sign(message: Uint8Array, userId?: string): { r: bigint; s: bigint }
}

/** A new random key. For tests: the arithmetic is not constant-time. */
export function generateSm2Signer(userId: string): Sm2Signer {
  const secret = randomScalar()
  const { x, y } = Point.BASE.multiply(secret).toAffine()
  return {
    x,
    y,
    userId,
    sign(message, id = userId) {
      const e = numberOf(sm3(userHash(id, x, y), message))
      for (;;) {
        const k = randomScalar()
        const r = modulo(e + Point.BASE.multiply(k).toAffine().x)
        const s = modulo(inverse(1n + secret) * (k - r * secret))
        if (r !== 0n && r + k !== n && s !== 0n) return { r, s }
      }
    },
  }
}

function userHash(userId: string, x: bigint, y: bigint): Uint8Array {
  const id = Buffer.from(userId)
  const bits = Buffer.from([(id.length * 8) >> 8, (id.length * 8) & 0xff])
  const { a, b, Gx, Gy } = parameters
  return sm3(bits, id, ...[a, b, Gx, Gy, x, y].map(bytesOf))
}

function sm3(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sm3')
  for (const part of parts) hash.update(part)
  return hash.digest()
}

function randomScalar(): bigint {
  return (numberOf(randomBytes(40)) % (n - 2n)) + 1n
}

function modulo(value: bigint): bigint {
  return ((value % n) + n) % n
}

/** By Fermat: n is prime. */
function inverse(value: bigint): bigint {
  let result = 1n
  let base = modulo(value)
  for (let exponent = n - 2n; exponent > 0n; exponent >>= 1n) {
    if ((exponent & 1n) === 1n) result = (result * base) % n
    base = (base * base) % n
  }
  return result
}

function numberOf(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString('hex')}`)
}

function bytesOf(value: bigint): Buffer {
  return Buffer.from(value.toString(16).padStart(64, '0'), 'hex')
}
