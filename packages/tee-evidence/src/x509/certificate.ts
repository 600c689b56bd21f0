import { createPublicKey, type KeyObject } from 'node:crypto'
import {
  contextTag,
  type DerElement,
  DerError,
  type DerReader,
  derBitStringBytes,
  derBoolean,
  derIntegerBytes,
  derNamedBits,
  derOctets,
  derOid,
  derTag,
  derText,
  derTime,
  derUnsigned,
  readDer,
  readerOf,
} from './der.ts'

/** A distinguished name. Compare names by `raw`: the exact DER, no case folding. */
export interface DistinguishedName {
  readonly raw: Uint8Array
  /** One entry a attribute, in the order of the certificate. */
  readonly attributes: readonly { readonly oid: string; readonly value: string }[]
}

export interface CertificateExtension {
  readonly oid: string
  readonly critical: boolean
  /** Content of the extnValue OCTET STRING. */
  readonly value: Uint8Array
}

export interface SubjectPublicKey {
  /** The whole SubjectPublicKeyInfo, DER. */
  readonly raw: Uint8Array
  /** The whole AlgorithmIdentifier, DER, parameters included. */
  readonly algorithm: Uint8Array
  readonly algorithmOid: string
  /** Content of the subjectPublicKey BIT STRING. */
  readonly key: Uint8Array
}

/**
 * An X.509 v3 certificate as its bytes say (RFC 5280 §4.1). Only the structure has been checked: no signature,
 * no date, no profile. In particular serial number 0, repeated extensions, and an outer algorithm that differs
 * from the inner one are all reported here and judged by the caller.
 */
export interface Certificate {
  readonly raw: Uint8Array
  /** The exact bytes that are signed. */
  readonly tbs: Uint8Array
  /** Lowercase hex of the INTEGER's content octets, e.g. `00`, `010001`. */
  readonly serialNumber: string
  /** AlgorithmIdentifier inside the signed part, DER. */
  readonly innerSignatureAlgorithm: Uint8Array
  /** AlgorithmIdentifier beside the signature, DER. */
  readonly signatureAlgorithm: Uint8Array
  readonly issuer: DistinguishedName
  readonly notBefore: Date
  readonly notAfter: Date
  readonly subject: DistinguishedName
  readonly subjectPublicKey: SubjectPublicKey
  readonly extensions: readonly CertificateExtension[]
  readonly signature: Uint8Array
}

/** Reads one DER certificate; throws `DerError` for anything else, trailing bytes included. */
export function parseCertificate(der: Uint8Array): Certificate {
  const outer = readerOf(readDer(der, derTag.sequence))
  const tbs = outer.next(derTag.sequence)
  const signatureAlgorithm = outer.next(derTag.sequence).raw
  const signature = derBitStringBytes(outer.next())
  outer.end()
  return { raw: der, tbs: tbs.raw, ...parseTbs(readerOf(tbs)), signatureAlgorithm, signature }
}

function parseTbs(reader: DerReader): Omit<Certificate, 'raw' | 'tbs' | 'signatureAlgorithm' | 'signature'> {
  const version = readerOf(reader.next(contextTag(0)))
  if (derUnsigned(version.next()) !== 2) throw new DerError('not a version 3 certificate')
  version.end()
  const serialNumber = Buffer.from(derIntegerBytes(reader.next())).toString('hex')
  const innerSignatureAlgorithm = reader.next(derTag.sequence).raw
  const issuer = parseName(reader.next(derTag.sequence))
  const validity = readerOf(reader.next(derTag.sequence))
  const notBefore = derTime(validity.next())
  const notAfter = derTime(validity.next())
  validity.end()
  const subject = parseName(reader.next(derTag.sequence))
  const subjectPublicKey = parseSubjectPublicKey(reader.next(derTag.sequence))
  const extensions = reader.done ? [] : parseExtensions(reader.next(contextTag(3)))
  reader.end()
  return {
    serialNumber,
    innerSignatureAlgorithm,
    issuer,
    notBefore,
    notAfter,
    subject,
    subjectPublicKey,
    extensions,
  }
}

/** Reads a Name (RFC 5280 §4.1.2.4). */
export function parseName(element: DerElement): DistinguishedName {
  const attributes: { oid: string; value: string }[] = []
  const names = readerOf(element)
  while (!names.done) {
    const set = readerOf(names.next(derTag.set))
    do {
      const attribute = readerOf(set.next(derTag.sequence))
      attributes.push({ oid: derOid(attribute.next()), value: derText(attribute.next()) })
      attribute.end()
    } while (!set.done)
  }
  return { raw: element.raw, attributes }
}

