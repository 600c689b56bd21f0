import { readFile } from 'node:fs/promises'
import {
  decodeBase64,
  decodeBase64UrlNoPad,
  EncodingError,
  isJsonObject,
  type JsonValue,
} from '@passport-kbs/protocol'
import type { Logger } from 'pino'
import type { AttestationTokenConfig, Config } from '../config/config.ts'
import type { CompactToken } from '../keys/compact-token.ts'
import type { FetchDocument } from '../keys/document.ts'
import { createKeySource, type KeySelector, type KeySource } from '../keys/key-source.ts'
import { keyFromJwk, UnusableKey, type VerificationKey } from '../keys/verification-key.ts'
import { type CertificateTrust, openCertificateTrust, UntrustedCertificate } from './certificate-trust.ts'
import { PassportRejected } from './passport.ts'

/** Whom we trust, and with which keys: one entry of the configuration. */
export interface TrustEntry {
  /** For logs: which entry vouched. */
  readonly name: string
  /** The only issuer this entry is for; undefined for any. */
  readonly issuer: string | undefined
  readonly audience: string | undefined
  /** Keys of this entry that the token names. @throws PassportRejected when it can name none */
  keysFor(
    token: CompactToken,
    headerKey: HeaderKey | undefined,
    now: Date,
  ): Promise<readonly VerificationKey[]>
  ping(): Promise<void>
  close(): void
}

/** The key in a token’s header: good for finding a trusted key, never trusted for being there. */
export interface HeaderKey {
  readonly key: VerificationKey
  /** DER of `x5c`, leaf first. */
  readonly chain: readonly Uint8Array[]
}

interface Deps {
  readonly logger: Logger
  readonly profile: Config['profile']
  readonly fetchDocument?: FetchDocument
}

/**
 * Opens the entries of `[attestation_token]`: each of `issuers`, and one for `trusted_jwk_sets` and
 * `trusted_certs_paths`, which as in Trustee are for any issuer.
 * @throws KeySourceError, UntrustedCertificate for files that cannot be used
 */
export async function openTrustEntries(
  config: AttestationTokenConfig,
  deps: Deps,
): Promise<readonly TrustEntry[]> {
  const anyIssuer = { jwkSets: config.trustedJwkSets, certs: config.trustedCertsPaths }
  const listed = [
    ...config.issuers.map((issuer, index) => ({ name: `issuers[${index}]`, ...issuer })),
    ...(anyIssuer.jwkSets.length + anyIssuer.certs.length > 0 ? [{ name: 'any issuer', ...anyIssuer }] : []),
  ]
  return Promise.all(listed.map((entry) => openTrustEntry(entry, config, deps)))
}

interface EntryConfig {
  readonly name: string
  readonly issuer?: string
  readonly audience?: string
  readonly jwkSets: readonly string[]
  readonly certs: readonly string[]
  readonly ca?: string
}

async function openTrustEntry(
  entry: EntryConfig,
  config: AttestationTokenConfig,
  deps: Deps,
): Promise<TrustEntry> {
  // a file that is not there is told of now, although it is read for every request
  if (entry.ca !== undefined) await readFile(entry.ca)
  const refreshSeconds = config.jwksRefreshSeconds
  const certificates =
    entry.certs.length === 0
      ? undefined
      : await openCertificateTrust(entry.certs, { refreshSeconds, logger: deps.logger })
  const sources = await Promise.all(
    entry.jwkSets.map((source) =>
      createKeySource({
        ...{ source, format: 'jwk-set', caFile: entry.ca, ...deps },
        refreshSeconds,
        cooldownSeconds: config.jwksCooldownSeconds,
        maxAgeSeconds: config.jwksMaxAgeSeconds,
      }),
    ),
  )
  return {
    name: entry.name,
    issuer: entry.issuer,
    audience: entry.audience,
    keysFor: (token, headerKey, now) => keysOfEntry(sources, certificates, token, headerKey, now),
    async ping() {
      await Promise.all(sources.map((source) => source.ping()))
    },
    close() {
      certificates?.close()
      for (const source of sources) source.close()
    },
  }
}

