/** JSON Web Tokens: decoding and verification with keys that the caller gives, never with keys from a token. */
import {
  createHmac,
  createPublicKey,
  type KeyObject,
  timingSafeEqual,
  verify,
  X509Certificate,
} from 'node:crypto'
import type { Context } from '../evaluate/context.ts'
import { parseJson } from '../values/json.ts'
import { EMPTY_OBJECT, isArray, isNumber, type RegoNumber, RegoObject, type Value } from '../values/value.ts'
import { type Builtin, BuiltinError, objectAt, stringAt } from './builtin.ts'

type Call = Builtin['call']

interface Token {
  readonly header: RegoObject
  readonly payload: string
  readonly signature: Buffer
  readonly signed: string
}

function decodePart(part: string, name: string): Buffer {
  if (!/^[A-Za-z0-9_-]*$/.test(part) || part.length % 4 === 1) {
    throw new BuiltinError(`the ${name} of the token has invalid encoding`)
  }
  return Buffer.from(part, 'base64url')
}

function readJson(text: string, name: string, context: Context): Value {
  try {
    return parseJson(text, { depth: context.limits.jsonDepth, bytes: context.limits.jsonBytes })
  } catch {
    throw new BuiltinError(`the ${name} of the token is not JSON`)
  }
}

function parseToken(text: string, context: Context): Token {
  context.charge(text.length / 16)
  context.grow(text.length * 2)
  const parts = text.split('.')
  if (parts.length !== 3) throw new BuiltinError(`a token has 3 sections, not ${parts.length}`)
  const [head = '', body = '', tail = ''] = parts
  const header = readJson(decodePart(head, 'header').toString(), 'header', context)
  if (!(header instanceof RegoObject)) throw new BuiltinError('the header of the token is not an object')
  if (header.has('enc')) throw new BuiltinError('the token is a JWE, which is not supported')
  const signature = decodePart(tail, 'signature')
  return { header, payload: decodePart(body, 'payload').toString(), signature, signed: `${head}.${body}` }
}

function isNested(header: RegoObject): boolean {
  const type = header.get('cty')
  return typeof type === 'string' && type.toUpperCase() === 'JWT'
}

/** A token in a token, bare or as a JSON string. */
function nestedToken(payload: string, context: Context): string {
  if (!payload.startsWith('"')) return payload
  const text = readJson(payload, 'payload', context)
  if (typeof text !== 'string') throw new BuiltinError('the nested token is not a string')
  return text
}

/** Tokens in tokens that will be opened. */
const MAX_NESTING = 8

const decode: Call = (args, context) => {
  let text = stringAt(args, 0)
  for (let depth = 0; depth < MAX_NESTING; depth++) {
    const { header, payload, signature } = parseToken(text, context)
    if (isNested(header)) {
      text = nestedToken(payload, context)
      continue
    }
    const claims = readJson(payload, 'payload', context)
    if (!(claims instanceof RegoObject)) throw new BuiltinError('the payload of the token is not an object')
    return [header, claims, signature.toString('hex')]
  }
  throw new BuiltinError('tokens nest too deep')
}

interface Algorithm {
  readonly hash: string | null
  readonly type: 'hmac' | 'rsa' | 'pss' | 'ec' | 'ed25519'
}

const ALGORITHMS: ReadonlyMap<string, Algorithm> = new Map<string, Algorithm>([
  ...['256', '384', '512'].flatMap((size): [string, Algorithm][] => [
    [`HS${size}`, { hash: `sha${size}`, type: 'hmac' }],
    [`RS${size}`, { hash: `sha${size}`, type: 'rsa' }],
    [`PS${size}`, { hash: `sha${size}`, type: 'pss' }],
    [`ES${size}`, { hash: `sha${size}`, type: 'ec' }],
  ]),
  ['EdDSA', { hash: null, type: 'ed25519' }],
])

const KEY_TYPES = { rsa: 'rsa', pss: 'rsa', ec: 'ec', ed25519: 'ed25519' } as const

interface NamedKey {
  readonly key: KeyObject
  readonly id: string | undefined
  readonly algorithm: string | undefined
}