function parseSubjectPublicKey(element: DerElement): SubjectPublicKey {
  const reader = readerOf(element)
  const algorithm = reader.next(derTag.sequence)
  const algorithmOid = derOid(readerOf(algorithm).next())
  const key = derBitStringBytes(reader.next())
  reader.end()
  return { raw: element.raw, algorithm: algorithm.raw, algorithmOid, key }
}

/** Reads `[n] EXPLICIT Extensions` of a certificate or CRL. At most 64 entries. */
export function parseExtensions(wrapper: DerElement): CertificateExtension[] {
  const outer = readerOf(wrapper)
  const list = readerOf(outer.next(derTag.sequence))
  outer.end()
  const extensions: CertificateExtension[] = []
  while (!list.done) {
    if (extensions.length === 64) throw new DerError('more than 64 extensions')
    extensions.push(parseExtension(list.next(derTag.sequence)))
  }
  return extensions
}

function parseExtension(element: DerElement): CertificateExtension {
  const reader = readerOf(element)
  const oid = derOid(reader.next())
  const flag = reader.optional(derTag.boolean)
  const critical = flag === undefined ? false : derBoolean(flag)
  const value = derOctets(reader.next())
  reader.end()
  return { oid, critical, value }
}

/** The one extension with `oid`, or undefined when absent. A repeated extension is a `DerError` (RFC 5280 §4.2). */
export function findExtension(
  extensions: readonly CertificateExtension[],
  oid: string,
): CertificateExtension | undefined {
  const found = extensions.filter((extension) => extension.oid === oid)
  if (found.length > 1) throw new DerError(`extension ${oid} occurs ${found.length} times`)
  return found[0]
}

const commonNameOid = '2.5.4.3'

/** The single commonName of a name; undefined when there is none or more than one. */
export function commonName(name: DistinguishedName): string | undefined {
  const values = name.attributes.filter((attribute) => attribute.oid === commonNameOid)
  return values.length === 1 ? values[0]?.value : undefined
}

/**
 * The subject's key for node:crypto. Throws `DerError` when OpenSSL refuses it (unknown curve, point not on the
 * curve). A compressed EC point is accepted by OpenSSL: a profile that forbids it looks at `subjectPublicKey.key`.
 */
export function publicKeyOf(certificate: Certificate): KeyObject {
  try {
    return createPublicKey({
      key: Buffer.from(certificate.subjectPublicKey.raw),
      format: 'der',
      type: 'spki',
    })
  } catch (cause) {
    throw new DerError('unusable public key', { cause })
  }
}

/** basicConstraints (RFC 5280 §4.2.1.9); undefined when the extension is absent. */
export function basicConstraints(
  certificate: Certificate,
): { readonly ca: boolean; readonly pathLength?: number; readonly critical: boolean } | undefined {
  const extension = findExtension(certificate.extensions, '2.5.29.19')
  if (extension === undefined) return undefined
  const reader = readerOf(readDer(extension.value, derTag.sequence))
  const flag = reader.optional(derTag.boolean)
  const ca = flag === undefined ? false : derBoolean(flag)
  const length = reader.optional(derTag.integer)
  reader.end()
  const { critical } = extension
  return length === undefined ? { ca, critical } : { ca, critical, pathLength: derUnsigned(length) }
}

/** keyUsage bits that a verifier asks for (RFC 5280 §4.2.1.3); undefined when the extension is absent. */
export function keyUsage(certificate: Certificate):
  | {
      readonly digitalSignature: boolean
      readonly keyCertSign: boolean
      readonly cRLSign: boolean
      readonly critical: boolean
    }
  | undefined {
  const extension = findExtension(certificate.extensions, '2.5.29.15')
  if (extension === undefined) return undefined
  const bit = derNamedBits(readDer(extension.value))
  const { critical } = extension
  return { digitalSignature: bit(0), keyCertSign: bit(5), cRLSign: bit(6), critical }
}

/** Where `now` lies relative to the validity period; both ends inclusive, whole seconds. */
export function validityAt(certificate: Certificate, now: Date): 'valid' | 'not-yet-valid' | 'expired' {
  const seconds = Math.floor(now.getTime() / 1000)
  if (seconds < certificate.notBefore.getTime() / 1000) return 'not-yet-valid'
  // `seconds` is cut to whole seconds, so the last second is valid up to its end.
  return seconds > certificate.notAfter.getTime() / 1000 ? 'expired' : 'valid'
}

/** True when both byte strings are equal. Public data only: not constant time. */
export function bytesEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0
}
