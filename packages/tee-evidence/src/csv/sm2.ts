import { createHash } from 'node:crypto'
import { weierstrass } from '@noble/curves/abstract/weierstrass.js'

/**
 * SM2 signature verification (GB/T 32918.2) on the curve of GB/T 32918.5. OpenSSL knows the curve and SM3, but node:crypto
 * cannot set the signer's user id, so only the group arithmetic comes from elsewhere. All values here are public.
 */
const curve = {
  p: 0xfffffffeffffffffffffffffffffffffffffffff00000000ffffffffffffffffn,
  n: 0xfffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123n,
  h: 1n,
  a: 0xfffffffeffffffffffffffffffffffffffffffff00000000fffffffffffffffcn,
  b: 0x28e9fa9e9d9f5e344d5a9e4bcf6509a7f39789f515ab8f92ddbcbd414d940e93n,
  Gx: 0x32c4ae2c1f1981195f9904466a39c9948fe30bbff2660be1715a4589334c74c7n,
  Gy: 0xbc3736a2f4f6779c59bdcee36b692153d0a9877cc62a474002df32e52139f0a0n,
}

const Point = weierstrass(curve)

/** a || b || Gx || Gy, big endian: the part of Z that is the same for all keys. */
const curveBytes = Buffer.concat([curve.a, curve.b, curve.Gx, curve.Gy].map(bigEndian32))

/** Coordinates of a public key; not known to be on the curve. */
export interface Sm2PublicKey {
  readonly x: bigint
  readonly y: bigint
}

export interface Sm2Signature {
  readonly r: bigint
  readonly s: bigint
}

/**
 * Verifies an SM2 signature with SM3.
 * @param userId the signer's own id as its certificate has it, at most 8191 bytes; not the default of the standard.
 * @returns false for a wrong signature, for r or s outside 1..n-1 and for a key that is not on the curve.
 */
export function verifySm2(
  key: Sm2PublicKey,
  userId: Uint8Array,
  message: Uint8Array,
  { r, s }: Sm2Signature,
): boolean {
  if (r <= 0n || r >= curve.n || s <= 0n || s >= curve.n) return false
  const t = (r + s) % curve.n
  if (t === 0n) return false
  const publicPoint = pointOf(key)
  if (publicPoint === undefined) return false
  const sum = Point.BASE.multiplyUnsafe(s).add(publicPoint.multiplyUnsafe(t))
  if (sum.is0()) return false
  return (messageDigest(key, userId, message) + sum.toAffine().x) % curve.n === r
}

function pointOf({ x, y }: Sm2PublicKey): InstanceType<typeof Point> | undefined {
  if (x >= curve.p || y >= curve.p) return undefined
  try {
    const point = Point.fromAffine({ x, y })
    point.assertValidity()
    return point
  } catch {
    return undefined
  }
}

/** e = SM3(Z || message), Z = SM3(bit length of the id as 16 bits || id || a || b || Gx || Gy || x || y). */
function messageDigest(key: Sm2PublicKey, userId: Uint8Array, message: Uint8Array): bigint {
  const idBits = Buffer.alloc(2)
  idBits.writeUInt16BE(userId.length * 8)
  const z = createHash('sm3')
    .update(idBits)
    .update(userId)
    .update(curveBytes)
    .update(bigEndian32(key.x))
    .update(bigEndian32(key.y))
    .digest()
  return BigInt(`0x${createHash('sm3').update(z).update(message).digest('hex')}`)
}

function bigEndian32(value: bigint): Buffer {
  return Buffer.from(value.toString(16).padStart(64, '0'), 'hex')
}
