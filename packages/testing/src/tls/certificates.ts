import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { AsnConvert, OctetString } from '@peculiar/asn1-schema'
import {
  AlgorithmIdentifier,
  AttributeTypeAndValue,
  AttributeValue,
  BasicConstraints,
  Certificate,
  Extension,
  Extensions,
  GeneralName,
  KeyUsage,
  KeyUsageFlags,
  Name,
  RelativeDistinguishedName,
  SubjectAlternativeName,
  SubjectPublicKeyInfo,
  TBSCertificate,
  Validity,
} from '@peculiar/asn1-x509'

/** A key pair with a certificate, made for one test run. */
export interface TestIdentity {
  readonly name: string
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
  readonly der: Buffer
  readonly pem: string
  readonly keyPem: string
}

export interface CertificateOptions {
  readonly name: string
  /** Absent: self-signed. */
  readonly issuer?: TestIdentity
  readonly keys?: { readonly privateKey: KeyObject; readonly publicKey: KeyObject }
  readonly ca?: boolean
  readonly pathLength?: number
  readonly usage?: number
  readonly notBefore?: Date
  readonly notAfter?: Date
  readonly addresses?: readonly string[]
  /** Names of a client in its subject alternative name. */
  readonly clientNames?: { readonly dns?: readonly string[]; readonly uris?: readonly string[] }
  readonly criticalExtension?: string
  readonly otherExtension?: string
  /** Signs with SHA-1. */
  readonly brokenHash?: boolean
}

const day = 86_400_000

export function ecKeys(namedCurve = 'P-256'): { privateKey: KeyObject; publicKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve })
}

/** Makes an X.509 v3 certificate, EC P-256 unless `keys` says otherwise, signed with ECDSA or RSA and SHA-256. */
export function makeCertificate(options: CertificateOptions): TestIdentity {
  const keys = options.keys ?? ecKeys()
  const signer = options.issuer?.privateKey ?? keys.privateKey
  const algorithm = new AlgorithmIdentifier(
    signer.asymmetricKeyType === 'rsa'
      ? { algorithm: '1.2.840.113549.1.1.11', parameters: null }
      : { algorithm: options.brokenHash === true ? '1.2.840.10045.4.1' : '1.2.840.10045.4.3.2' },
  )
  const tbs = new TBSCertificate({
    version: 2,
    serialNumber: new Uint8Array([1, ...randomBytes(15)]).buffer,
    signature: algorithm,
    issuer: distinguishedName(options.issuer?.name ?? options.name),
    validity: new Validity({
      notBefore: options.notBefore ?? new Date(Date.now() - day),
      notAfter: options.notAfter ?? new Date(Date.now() + 30 * day),
    }),
    subject: distinguishedName(options.name),
    subjectPublicKeyInfo: AsnConvert.parse(
      keys.publicKey.export({ type: 'spki', format: 'der' }),
      SubjectPublicKeyInfo,
    ),
    extensions: new Extensions(extensionsOf(options)),
  })
  const certificate = new Certificate({
    tbsCertificate: tbs,
    signatureAlgorithm: algorithm,
    signatureValue: new Uint8Array(
      sign(options.brokenHash === true ? 'sha1' : 'sha256', Buffer.from(AsnConvert.serialize(tbs)), signer),
    ).buffer,
  })
  const der = Buffer.from(AsnConvert.serialize(certificate))
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return {
    name: options.name,
    ...keys,
    der,
    pem: `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`,
    keyPem: keys.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  }
}

/** A CA and, signed by it, a server for 127.0.0.1 and localhost. */
export function makeServerIdentity(name = 'server'): {
  readonly ca: TestIdentity
  readonly server: TestIdentity
} {
  const ca = makeCertificate({ name: `${name} CA`, ca: true, usage: KeyUsageFlags.keyCertSign })
  return { ca, server: makeCertificate({ name, issuer: ca, addresses: ['127.0.0.1'] }) }
}

function distinguishedName(commonName: string): Name {
  const attribute = new AttributeTypeAndValue({
    type: '2.5.4.3',
    value: new AttributeValue({ utf8String: commonName }),
  })
  return new Name([new RelativeDistinguishedName([attribute])])
}

function extensionsOf(options: CertificateOptions): Extension[] {
  const extensions: Extension[] = []
  const add = (extnID: string, critical: boolean, value: ArrayBuffer) =>
    extensions.push(new Extension({ extnID, critical, extnValue: new OctetString(value) }))
  if (options.ca === true) {
    const limits = options.pathLength === undefined ? {} : { pathLenConstraint: options.pathLength }
    add('2.5.29.19', true, AsnConvert.serialize(new BasicConstraints({ cA: true, ...limits })))
  }
  if (options.usage !== undefined) add('2.5.29.15', true, AsnConvert.serialize(new KeyUsage(options.usage)))
  if (options.addresses !== undefined) {
    const names = [
      new GeneralName({ dNSName: 'localhost' }),
      ...options.addresses.map((iPAddress) => new GeneralName({ iPAddress })),
    ]
    add('2.5.29.17', false, AsnConvert.serialize(new SubjectAlternativeName(names)))
  }
  if (options.clientNames !== undefined) {
    const { dns = [], uris = [] } = options.clientNames
    const names = [
      ...dns.map((dNSName) => new GeneralName({ dNSName })),
      ...uris.map((uri) => new GeneralName({ uniformResourceIdentifier: uri })),
    ]
    add('2.5.29.17', false, AsnConvert.serialize(new SubjectAlternativeName(names)))
  }
  if (options.criticalExtension !== undefined)
    add(options.criticalExtension, true, new Uint8Array([5, 0]).buffer)
  if (options.otherExtension !== undefined) add(options.otherExtension, false, new Uint8Array([5, 0]).buffer)
  return extensions
}

export { KeyUsageFlags }
