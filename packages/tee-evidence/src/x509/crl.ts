import {
  type CertificateExtension,
  type DistinguishedName,
  parseExtensions,
  parseName,
} from './certificate.ts'
import {
  contextTag,
  DerError,
  type DerReader,
  derBitStringBytes,
  derIntegerBytes,
  derTag,
  derTime,
  derUnsigned,
  readDer,
  readerOf,
} from './der.ts'

/**
 * An X.509 v2 CRL as its bytes say (RFC 5280 §5.1). Only the structure has been checked: the caller checks issuer,
 * signature and dates, and must refuse critical extensions that it does not know.
 */
export interface CertificateRevocationList {
  readonly raw: Uint8Array
  /** The exact bytes that are signed. */
  readonly tbs: Uint8Array
  /** AlgorithmIdentifier inside the signed part, DER. */
  readonly innerSignatureAlgorithm: Uint8Array
  /** AlgorithmIdentifier beside the signature, DER. */
  readonly signatureAlgorithm: Uint8Array
  readonly issuer: DistinguishedName
  readonly thisUpdate: Date
  /** RFC 5280 demands it; a list without one never counts as fresh. */
  readonly nextUpdate?: Date
  /** Serial numbers (lowercase hex of the INTEGER's content octets, as in `Certificate.serialNumber`) to date. */
  readonly revoked: ReadonlyMap<string, Date>
  readonly extensions: readonly CertificateExtension[]
  readonly signature: Uint8Array
}

/** Reads one DER CRL; throws `DerError` for anything else, trailing bytes included. Limit the size before. */
export function parseCertificateRevocationList(der: Uint8Array): CertificateRevocationList {
  const outer = readerOf(readDer(der, derTag.sequence))
  const tbs = outer.next(derTag.sequence)
  const signatureAlgorithm = outer.next(derTag.sequence).raw
  const signature = derBitStringBytes(outer.next())
  outer.end()
  return { raw: der, tbs: tbs.raw, ...parseTbs(readerOf(tbs)), signatureAlgorithm, signature }
}

function parseTbs(
  reader: DerReader,
): Omit<CertificateRevocationList, 'raw' | 'tbs' | 'signatureAlgorithm' | 'signature'> {
  const version = reader.optional(derTag.integer)
  if (version !== undefined && derUnsigned(version) !== 1) throw new DerError('not a version 2 CRL')
  const innerSignatureAlgorithm = reader.next(derTag.sequence).raw
  const issuer = parseName(reader.next(derTag.sequence))
  const thisUpdate = derTime(reader.next())
  const nextUpdate = isTime(reader.peekTag()) ? { nextUpdate: derTime(reader.next()) } : {}
  const entries = reader.optional(derTag.sequence)
  const revoked = entries === undefined ? new Map<string, Date>() : parseEntries(readerOf(entries))
  const extensions = reader.done ? [] : parseExtensions(reader.next(contextTag(0)))
  reader.end()
  return { innerSignatureAlgorithm, issuer, thisUpdate, ...nextUpdate, revoked, extensions }
}

function isTime(tag: number | undefined): boolean {
  return tag === derTag.utcTime || tag === derTag.generalizedTime
}

function parseEntries(list: DerReader): Map<string, Date> {
  const revoked = new Map<string, Date>()
  while (!list.done) {
    const entry = readerOf(list.next(derTag.sequence))
    const serialNumber = Buffer.from(derIntegerBytes(entry.next())).toString('hex')
    revoked.set(serialNumber, derTime(entry.next()))
    entry.optional(derTag.sequence)
    entry.end()
  }
  return revoked
}

/** Where `now` lies relative to thisUpdate and nextUpdate; both ends inclusive. No nextUpdate counts as stale. */
export function freshnessAt(list: CertificateRevocationList, now: Date): 'fresh' | 'future' | 'stale' {
  if (now < list.thisUpdate) return 'future'
  return list.nextUpdate === undefined || now > list.nextUpdate ? 'stale' : 'fresh'
}
