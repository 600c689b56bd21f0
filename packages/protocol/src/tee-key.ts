import { createHash, createPublicKey, type KeyObject } from 'node:crypto'
import { decodeBase64UrlNoPad, EncodingError, encodeBase64Url } from './encoding.ts'
import { canonicalJson } from './jcs.ts'
import { isJsonObject, type JsonObject, type JsonValue, jsonObject } from './json.ts'

/**
 * Public keys of TEEs: the keys to which secrets are encrypted (spec 01 §3.1). A value of type `TeePublicKey` has been
 * checked to be usable: known algorithm, point on the curve, modulus of a sane size.
 */

declare const usable: unique symbol

interface UsableKey {
  readonly [usable]: true
  /** Exactly the members that guest and server hash, as the guest spelled them. */
  readonly jwk: JsonObject
  /** The key as OpenSSL holds it. */
  readonly key: KeyObject
}

export interface EcTeePublicKey extends UsableKey {
  readonly kty: 'EC'
  readonly alg: 'ECDH-ES+A256KW'
  readonly crv: EcCurve
}

export interface RsaTeePublicKey extends UsableKey {
  readonly kty: 'RSA'
  readonly alg: 'RSA-OAEP-256' | 'RSA1_5'
}

export interface AkpTeePublicKey extends UsableKey {
  readonly kty: 'AKP'
  readonly alg: 'ML-KEM-768+A192KW'
}

export type EcCurve = 'P-256' | 'P-521'
export type TeePublicKey = EcTeePublicKey | RsaTeePublicKey | AkpTeePublicKey

/** Which algorithms beyond the always accepted ECDH-ES+A256KW and RSA-OAEP-256 a server takes. */
export interface TeeKeyPolicy {
  /** RSA with PKCS#1 v1.5 padding, deprecated by RFC 8017. */
  readonly allowRsa15?: boolean
  /** ML-KEM-768, whose JOSE form is still a draft. */
  readonly allowMlKem?: boolean
}

/** The key cannot be used. `reason` names members and sizes, never their values. */
export class TeeKeyError extends Error {
  override readonly name = 'TeeKeyError'
  /** `malformed`: not a JWK of a known form; `refused`: an algorithm that the policy excludes; `unusable`: no such key. */
  readonly code: 'malformed' | 'refused' | 'unusable'
  constructor(code: TeeKeyError['code'], reason: string, options?: { cause?: unknown }) {
    super(reason, options)
    this.code = code
  }
}

/** Bytes of a coordinate. */
export const coordinateSize: Readonly<Record<EcCurve, number>> = Object.freeze({ 'P-256': 32, 'P-521': 66 })

const minModulusBits = 2048
const maxModulusBits = 4096
const minExponent = 65537n
const maxExponent = 2n ** 32n
const mlKem768Size = 1184
/** DER before the key in a SubjectPublicKeyInfo for ML-KEM-768 (FIPS 203, OID 2.16.840.1.101.3.4.4.2). */
const mlKem768Spki = Uint8Array.of(
  ...[0x30, 0x82, 0x04, 0xb2, 0x30, 0x0b, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x04, 0x02],
  ...[0x03, 0x82, 0x04, 0xa1, 0x00],
)

/**
 * Reads and checks a TEE's public key in JWK form. Members other than those of its `kty` are dropped, as the guest does
 * before it hashes.
 *
 * EC: coordinates of the curve's full width and a point on the curve. RSA: modulus of 2048 to 4096 bits, exponent odd
 * and from 65537 to 2^32, both without leading zero bytes. ML-KEM-768: an encapsulation key that passes the checks of
 * FIPS 203 §7.2. All values are base64url without padding.
 * @throws TeeKeyError
 */
export function parseTeePublicKey(value: JsonValue, policy: TeeKeyPolicy = {}): TeePublicKey {
  if (!isJsonObject(value)) throw new TeeKeyError('malformed', 'not an object')
  const kty = text(value, 'kty')
  if (kty === 'EC') return ecKey(value)
  if (kty === 'RSA') return rsaKey(value, policy)
  if (kty === 'AKP') return akpKey(value, policy)
  throw new TeeKeyError('malformed', 'kty is none of EC, RSA, AKP')
}

/** RFC 7638 thumbprint: base64url of the SHA-256 over the key's required members. */
export function teeKeyThumbprint(key: TeePublicKey): string {
  const required = Object.entries(key.jwk).filter(([name]) => name !== 'alg' || key.kty === 'AKP')
  const canonical = canonicalJson(jsonObject(Object.fromEntries(required)))
  return createHash('sha256').update(canonical).digest('base64url')
}

/** The public half of an OpenSSL key, as a TEE key for `alg`. */
export function teePublicKeyOf(key: KeyObject, alg: TeePublicKey['alg']): TeePublicKey {
  const policy = { allowRsa15: true, allowMlKem: true }
  if (alg === 'ML-KEM-768+A192KW') {
    const raw = key.export({ format: 'der', type: 'spki' }).subarray(mlKem768Spki.length)
    return parseTeePublicKey(jsonObject({ kty: 'AKP', alg, pub: encodeBase64Url(raw) }), policy)
  }
  const jwk = key.export({ format: 'jwk' }) as Record<string, string>
  return parseTeePublicKey(jsonObject({ ...jwk, alg }), policy)
}

