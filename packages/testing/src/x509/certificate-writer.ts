import type { KeyObject } from 'node:crypto'
import {
  bitString,
  boolean,
  explicit,
  integer,
  integerOctets,
  octetString,
  oid,
  sequence,
  time,
} from './der-writer.ts'

/** A signature scheme: the AlgorithmIdentifier to write and the function that signs. */
export interface Signer {
  /** DER. */
  readonly algorithm: Uint8Array
  sign(tbs: Uint8Array): Uint8Array
}

export interface ExtensionDraft {
  oid: string
  critical?: boolean
  /** Content of the extnValue OCTET STRING. */
  value: Uint8Array
}

/** A certificate before it is signed; every part can be made wrong on its own. */
export interface CertificateDraft {
  /** Content octets of the serial number. */
  serialNumber: Uint8Array
  /** Name, DER. */
  issuer: Uint8Array
  subject: Uint8Array
  notBefore: Date
  notAfter: Date
  /** SubjectPublicKeyInfo, DER. */
  subjectPublicKeyInfo: Uint8Array
  extensions: ExtensionDraft[]
}

export function extension({ oid: name, critical = false, value }: ExtensionDraft): Uint8Array {
  return sequence(oid(name), ...(critical ? [boolean(true)] : []), octetString(value))
}

/** An X.509 v3 certificate. `outerAlgorithm` makes the algorithm beside the signature differ from the signed one. */
export function writeCertificate(
  draft: CertificateDraft,
  signer: Signer,
  outerAlgorithm: Uint8Array = signer.algorithm,
): Uint8Array {
  const extensions = draft.extensions.map(extension)
  const tbs = sequence(
    explicit(0, integer(2)),
    integerOctets(draft.serialNumber),
    signer.algorithm,
    draft.issuer,
    sequence(time(draft.notBefore), time(draft.notAfter)),
    draft.subject,
    draft.subjectPublicKeyInfo,
    ...(extensions.length === 0 ? [] : [explicit(3, sequence(...extensions))]),
  )
  return sequence(tbs, outerAlgorithm, bitString(signer.sign(tbs)))
}

/** SubjectPublicKeyInfo of a key, DER. */
export function subjectPublicKeyInfo(key: KeyObject): Uint8Array {
  return key.export({ format: 'der', type: 'spki' })
}

export interface RevocationListDraft {
  /** Name, DER. */
  readonly issuer: Uint8Array
  readonly thisUpdate: Date
  /** Undefined leaves it out. */
  readonly nextUpdate: Date | undefined
  /** Content octets of the serial numbers. */
  readonly revoked: readonly Uint8Array[]
  readonly extensions?: readonly ExtensionDraft[]
}

/** An X.509 v2 CRL. */
export function writeRevocationList(draft: RevocationListDraft, signer: Signer): Uint8Array {
  const entries = draft.revoked.map((serial) => sequence(integerOctets(serial), time(draft.thisUpdate)))
  const extensions = (draft.extensions ?? []).map(extension)
  const tbs = sequence(
    integer(1),
    signer.algorithm,
    draft.issuer,
    time(draft.thisUpdate),
    ...(draft.nextUpdate === undefined ? [] : [time(draft.nextUpdate)]),
    ...(entries.length === 0 ? [] : [sequence(...entries)]),
    ...(extensions.length === 0 ? [] : [explicit(0, sequence(...extensions))]),
  )
  return sequence(tbs, signer.algorithm, bitString(signer.sign(tbs)))
}

/** PEM text of one block (RFC 7468). */
export function pem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? []
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}
