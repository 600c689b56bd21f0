import { createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import {
  type ExtensionDraft,
  pem as pemBlock,
  type Signer,
  subjectPublicKeyInfo,
  writeCertificate,
  writeRevocationList,
} from '../x509/certificate-writer.ts'
import { bitString, boolean, integer, oid, sequence, set, utf8String } from '../x509/der-writer.ts'

/** A certificate and the key that it certifies. */
export interface Identity {
  /** Name, DER. */
  readonly name: Uint8Array
  /** DER. */
  readonly certificate: Uint8Array
  readonly privateKey: KeyObject
  /** Content octets. */
  readonly serial: Uint8Array
}

export interface CertificateFields {
  readonly commonName: string
  readonly notBefore: Date
  readonly notAfter: Date
  readonly ca: boolean
  /** Absent: self-signed. */
  readonly issuer?: Pick<Identity, 'name' | 'privateKey'>
  readonly extensions?: readonly ExtensionDraft[]
  /** Absent: a new P-256 key. */
  readonly privateKey?: KeyObject
  /** Replaces the algorithm beside the signature. */
  readonly outerAlgorithm?: Uint8Array
}

const ecdsaWithSha256 = sequence(oid('1.2.840.10045.4.3.2'))
export const ecdsaWithSha384 = sequence(oid('1.2.840.10045.4.3.3'))

export function newKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
}

/** X.509 v3 with basicConstraints and keyUsage, both critical, as Intel's are. */
export function makeCertificate(fields: CertificateFields): Identity {
  const privateKey = fields.privateKey ?? newKey()
  const name = distinguishedName(fields.commonName)
  const issuer = fields.issuer ?? { name, privateKey }
  const serial = Buffer.concat([Uint8Array.of(0x5a), randomBytes(15)])
  const draft = {
    serialNumber: serial,
    issuer: issuer.name,
    subject: name,
    notBefore: fields.notBefore,
    notAfter: fields.notAfter,
    subjectPublicKeyInfo: subjectPublicKeyInfo(createPublicKey(privateKey)),
    extensions: [...basicExtensions(fields.ca), ...(fields.extensions ?? [])],
  }
  const certificate = writeCertificate(draft, signerOf(issuer.privateKey), fields.outerAlgorithm)
  return { name, certificate, privateKey, serial }
}

function signerOf(key: KeyObject): Signer {
  return { algorithm: ecdsaWithSha256, sign: (tbs) => sign('sha256', tbs, key) }
}

function basicExtensions(ca: boolean): ExtensionDraft[] {
  return [
    { oid: '2.5.29.19', critical: true, value: ca ? sequence(boolean(true)) : sequence() },
    // keyCertSign and cRLSign, or digitalSignature and nonRepudiation
    {
      oid: '2.5.29.15',
      critical: true,
      value: ca ? bitString(Uint8Array.of(0x06), 1) : bitString(Uint8Array.of(0xc0), 6),
    },
  ]
}

export interface CrlFields {
  readonly issuer: Pick<Identity, 'name' | 'privateKey'>
  /** Replaces the key of `issuer`. */
  readonly signingKey?: KeyObject
  readonly thisUpdate: Date
  readonly nextUpdate: Date | undefined
  /** Content octets of serial numbers. */
  readonly revoked: readonly Uint8Array[]
  /** CRL number; undefined leaves the extension out. */
  readonly number?: number | undefined
  readonly extensions?: readonly ExtensionDraft[]
}

/** X.509 v2 CRL in DER. */
export function makeCrl(fields: CrlFields): Uint8Array {
  const { issuer, signingKey = issuer.privateKey, extensions = [], ...dates } = fields
  const number = 'number' in fields ? fields.number : 1
  const numbered = number === undefined ? [] : [{ oid: '2.5.29.20', value: integer(number) }]
  const draft = { ...dates, issuer: issuer.name, extensions: [...numbered, ...extensions] }
  return writeRevocationList(draft, signerOf(signingKey))
}

function distinguishedName(commonName: string): Uint8Array {
  const attribute = (id: string, value: string) => set(sequence(oid(id), utf8String(value)))
  return sequence(attribute('2.5.4.3', commonName), attribute('2.5.4.10', 'Virtual platform'))
}

/** Certificates as PEM, one behind the other. */
export function pem(...certificates: readonly Uint8Array[]): string {
  return certificates.map((each) => pemBlock('CERTIFICATE', each)).join('')
}
