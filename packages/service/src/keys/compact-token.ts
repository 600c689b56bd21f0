import {
  decodeBase64UrlNoPad,
  isJsonObject,
  JsonDecimal,
  type JsonObject,
  parseJson,
} from '@passport-kbs/protocol'

/** A JWT taken apart, with nothing verified. */
export interface CompactToken {
  /** What is signed: header and payload as they were sent. */
  readonly signingInput: Uint8Array
  readonly signature: Uint8Array
  readonly algorithm: string
  readonly kid: string | undefined
  readonly header: JsonObject
  /** The header as it was sent; the same for all tokens of one signer. */
  readonly headerText: string
  readonly claims: JsonObject
}

/** The text is no JWT; the message never quotes it. */
export class MalformedToken extends Error {
  override readonly name = 'MalformedToken'
}

/**
 * Takes a compact JWT apart. Header and claims are parsed strictly (no duplicate members, exact integers), so that what is
 * checked here and what a policy sees is one reading. `crit` is refused, for no extension is known.
 * @throws MalformedToken
 */
export function readCompactToken(text: string): CompactToken {
  const parts = text.split('.')
  const [head = '', body = '', signature = ''] = parts
  if (parts.length !== 3 || signature === '') throw new MalformedToken('is no compact JWS')
  const header = readPart(head, 'header')
  const algorithm = header.alg
  const kid = header.kid
  if (typeof algorithm !== 'string') throw new MalformedToken('has no alg')
  if (kid !== undefined && typeof kid !== 'string') throw new MalformedToken('has a kid that is no string')
  if (header.crit !== undefined) throw new MalformedToken('has critical extensions')
  const claims = readPart(body, 'payload', deepestClaims)
  return {
    signingInput: Buffer.from(text.slice(0, text.lastIndexOf('.')), 'latin1'),
    signature: readSignature(signature),
    ...{ algorithm, kid, header, headerText: head, claims },
  }
}

/** Init-data claims may nest 32 deep and what a policy adds 64, each some levels down in a token. */
const deepestClaims = 96

/** Strict, so that one token has one spelling. */
function readSignature(part: string): Uint8Array {
  try {
    return decodeBase64UrlNoPad(part)
  } catch (cause) {
    throw new MalformedToken('has a signature that is not base64url', { cause })
  }
}

function readPart(part: string, what: string, maxDepth?: number): JsonObject {
  try {
    const value = parseJson(decodeBase64UrlNoPad(part), maxDepth === undefined ? {} : { maxDepth })
    if (isJsonObject(value)) return value
  } catch (cause) {
    throw new MalformedToken(`has a ${what} that is not base64url of JSON`, { cause })
  }
  throw new MalformedToken(`has a ${what} that is no object`)
}

export type TimeFault = 'missing-expiry' | 'expired' | 'not-yet-valid'

/** Checks `exp`, which must be there, and `nbf`, each with `skewSeconds` of tolerance. */
export function timeFault(claims: JsonObject, now: Date, skewSeconds: number): TimeFault | undefined {
  const seconds = now.getTime() / 1000
  const expiry = numericDate(claims, 'exp')
  if (expiry === undefined) return 'missing-expiry'
  if (seconds > expiry + skewSeconds) return 'expired'
  if (claims.nbf === undefined) return undefined
  const start = numericDate(claims, 'nbf')
  return start === undefined || start > seconds + skewSeconds ? 'not-yet-valid' : undefined
}

/** A NumericDate claim in seconds; undefined when it is absent or no finite number. */
export function numericDate(claims: JsonObject, name: string): number | undefined {
  const value = claims[name]
  const seconds =
    value instanceof JsonDecimal ? value.toNumber() : typeof value === 'bigint' ? Number(value) : value
  return typeof seconds === 'number' && Math.abs(seconds) <= 8_640_000_000_000 ? seconds : undefined
}

/** Whether `aud`, a string or an array, names `audience`. */
export function isForAudience(claims: JsonObject, audience: string): boolean {
  const { aud } = claims
  return aud === audience || (Array.isArray(aud) && aud.includes(audience))
}
