/** Virtual VCEK and VLEK certificates (spec 03 §4.3, §4.4). */
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { type CertificateDraft, subjectPublicKeyInfo, writeCertificate } from '../x509/certificate-writer.ts'
import { ia5String, integer } from '../x509/der-writer.ts'
import {
  type AmdSignatureScheme,
  amdName,
  authorityKey,
  authorityName,
  rsaSigner,
  schemeAlgorithm,
  type VirtualGeneration,
} from './authorities.ts'
import type { VirtualTcb } from './report-writer.ts'

export type EndorsementKind = 'vcek' | 'vlek'

const arc = '1.3.6.1.4.1.3704.1'

/** OIDs of AMD's extensions, by the names of the KDS specification. */
export const amdExtensionOid = {
  structVersion: `${arc}.1`,
  productName: `${arc}.2`,
  blSpl: `${arc}.3.1`,
  teeSpl: `${arc}.3.2`,
  snpSpl: `${arc}.3.3`,
  spl4: `${arc}.3.4`,
  spl5: `${arc}.3.5`,
  spl6: `${arc}.3.6`,
  spl7: `${arc}.3.7`,
  ucodeSpl: `${arc}.3.8`,
  fmcSpl: `${arc}.3.9`,
  hwid: `${arc}.4`,
  cspId: `${arc}.5`,
} as const

/** A leaf before it is signed. */
export interface EndorsementDraft extends CertificateDraft {
  /** Whose key signs. Default: the intermediate of the kind. */
  issuerKey: KeyObject
  scheme: AmdSignatureScheme
  /** When present, written beside the signature instead of the scheme that signed. */
  outerScheme?: AmdSignatureScheme
}

export interface EndorsementSubject {
  readonly generation: VirtualGeneration
  readonly kind: EndorsementKind
  /** 64 bytes; on Turin the first 8 are the HWID. */
  readonly chipId: Uint8Array
  readonly tcb: VirtualTcb
  readonly publicKey: KeyObject
  /** The certificate was issued a year before; a VCEK lives seven years, a VLEK one and a half here. */
  readonly now: Date
}

export function newEndorsementKey(namedCurve = 'P-384'): { publicKey: KeyObject; privateKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve })
}

const day = 24 * 60 * 60 * 1000

function wholeSeconds(time: number): Date {
  return new Date(Math.floor(time / 1000) * 1000)
}

/** A correct leaf, not yet signed. */
export function endorsementDraft(subject: EndorsementSubject): EndorsementDraft {
  const { generation, kind, now } = subject
  const role = kind === 'vcek' ? 'ask' : 'asvk'
  return {
    serialNumber: Uint8Array.of(0),
    issuer: amdName(authorityName(generation, role)),
    subject: amdName(kind === 'vcek' ? 'SEV-VCEK' : 'SEV-VLEK'),
    notBefore: wholeSeconds(now.getTime() - 365 * day),
    notAfter: wholeSeconds(now.getTime() + (kind === 'vcek' ? 6 * 365 : 180) * day),
    subjectPublicKeyInfo: subjectPublicKeyInfo(subject.publicKey),
    extensions: amdExtensions(subject),
    issuerKey: authorityKey(generation, role),
    scheme: 'pss-without-trailer',
  }
}

/** Signs the leaf. */
export function writeEndorsementCertificate(draft: EndorsementDraft): Uint8Array {
  const outer = draft.outerScheme === undefined ? undefined : schemeAlgorithm(draft.outerScheme)
  return writeCertificate(draft, rsaSigner(draft.issuerKey, draft.scheme), outer)
}

function amdExtensions({ generation, kind, chipId, tcb }: EndorsementSubject) {
  const isTurin = generation === 'Turin'
  const spl = (name: keyof typeof amdExtensionOid, value: number) => ({
    oid: amdExtensionOid[name],
    value: integer(value),
  })
  const product = generation === 'Milan' && kind === 'vcek' ? 'Milan-B0' : generation
  return [
    spl('structVersion', isTurin ? 1 : 0),
    { oid: amdExtensionOid.productName, value: ia5String(product) },
    ...(isTurin ? [spl('fmcSpl', tcb.fmc ?? 0)] : []),
    spl('blSpl', tcb.bootloader),
    spl('teeSpl', tcb.tee),
    spl('snpSpl', tcb.snp),
    ...(isTurin ? [] : [spl('spl4', 0)]),
    spl('spl5', 0),
    spl('spl6', 0),
    spl('spl7', 0),
    spl('ucodeSpl', tcb.microcode),
    kind === 'vcek'
      ? { oid: amdExtensionOid.hwid, value: isTurin ? chipId.slice(0, 8) : chipId }
      : { oid: amdExtensionOid.cspId, value: ia5String('CN=cc-test-1.example.org') },
  ]
}
