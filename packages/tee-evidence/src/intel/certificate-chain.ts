import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto'
import { decodeHex, encodeHex } from '@passport-kbs/protocol'
import { fail, type RejectionCode } from '../rejection.ts'
import {
  basicConstraints,
  bytesEqual,
  type Certificate,
  commonName,
  keyUsage,
  parseCertificate,
  publicKeyOf,
} from '../x509/certificate.ts'
import { DerError } from '../x509/der.ts'
import { decodeSinglePem } from '../x509/pem.ts'

/** AlgorithmIdentifier of ecdsa-with-SHA256 (RFC 5758 §3.2), and of a P-256 key (RFC 5480 §2.1.1). */
const ecdsaWithSha256 = decodeHex('300a06082a8648ce3d040302')
const p256Key = decodeHex('301306072a8648ce3d020106082a8648ce3d030107')

const basicConstraintsOid = '2.5.29.19'
const keyUsageOid = '2.5.29.15'
const uncompressedPointSize = 65

/** The trust anchor of Intel's quotes and collateral. Made by `intelRoot`. */
export interface IntelRoot {
  readonly certificate: Certificate
  readonly key: KeyObject
  /** SHA-384 of the uncompressed point, hex: the claim `root_key_id`. */
  readonly keyId: string
}

/**
 * Takes a self-signed P-256 CA certificate as the trust anchor.
 * @param der the root certificate; Intel's own is `intelSgxRootCa`
 * @throws TypeError when it cannot be an anchor: a mistake of the operator, not of evidence
 */
export function intelRoot(der: Uint8Array): IntelRoot {
  try {
    const certificate = parseCertificate(der)
    const key = p256KeyOf(certificate)
    requireSignature(certificate, key)
    requireCa(certificate)
    const keyId = createHash('sha384').update(certificate.subjectPublicKey.key).digest('hex')
    return { certificate, key, keyId }
  } catch (cause) {
    throw new TypeError('the trust anchor is not a self-signed P-256 CA certificate', { cause })
  }
}

/**
 * Reads PEM text that holds exactly `count` certificates and nothing else but white space between and behind them, and
 * NULs behind (the C string in a quote).
 * @throws CheckFailure with `code`
 */
export function parseCertificateList(text: string, count: number, code: RejectionCode): Certificate[] {
  const blocks = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/= \t\r\n]*-----END CERTIFICATE-----[ \t\r\n]*/y
  const content = withoutPadding(text)
  const certificates: Certificate[] = []
  while (blocks.lastIndex < content.length) {
    const [block] = blocks.exec(content) ?? fail(code, 'text that is not a PEM certificate')
    if (certificates.length === count) fail(code, `more than ${count} certificates`)
    certificates.push(
      asCheck(code, 'malformed certificate', () => parseCertificate(decodeSinglePem(block, 'CERTIFICATE'))),
    )
  }
  if (certificates.length !== count) fail(code, `${certificates.length} certificates, not ${count}`)
  return certificates
}

/** Without white space and NULs at the end; a regular expression would take quadratic time for them elsewhere. */
function withoutPadding(text: string): string {
  let end = text.length
  while (end > 0 && ' \t\r\n\0'.includes(text.charAt(end - 1))) end -= 1
  return text.slice(0, end)
}

/** Demands that `candidate` is the trust anchor, byte for byte. */
export function requireRoot(candidate: Certificate, root: IntelRoot, code: RejectionCode): void {
  if (!bytesEqual(candidate.raw, root.certificate.raw))
    fail(code, 'the chain does not end at the pinned root')
}

/**
 * Demands that `certificate` was issued by the holder of `issuer` for the purpose that its common name states.
 * @param role `ca`: may issue certificates and CRLs; `end-entity`: may not
 * @returns the certificate's own P-256 key
 */
export function requireIssued(
  certificate: Certificate,
  issuer: { readonly certificate: Certificate; readonly key: KeyObject },
  role: { readonly ca: boolean; readonly commonNames: readonly string[] },
  code: RejectionCode,
): KeyObject {
  return asCheck(code, 'unusable certificate', () => {
    const name = commonName(certificate.subject)
    if (name === undefined || !role.commonNames.includes(name)) {
      fail(code, `the certificate is not that of ${role.commonNames.join(' or ')}`)
    }
    if (!bytesEqual(certificate.issuer.raw, issuer.certificate.subject.raw))
      fail(code, `${name}: other issuer`)
    requireKnownCriticalExtensions(certificate)
    if (role.ca) requireCa(certificate)
    else if (basicConstraints(certificate)?.ca === true) throw new DerError(`${name} must not be a CA`)
    requireSignature(certificate, issuer.key)
    return p256KeyOf(certificate)
  })
}

/**
 * Checks an ecdsa-with-SHA256 signature made of a DER structure's own algorithm fields, as certificates and CRLs have it.
 * @throws DerError
 */
export function requireSignature(
  signed: Pick<Certificate, 'tbs' | 'signature' | 'signatureAlgorithm' | 'innerSignatureAlgorithm'>,
  key: KeyObject,
): void {
  if (!bytesEqual(signed.signatureAlgorithm, signed.innerSignatureAlgorithm))
    throw new DerError('two signature algorithms')
  if (!bytesEqual(signed.signatureAlgorithm, ecdsaWithSha256))
    throw new DerError('signature algorithm is not ecdsa-with-SHA256')
  if (!verify('sha256', signed.tbs, { key, dsaEncoding: 'der' }, signed.signature))
    throw new DerError('signature is not of the issuer')
}

/** Runs `read` and gives whatever the DER reader throws the reason `code`. */
export function asCheck<T>(code: RejectionCode, what: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof DerError) fail(code, `${what}: ${error.message}`, error)
    throw error
  }
}

/**
 * A P-256 public key from x || y, 32 bytes each, big endian.
 * @throws Error of OpenSSL when the point is not on the curve
 */
export function p256KeyFromPoint(point: Uint8Array): KeyObject {
  const bytes = Buffer.from(point.buffer, point.byteOffset, point.byteLength)
  const jwk = {
    kty: 'EC',
    crv: 'P-256',
    x: bytes.toString('base64url', 0, 32),
    y: bytes.toString('base64url', 32, 64),
  }
  return createPublicKey({ key: jwk, format: 'jwk' })
}

function p256KeyOf(certificate: Certificate): KeyObject {
  const { algorithm, key } = certificate.subjectPublicKey
  if (!bytesEqual(algorithm, p256Key))
    throw new DerError(`key algorithm ${encodeHex(algorithm)} is not P-256`)
  if (key.length !== uncompressedPointSize || key[0] !== 4)
    throw new DerError('the key is not an uncompressed point')
  return publicKeyOf(certificate)
}

function requireCa(certificate: Certificate): void {
  if (basicConstraints(certificate)?.ca !== true) throw new DerError('basicConstraints do not allow a CA')
  if (keyUsage(certificate)?.keyCertSign === false)
    throw new DerError('keyUsage does not allow signing certificates')
}

function requireKnownCriticalExtensions(certificate: Certificate): void {
  for (const { oid, critical } of certificate.extensions) {
    if (critical && oid !== basicConstraintsOid && oid !== keyUsageOid)
      throw new DerError(`critical extension ${oid}`)
  }
}
