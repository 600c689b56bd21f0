import type { JsonObject, JsonValue } from '@passport-kbs/protocol'
import type { Logger } from 'pino'
import type { AttestationTokenConfig, Config } from '../config/config.ts'
import {
  type CompactToken,
  isForAudience,
  MalformedToken,
  numericDate,
  readCompactToken,
  timeFault,
} from '../keys/compact-token.ts'
import type { FetchDocument } from '../keys/document.ts'
import { isSignedBy, keyFromJwk, type VerificationKey } from '../keys/verification-key.ts'
import {
  PassportRejected,
  type PassportRejectionCode,
  type VerifiedPassport,
  verifiedPassport,
} from './passport.ts'
import { createHeaderKeyReader, type HeaderKey, openTrustEntries, type TrustEntry } from './trust-entry.ts'

export interface PassportVerifier {
  /** @throws PassportRejected */
  verify(token: string): Promise<VerifiedPassport>
  /** Rejects while an issuer's keys are not at hand. For readiness. */
  ping(): Promise<void>
  close(): void
}

/** The signer in the same process, as `AttestationService` gives it. */
export interface OwnKeys {
  readonly issuer: string
  jwks(): { readonly keys: readonly Readonly<Record<string, unknown>>[] }
}

/** Tokens with device evidence take up to 120 KiB (spec 01 §0.9); the request head is bounded beside. */
const maxTokenBytes = 1_048_576

/**
 * Verifies attestation tokens (spec 01 §4.2) in this order: shape, issuer, key, signature, audience, times.
 * - A key is one that the issuer's entry names: published in its JWK sets, found by `kid` or by the thumbprint of the
 *   header's `jwk`; or the header's `jwk` itself when its `x5c` chain leads to a pinned certificate.
 * - The token's `alg` must be the one algorithm of that key. Symmetric algorithms do not exist here.
 * - In the production profile a passport that was minted in the development profile is refused.
 * - `exp` is required, `nbf` honoured, both with `clock_skew_seconds`; `iss` and `aud` where configured.
 * @throws KeySourceError, UntrustedCertificate when configured files cannot be used
 */
export async function createPassportVerifier(
  config: AttestationTokenConfig,
  deps: {
    readonly logger: Logger
    readonly profile: Config['profile']
    readonly now?: () => Date
    readonly fetchDocument?: FetchDocument
    readonly ownKeys?: OwnKeys
  },
): Promise<PassportVerifier> {
  const now = deps.now ?? (() => new Date())
  const readHeaderKey = createHeaderKeyReader()
  const entries = [
    ...(deps.ownKeys === undefined ? [] : [ownEntry(deps.ownKeys)]),
    ...(await openTrustEntries(config, deps)),
    ...(config.insecureHeaderJwk && deps.profile === 'development' ? [anyHeaderKeyEntry()] : []),
  ]
  return {
    async verify(text) {
      const token = readToken(text)
      const headerKey = await readHeaderKey(token)
      const entry = await vouchingEntry(entries, token, headerKey, now())
      checkAudience(token.claims, [config.audience, entry.audience])
      if (deps.profile === 'production') refuseDevelopment(token.claims)
      const fault = timeFault(token.claims, now(), config.clockSkewSeconds)
      if (fault !== undefined) throw new PassportRejected(fault, 'exp or nbf does not allow it now')
      return describe(token, entry)
    },
    async ping() {
      await Promise.all(entries.map((entry) => entry.ping()))
    },
    close() {
      for (const entry of entries) entry.close()
    },
  }
}

function readToken(text: string): CompactToken {
  if (text.length > maxTokenBytes) throw new PassportRejected('too-large', `more than ${maxTokenBytes} bytes`)
  try {
    return readCompactToken(text)
  } catch (cause) {
    if (cause instanceof MalformedToken) throw new PassportRejected('malformed', cause.message, { cause })
    throw cause
  }
}