function ecKey(value: JsonObject): EcTeePublicKey {
  const crv = text(value, 'crv')
  const alg = text(value, 'alg')
  const x = text(value, 'x')
  const y = text(value, 'y')
  if (crv !== 'P-256' && crv !== 'P-521') throw new TeeKeyError('refused', 'crv is neither P-256 nor P-521')
  if (alg !== 'ECDH-ES+A256KW') throw new TeeKeyError('refused', 'alg of an EC key is not ECDH-ES+A256KW')
  for (const [name, coordinate] of Object.entries({ x, y })) {
    if (bytes(name, coordinate).length !== coordinateSize[crv]) {
      throw new TeeKeyError('unusable', `${name} has not the width of ${crv}`)
    }
  }
  const key = imported(() => createPublicKey({ key: { kty: 'EC', crv, x, y }, format: 'jwk' }))
  return usableKey({ kty: 'EC', alg, crv, jwk: jsonObject({ alg, crv, kty: 'EC', x, y }), key })
}

function rsaKey(value: JsonObject, policy: TeeKeyPolicy): RsaTeePublicKey {
  const alg = text(value, 'alg')
  const n = text(value, 'n')
  const e = text(value, 'e')
  if (alg !== 'RSA-OAEP-256' && alg !== 'RSA1_5')
    throw new TeeKeyError('refused', 'alg unknown for an RSA key')
  if (alg === 'RSA1_5' && policy.allowRsa15 !== true)
    throw new TeeKeyError('refused', 'RSA1_5 is not allowed')
  const modulus = unsigned('n', n)
  const exponent = unsigned('e', e)
  const bits = modulus.toString(2).length
  if (bits < minModulusBits || bits > maxModulusBits || modulus % 2n === 0n) {
    throw new TeeKeyError('unusable', `modulus is even or not of ${minModulusBits} to ${maxModulusBits} bits`)
  }
  if (exponent < minExponent || exponent > maxExponent || exponent % 2n === 0n) {
    throw new TeeKeyError('unusable', 'exponent is even, below 65537 or above 2^32')
  }
  const key = imported(() => createPublicKey({ key: { kty: 'RSA', n, e }, format: 'jwk' }))
  return usableKey({ kty: 'RSA', alg, jwk: jsonObject({ alg, e, kty: 'RSA', n }), key })
}

function akpKey(value: JsonObject, policy: TeeKeyPolicy): AkpTeePublicKey {
  const alg = text(value, 'alg')
  const pub = text(value, 'pub')
  if (alg !== 'ML-KEM-768+A192KW') throw new TeeKeyError('refused', 'alg unknown for an AKP key')
  if (policy.allowMlKem !== true) throw new TeeKeyError('refused', 'ML-KEM-768+A192KW is not allowed')
  const raw = bytes('pub', pub)
  if (raw.length !== mlKem768Size) throw new TeeKeyError('unusable', `pub has not ${mlKem768Size} bytes`)
  const spki = Buffer.concat([mlKem768Spki, raw])
  const key = imported(() => createPublicKey({ key: spki, format: 'der', type: 'spki' }))
  return usableKey({ kty: 'AKP', alg, jwk: jsonObject({ alg, kty: 'AKP', pub }), key })
}

/** For this module only: states that the key passed every check. */
function usableKey<K extends TeePublicKey>(fields: Omit<K, typeof usable>): K {
  return Object.freeze(fields) as K
}

function text(value: JsonObject, name: string): string {
  const member = Object.hasOwn(value, name) ? value[name] : undefined
  if (typeof member !== 'string') throw new TeeKeyError('malformed', `${name} is not a string`)
  return member
}

/** The longest member is ML-KEM's key of 1579 characters. */
const longestMember = 2048

function bytes(name: string, member: string): Uint8Array {
  if (member.length > longestMember) throw new TeeKeyError('unusable', `${name} is too long`)
  try {
    return decodeBase64UrlNoPad(member)
  } catch (cause) {
    if (cause instanceof EncodingError) {
      throw new TeeKeyError('unusable', `${name} is not base64url without padding`, { cause })
    }
    throw cause
  }
}

function unsigned(name: string, member: string): bigint {
  const raw = bytes(name, member)
  if (raw.length === 0 || raw[0] === 0)
    throw new TeeKeyError('unusable', `${name} is empty or starts with a zero byte`)
  return BigInt(`0x${Buffer.from(raw).toString('hex')}`)
}

/** OpenSSL refuses points off the curve and encapsulation keys out of range. */
function imported(load: () => KeyObject): KeyObject {
  try {
    return load()
  } catch (cause) {
    throw new TeeKeyError('unusable', 'no such key exists', { cause })
  }
}