/** Keys of a PEM certificate, a PEM public key, a JWK or a JWK set. */
function readKeys(text: string): NamedKey[] {
  try {
    if (text.includes('-----BEGIN')) return [{ key: readPem(text), id: undefined, algorithm: undefined }]
    const jwk = JSON.parse(text) as { keys?: unknown }
    const keys = Array.isArray(jwk.keys) ? jwk.keys : [jwk]
    return keys.flatMap((entry) => readJwk(entry as JsonWebKeyEntry))
  } catch (error) {
    if (error instanceof BuiltinError) throw error
    throw new BuiltinError('the key cannot be read', { argument: 2 })
  }
}

interface JsonWebKeyEntry {
  readonly kty?: string
  readonly kid?: string
  readonly alg?: string
}

function readJwk(entry: JsonWebKeyEntry): NamedKey[] {
  // a set may hold keys of kinds that no algorithm here uses
  if (entry.kty === 'oct') return []
  const key = createPublicKey({ key: entry as Record<string, string>, format: 'jwk' })
  return [{ key, id: entry.kid, algorithm: entry.alg }]
}

function readPem(text: string): KeyObject {
  const blocks = [...text.matchAll(/-----BEGIN ([A-Z ]+)-----[\s\S]*?-----END \1-----/g)]
  const [block] = blocks
  if (!block || blocks.length > 1 || text.replace(block[0], '').trim() !== '') {
    throw new BuiltinError('the key must be one PEM block and nothing else', { argument: 2 })
  }
  return block[1] === 'CERTIFICATE' ? new X509Certificate(block[0]).publicKey : createPublicKey(block[0])
}

function hasValidSignature(token: Token, algorithm: Algorithm, key: KeyObject): boolean {
  if (algorithm.type === 'hmac' || key.asymmetricKeyType !== KEY_TYPES[algorithm.type]) return false
  const data = Buffer.from(token.signed)
  try {
    if (algorithm.type === 'ec') {
      return verify(algorithm.hash, data, { key, dsaEncoding: 'ieee-p1363' }, token.signature)
    }
    // RSA_PKCS1_PSS_PADDING and RSA_PKCS1_PADDING of OpenSSL
    const padding = algorithm.type === 'pss' ? 6 : algorithm.type === 'rsa' ? 1 : undefined
    return verify(algorithm.hash, data, padding === undefined ? key : { key, padding }, token.signature)
  } catch {
    return false
  }
}

function hasValidMac(token: Token, algorithm: Algorithm, secret: string): boolean {
  const mac = createHmac(algorithm.hash as string, secret)
    .update(token.signed)
    .digest()
  return mac.length === token.signature.length && timingSafeEqual(mac, token.signature)
}

/** What a signature check costs in steps. */
const SIGNATURE_STEPS = 2_000

function verifyBuiltin(name: string): Builtin {
  const algorithm = ALGORITHMS.get(name) as Algorithm
  const call: Call = (args, context) => {
    const token = parseToken(stringAt(args, 0), context)
    const secret = stringAt(args, 1)
    context.charge(SIGNATURE_STEPS)
    if (algorithm.type === 'hmac') return hasValidMac(token, algorithm, secret)
    const keys = keysFor(token, readKeys(secret), name)
    context.charge(SIGNATURE_STEPS * keys.length)
    return keys.some(({ key }) => hasValidSignature(token, algorithm, key))
  }
  return { name: `io.jwt.verify_${name.toLowerCase()}`, arity: 2, tier: 3, call }
}

/** Keys that the token's key id allows, or all when no key has that id. */
function keysFor(token: Token, keys: readonly NamedKey[], algorithm: string): readonly NamedKey[] {
  const id = token.header.get('kid')
  const usable = keys.filter((key) => key.algorithm === undefined || key.algorithm === algorithm)
  const named = usable.filter((key) => key.id !== undefined && key.id === id)
  return named.length > 0 ? named : usable
}