/**
 * Published keys that are at hand, by `kid` or by the header key's thumbprint; then the header key, if a pinned CA
 * certifies it; only then keys that have to be fetched.
 */
async function keysOfEntry(
  sources: readonly KeySource[],
  certificates: CertificateTrust | undefined,
  token: CompactToken,
  headerKey: HeaderKey | undefined,
  now: Date,
): Promise<readonly VerificationKey[]> {
  const selectors = selectorsOf(token, headerKey)
  const atHand = sources.flatMap((source) => selectors.flatMap((selector) => source.known(selector)))
  if (atHand.length > 0) return atHand
  let refusal: PassportRejected | undefined
  if (headerKey !== undefined && certificates !== undefined) {
    const certified = await certifiedKey(certificates, headerKey, now)
    if (!(certified instanceof PassportRejected)) return [certified]
    refusal = certified
  }
  for (const source of sources) {
    for (const selector of selectors) {
      const fetched = await source.find(selector)
      if (fetched.length > 0) return fetched
    }
  }
  if (refusal !== undefined) throw refusal
  if (sources.length > 0 && sources.every((source) => source.keys().length === 0)) {
    throw new PassportRejected('keys-unavailable', 'the issuer’s keys cannot be had now')
  }
  return []
}

function selectorsOf(token: CompactToken, headerKey: HeaderKey | undefined): readonly KeySelector[] {
  const { kid } = token
  const byKid = kid === undefined ? [] : [{ kid }]
  return headerKey === undefined ? byKid : [...byKid, { thumbprint: headerKey.key.thumbprint }]
}

/** The leaf must be for the very key in the header (spec 01 §4.2). */
async function certifiedKey(
  certificates: CertificateTrust,
  headerKey: HeaderKey,
  now: Date,
): Promise<VerificationKey | PassportRejected> {
  try {
    if (headerKey.chain.length === 0) throw new UntrustedCertificate('the header key has no x5c')
    const leaf = await certificates.verify(headerKey.chain, now)
    if (leaf.thumbprint !== headerKey.key.thumbprint)
      throw new UntrustedCertificate('the leaf is for another key')
    return headerKey.key
  } catch (cause) {
    if (cause instanceof UntrustedCertificate || cause instanceof UnusableKey) {
      return new PassportRejected('untrusted-certificate', cause.message, { cause })
    }
    throw cause
  }
}

/**
 * Reads the `jwk` of a token's header with its `x5c`; that of a header seen lately is not read again.
 * @throws PassportRejected when there is one that cannot be read
 */
export type HeaderKeyReader = (token: CompactToken) => Promise<HeaderKey | undefined>

const headersRemembered = 64
const longestRemembered = 32_768

export function createHeaderKeyReader(): HeaderKeyReader {
  const seen = new Map<string, HeaderKey>()
  return async ({ header, headerText }) => {
    const known = seen.get(headerText)
    if (known !== undefined || header.jwk === undefined) return known
    const headerKey = await readHeaderKey(header.jwk)
    if (seen.size >= headersRemembered) seen.clear()
    if (headerText.length <= longestRemembered) seen.set(headerText, headerKey)
    return headerKey
  }
}

async function readHeaderKey(jwk: JsonValue): Promise<HeaderKey> {
  try {
    const key = await keyFromJwk(jwk)
    return { key, chain: isJsonObject(jwk) ? readChain(jwk.x5c) : [] }
  } catch (cause) {
    if (cause instanceof UnusableKey || cause instanceof EncodingError) {
      throw new PassportRejected('malformed', `the header key ${cause.message}`, { cause })
    }
    throw cause
  }
}

/** Standard base64, newlines removed; base64url without padding is tolerated (spec 01 §4.2). */
function readChain(x5c: JsonValue | undefined): readonly Uint8Array[] {
  if (x5c === undefined) return []
  if (!Array.isArray(x5c) || x5c.length > 16) throw new EncodingError('x5c is no short list')
  return x5c.map((entry) => {
    if (typeof entry !== 'string') throw new EncodingError('x5c has an entry that is no string')
    const text = entry.replace(/[\r\n]/g, '')
    return /[-_]/.test(text) || text.length % 4 !== 0 ? decodeBase64UrlNoPad(text) : decodeBase64(text)
  })
}
