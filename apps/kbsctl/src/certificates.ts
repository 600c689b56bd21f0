import { createHash, createPublicKey, type KeyObject, randomBytes, sign } from 'node:crypto'
import { AsnConvert, OctetString } from '@peculiar/asn1-schema'
import {
  AlgorithmIdentifier,
  AttributeTypeAndValue,
  AttributeValue,
  AuthorityKeyIdentifier,
  BasicConstraints,
  Certificate,
  ExtendedKeyUsage,
  Extension,
  Extensions,
  GeneralName,
  id_ce_authorityKeyIdentifier,
  id_ce_basicConstraints,
  id_ce_extKeyUsage,
  id_ce_keyUsage,
  id_ce_subjectAltName,
  id_ce_subjectKeyIdentifier,
  id_kp_serverAuth,
  KeyIdentifier,
  KeyUsage,
  KeyUsageFlags,
  Name,
  RelativeDistinguishedName,
  SubjectAlternativeName,
  SubjectKeyIdentifier,
  SubjectPublicKeyInfo,
  TBSCertificate,
  Validity,
  Version,
} from '@peculiar/asn1-x509'

/** Certificates of a CA of one's own: for keys that sign tokens (spec 01 §10) and for TLS servers. EC P-256, ECDSA with SHA-256. */

const ecdsaWithSha256 = '1.2.840.10045.4.3.2'
const commonName = '2.5.4.3'

export interface Subject {
  readonly name: string
  /** The private half. */
  readonly key: KeyObject
}

export interface Lifetime {
  readonly notBefore: Date
  readonly notAfter: Date
}

/** A self-signed certificate that may sign leaves and nothing below them. PEM. */
export function caCertificate(ca: Subject, lifetime: Lifetime): string {
  return issued(ca, ca, lifetime, [
    extension(id_ce_basicConstraints, true, new BasicConstraints({ cA: true, pathLenConstraint: 0 })),
    extension(id_ce_keyUsage, true, new KeyUsage(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign)),
  ])
}

/** A certificate for a key that signs tokens. PEM. */
export function tokenCertificate(subject: Subject, ca: Subject, lifetime: Lifetime): string {
  return issued(subject, ca, lifetime, leafExtensions(ca))
}

/** Under which names a server is reached. */
export interface ServerNames {
  /** Host names, in lower case, `*.` allowed in front. */
  readonly dns: readonly string[]
  /** IPv4 or IPv6 addresses. */
  readonly ip: readonly string[]
}

/** A certificate for a TLS server. PEM. */
export function serverCertificate(
  subject: Subject,
  ca: Subject,
  lifetime: Lifetime,
  names: ServerNames,
): string {
  const alternatives = new SubjectAlternativeName([
    ...names.dns.map((dNSName) => new GeneralName({ dNSName })),
    ...names.ip.map((iPAddress) => new GeneralName({ iPAddress })),
  ])
  return issued(subject, ca, lifetime, [
    ...leafExtensions(ca),
    extension(id_ce_extKeyUsage, false, new ExtendedKeyUsage([id_kp_serverAuth])),
    extension(id_ce_subjectAltName, false, alternatives),
  ])
}

function leafExtensions(ca: Subject): Extension[] {
  const keyIdentifier = new KeyIdentifier(keyIdOf(ca.key))
  return [
    extension(id_ce_basicConstraints, true, new BasicConstraints({ cA: false })),
    extension(id_ce_keyUsage, true, new KeyUsage(KeyUsageFlags.digitalSignature)),
    extension(id_ce_authorityKeyIdentifier, false, new AuthorityKeyIdentifier({ keyIdentifier })),
  ]
}

function issued(subject: Subject, issuer: Subject, lifetime: Lifetime, extensions: Extension[]): string {
  const algorithm = new AlgorithmIdentifier({ algorithm: ecdsaWithSha256 })
  const keyId = extension(id_ce_subjectKeyIdentifier, false, new SubjectKeyIdentifier(keyIdOf(subject.key)))
  const tbsCertificate = new TBSCertificate({
    version: Version.v3,
    serialNumber: arrayBuffer(serialNumber()),
    signature: algorithm,
    issuer: nameOf(issuer),
    validity: new Validity(lifetime),
    subject: nameOf(subject),
    subjectPublicKeyInfo: AsnConvert.parse(spkiOf(subject.key), SubjectPublicKeyInfo),
    extensions: new Extensions([...extensions, keyId]),
  })
  const signatureValue = sign('sha256', Buffer.from(AsnConvert.serialize(tbsCertificate)), issuer.key)
  const certificate = new Certificate({
    tbsCertificate,
    signatureAlgorithm: algorithm,
    signatureValue: arrayBuffer(signatureValue),
  })
  const base64 = Buffer.from(AsnConvert.serialize(certificate)).toString('base64')
  return `-----BEGIN CERTIFICATE-----\n${base64.replace(/.{64}(?=.)/g, '$&\n')}\n-----END CERTIFICATE-----\n`
}

function extension(extnID: string, critical: boolean, value: object): Extension {
  return new Extension({ extnID, critical, extnValue: new OctetString(AsnConvert.serialize(value)) })
}

function nameOf({ name }: Subject): Name {
  const value = new AttributeValue({ utf8String: name })
  return new Name([new RelativeDistinguishedName([new AttributeTypeAndValue({ type: commonName, value })])])
}

/** 16 random bytes, positive and without leading zeros (RFC 5280 §4.1.2.2). */
function serialNumber(): Uint8Array {
  const bytes = randomBytes(16)
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40
  return bytes
}

function keyIdOf(key: KeyObject): Uint8Array {
  return createHash('sha256').update(spkiOf(key)).digest().subarray(0, 20)
}

function spkiOf(key: KeyObject): Buffer {
  return createPublicKey(key).export({ format: 'der', type: 'spki' })
}

function arrayBuffer(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer
}