/** The entry whose key has signed the token. Of several refusals the one that got furthest is reported. */
async function vouchingEntry(
  entries: readonly TrustEntry[],
  token: CompactToken,
  headerKey: HeaderKey | undefined,
  now: Date,
): Promise<TrustEntry> {
  let refusal = new PassportRejected('untrusted-issuer', 'no configured issuer has this name')
  for (const entry of entries) {
    if (entry.issuer !== undefined && entry.issuer !== token.claims.iss) continue
    const result = await tryEntry(entry, token, headerKey, now)
    if (result === undefined) return entry
    if (progress(result.code) > progress(refusal.code)) refusal = result
  }
  throw refusal
}

/** Undefined when a key of the entry has signed the token. */
async function tryEntry(
  entry: TrustEntry,
  token: CompactToken,
  headerKey: HeaderKey | undefined,
  now: Date,
): Promise<PassportRejected | undefined> {
  let keys: readonly VerificationKey[]
  try {
    keys = await entry.keysFor(token, headerKey, now)
  } catch (error) {
    if (error instanceof PassportRejected) return error
    throw error
  }
  if (keys.length === 0) return new PassportRejected('unknown-key', 'the token names no key of its issuer')
  const fitting = keys.filter((key) => key.algorithms.includes(token.algorithm))
  if (fitting.length === 0)
    return new PassportRejected('unsupported-algorithm', 'the key is not for the algorithm of the token')
  if (fitting.some((key) => isSignedBy(token, key))) return undefined
  return new PassportRejected('bad-signature', 'the signature does not verify')
}

const order: readonly PassportRejectionCode[] = [
  'untrusted-issuer',
  'unknown-key',
  'keys-unavailable',
  'untrusted-certificate',
  'unsupported-algorithm',
  'bad-signature',
]

function progress(code: PassportRejectionCode): number {
  return order.indexOf(code)
}

function checkAudience(claims: JsonObject, required: readonly (string | undefined)[]): void {
  for (const audience of required) {
    if (audience !== undefined && !isForAudience(claims, audience)) {
      throw new PassportRejected('wrong-audience', 'the token is for someone else')
    }
  }
}

/** Our attestation service marks what it mints in the development profile, where sample evidence and test roots pass. */
function refuseDevelopment(claims: JsonObject): void {
  if (claims['passport-kbs.profile'] === undefined) return
  throw new PassportRejected('development-only', 'it was minted in the development profile')
}

function describe(token: CompactToken, entry: TrustEntry): VerifiedPassport {
  const { claims, kid } = token
  const text = (name: string) => (typeof claims[name] === 'string' ? claims[name] : undefined)
  return verifiedPassport({
    issuer: text('iss'),
    claims,
    kid,
    jti: text('jti'),
    expiresAt: new Date((numericDate(claims, 'exp') ?? 0) * 1000),
    trustedBy: entry.name,
  })
}

/** Our own signer's keys need no publication: they are in this process (spec 01 §11.3). */
function ownEntry(own: OwnKeys): TrustEntry {
  const imported = new Map<string, VerificationKey>()
  const importOnce = async (jwk: Readonly<Record<string, unknown>>): Promise<VerificationKey> => {
    const id = JSON.stringify(jwk)
    const key = imported.get(id) ?? (await keyFromJwk(JSON.parse(id) as JsonValue))
    imported.set(id, key)
    return key
  }
  return {
    name: 'own signer',
    issuer: own.issuer,
    audience: undefined,
    async keysFor(token, headerKey) {
      const keys = await Promise.all(own.jwks().keys.map(importOnce))
      return keys.filter(
        (key) =>
          (token.kid !== undefined && key.kid === token.kid) || key.thumbprint === headerKey?.key.thumbprint,
      )
    },
    ping: async () => {},
    close: () => {},
  }
}

/** `insecure_header_jwk` of the development profile: whoever made the token is believed. */
function anyHeaderKeyEntry(): TrustEntry {
  return {
    name: 'insecure_header_jwk',
    issuer: undefined,
    audience: undefined,
    keysFor: async (_, headerKey) => (headerKey === undefined ? [] : [headerKey.key]),
    ping: async () => {},
    close: () => {},
  }
}