const CONSTRAINTS = new Set(['cert', 'secret', 'alg', 'iss', 'time', 'aud'])
const REFUSED: Value = [false, EMPTY_OBJECT, EMPTY_OBJECT]

const decodeVerify: Call = (args, context) => {
  const text = stringAt(args, 0)
  const constraints = objectAt(args, 1)
  for (const key of constraints.keys()) {
    if (typeof key !== 'string' || !CONSTRAINTS.has(key))
      throw new BuiltinError('unknown constraint', { argument: 2 })
  }
  const outcome = verifySignature(text, constraints, context)
  if (!outcome) return REFUSED
  const { header, claims } = outcome
  return satisfies(claims, constraints, context) ? [true, header, claims] : REFUSED
}

function verifySignature(
  text: string,
  constraints: RegoObject,
  context: Context,
): { header: RegoObject; claims: RegoObject } | undefined {
  const cert = constraints.get('cert')
  const secret = constraints.get('secret')
  if ((cert === undefined) === (secret === undefined)) {
    throw new BuiltinError('exactly one of `cert` and `secret` is needed', { argument: 2 })
  }
  let current = text
  for (let depth = 0; depth < MAX_NESTING; depth++) {
    const token = parseToken(current, context)
    const name = token.header.get('alg')
    const algorithm = typeof name === 'string' ? ALGORITHMS.get(name) : undefined
    const wanted = constraints.get('alg')
    // RFC 7515 §4.1.11: no critical extension is understood here
    if (token.header.has('crit')) return undefined
    if (!algorithm || (wanted !== undefined && wanted !== name)) return undefined
    context.charge(SIGNATURE_STEPS)
    if (!isSignedBy(token, algorithm, name as string, cert, secret)) return undefined
    if (isNested(token.header)) {
      current = nestedToken(token.payload, context)
      continue
    }
    const claims = readJson(token.payload, 'payload', context)
    return claims instanceof RegoObject ? { header: token.header, claims } : undefined
  }
  throw new BuiltinError('tokens nest too deep')
}

function isSignedBy(
  token: Token,
  algorithm: Algorithm,
  name: string,
  cert: Value | undefined,
  secret: Value | undefined,
): boolean {
  if (secret !== undefined)
    return typeof secret === 'string' && algorithm.type === 'hmac' && hasValidMac(token, algorithm, secret)
  if (typeof cert !== 'string' || algorithm.type === 'hmac') return false
  return keysFor(token, readKeys(cert), name).some(({ key }) => hasValidSignature(token, algorithm, key))
}

/** Issuer, audience and times; numeric dates are seconds, the constraint `time` is nanoseconds. */
function satisfies(claims: RegoObject, constraints: RegoObject, context: Context): boolean {
  const issuer = constraints.get('iss')
  if (issuer !== undefined && claims.get('iss') !== issuer) return false
  if (!fitsAudience(claims.get('aud'), constraints.get('aud'))) return false
  const time = constraints.get('time') ?? null
  if (time !== null && !isNumber(time)) throw new BuiltinError('`time` must be a number', { argument: 2 })
  const now = time === null ? Number(context.now) : Number(time)
  const after = dateOf(claims.get('nbf'))
  const until = dateOf(claims.get('exp'))
  return (after === undefined || now >= after) && (until === undefined || now < until)
}

function dateOf(claim: Value | undefined): number | undefined {
  if (claim === undefined) return undefined
  if (!isNumber(claim)) throw new BuiltinError('a date of the token is not a number')
  return Number(claim as RegoNumber) * 1e9
}

/** A token for an audience needs that audience asked for, and the other way round. */
function fitsAudience(claim: Value | undefined, wanted: Value | undefined): boolean {
  if (claim === undefined || wanted === undefined) return claim === wanted
  return isArray(claim) ? claim.includes(wanted) : claim === wanted
}

export const jwtBuiltins: readonly Builtin[] = [
  { name: 'io.jwt.decode', arity: 1, tier: 3, call: decode },
  { name: 'io.jwt.decode_verify', arity: 2, tier: 3, call: decodeVerify },
  ...[...ALGORITHMS.keys()].map(verifyBuiltin),
]
