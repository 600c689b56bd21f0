/** Virtual AMD certificate authorities: ARK, ASK and ASVK a generation, shaped like AMD's (spec 03 §4.1, §4.2). */
import { constants, createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto'
import {
  type CertificateDraft,
  type Signer,
  subjectPublicKeyInfo,
  writeCertificate,
  writeRevocationList,
} from '../x509/certificate-writer.ts'
import {
  bitString,
  boolean,
  integer,
  oid,
  printableString,
  sequence,
  set,
  utf8String,
} from '../x509/der-writer.ts'
import { type AuthorityKeyName, authorityKeys } from './authority-keys.ts'

export const virtualGenerations = ['Milan', 'Genoa', 'Turin'] as const

export type VirtualGeneration = (typeof virtualGenerations)[number]

export type AuthorityRole = 'ark' | 'ask' | 'asvk'

/** Trust roots in the shape that verifiers take: DER certificates. */
export type VirtualAmdRoots = Readonly<Record<VirtualGeneration, Readonly<Record<AuthorityRole, Uint8Array>>>>

const attributeOids = {
  commonName: '2.5.4.3',
  country: '2.5.4.6',
  locality: '2.5.4.7',
  state: '2.5.4.8',
  organization: '2.5.4.10',
  unit: '2.5.4.11',
} as const

/** A Name as AMD writes it, in that order. */
export function amdName(commonName: string): Uint8Array {
  const attribute = (type: keyof typeof attributeOids, value: Uint8Array) =>
    set(sequence(oid(attributeOids[type]), value))
  return sequence(
    attribute('unit', utf8String('Engineering')),
    attribute('country', printableString('US')),
    attribute('locality', utf8String('Santa Clara')),
    attribute('state', utf8String('CA')),
    attribute('organization', utf8String('Advanced Micro Devices')),
    attribute('commonName', utf8String(commonName)),
  )
}

export function authorityName(generation: VirtualGeneration, role: AuthorityRole): string {
  return { ark: `ARK-${generation}`, ask: `SEV-${generation}`, asvk: `SEV-VLEK-${generation}` }[role]
}

const privateKeys = new Map<AuthorityKeyName, KeyObject>()

/** One of the fixed test keys. */
export function testKey(name: AuthorityKeyName): KeyObject {
  const known = privateKeys.get(name)
  if (known !== undefined) return known
  const der = Buffer.from(authorityKeys[name].replaceAll('\n', ''), 'base64')
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  privateKeys.set(name, key)
  return key
}

export function authorityKey(generation: VirtualGeneration, role: AuthorityRole): KeyObject {
  return testKey(`${generation}/${role}`)
}

/** The encodings that AMD uses, and schemes that a verifier must not accept. */
export type AmdSignatureScheme = 'pss' | 'pss-without-trailer' | 'pss-sha256' | 'pss-salt-32' | 'pkcs1'

const pssAlgorithms: Readonly<Record<AmdSignatureScheme, string>> = {
  pss: '304606092a864886f70d01010a3039a00f300d06096086480165030402020500a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130a303020101',
  'pss-without-trailer':
    '304106092a864886f70d01010a3034a00f300d06096086480165030402020500a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130',
  'pss-sha256':
    '304106092a864886f70d01010a3034a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120',
  'pss-salt-32':
    '304106092a864886f70d01010a3034a00f300d06096086480165030402020500a11c301a06092a864886f70d010108300d06096086480165030402020500a203020120',
  pkcs1: '300d06092a864886f70d01010c0500',
}

/** The AlgorithmIdentifier of a scheme, DER. */
export function schemeAlgorithm(scheme: AmdSignatureScheme): Uint8Array {
  return Buffer.from(pssAlgorithms[scheme], 'hex')
}

/** Signs with an RSA key in one of the schemes. */
export function rsaSigner(key: KeyObject, scheme: AmdSignatureScheme = 'pss'): Signer {
  const hash = scheme === 'pss-sha256' ? 'sha256' : 'sha384'
  const padding = scheme === 'pkcs1' ? constants.RSA_PKCS1_PADDING : constants.RSA_PKCS1_PSS_PADDING
  const saltLength = scheme === 'pss-sha256' || scheme === 'pss-salt-32' ? 32 : 48
  return {
    algorithm: schemeAlgorithm(scheme),
    sign: (tbs) => sign(hash, tbs, { key, padding, ...(scheme === 'pkcs1' ? {} : { saltLength }) }),
  }
}

const rootSerials: Readonly<Record<VirtualGeneration, number>> = { Milan: 1, Genoa: 2, Turin: 3 }

/** `010000`, `010001`, `010101` for Milan, and so on. */
export function authoritySerial(generation: VirtualGeneration, role: AuthorityRole): Uint8Array {
  const tail = { ark: [0, 0], ask: [0, 1], asvk: [1, 1] }[role]
  return Uint8Array.of(rootSerials[generation], ...tail)
}

export interface Validity {
  readonly notBefore: Date
  readonly notAfter: Date
}

const authorityValidity: Validity = {
  notBefore: new Date('2020-10-22T17:23:05Z'),
  notAfter: new Date('2045-10-22T17:23:05Z'),
}

const keyCertSign = 0x04
const cRLSign = 0x02

/** The draft of an authority certificate; change it and sign it with the ARK to get a wrong one. */
export function authorityDraft(
  generation: VirtualGeneration,
  role: AuthorityRole,
  validity: Validity = authorityValidity,
): CertificateDraft {
  const usage = role === 'ark' ? keyCertSign | cRLSign : keyCertSign
  const constraints = role === 'ark' ? sequence(boolean(true)) : sequence(boolean(true), integer(0))
  return {
    serialNumber: authoritySerial(generation, role),
    issuer: amdName(authorityName(generation, 'ark')),
    subject: amdName(authorityName(generation, role)),
    ...validity,
    subjectPublicKeyInfo: subjectPublicKeyInfo(createPublicKey(authorityKey(generation, role))),
    extensions: [
      { oid: '2.5.29.15', critical: true, value: bitString(Uint8Array.of(usage), role === 'ark' ? 1 : 2) },
      { oid: '2.5.29.19', critical: true, value: constraints },
    ],
  }
}

/** An authority certificate signed by the ARK of its generation. */
export function authorityCertificate(
  generation: VirtualGeneration,
  role: AuthorityRole,
  validity?: Validity,
): Uint8Array {
  return writeCertificate(
    authorityDraft(generation, role, validity),
    rsaSigner(authorityKey(generation, 'ark')),
  )
}

let roots: VirtualAmdRoots | undefined

/** The roots of all generations; made once a process. */
export function virtualAmdRoots(): VirtualAmdRoots {
  roots ??= {
    Milan: rootBundle('Milan'),
    Genoa: rootBundle('Genoa'),
    Turin: rootBundle('Turin'),
  }
  return roots
}

/** The three authority certificates of one generation, each with the given validity where there is one. */
export function rootBundle(
  generation: VirtualGeneration,
  validity: Readonly<Partial<Record<AuthorityRole, Validity>>> = {},
): Readonly<Record<AuthorityRole, Uint8Array>> {
  const certificate = (role: AuthorityRole) => authorityCertificate(generation, role, validity[role])
  return { ark: certificate('ark'), ask: certificate('ask'), asvk: certificate('asvk') }
}

export interface VirtualCrlOptions {
  readonly generation: VirtualGeneration
  readonly thisUpdate: Date
  readonly nextUpdate?: Date
  /** Authorities whose serial numbers are listed. Default: none. */
  readonly revoked?: readonly AuthorityRole[]
  /** Default `ark`. With `ask` the list is signed by a key that must not sign lists. */
  readonly signedBy?: AuthorityRole
}

/** A CRL as AMD publishes it, DER. */
export function virtualCrl(options: VirtualCrlOptions): Uint8Array {
  const { generation, thisUpdate, nextUpdate, revoked = [], signedBy = 'ark' } = options
  const draft = {
    issuer: amdName(authorityName(generation, 'ark')),
    thisUpdate,
    nextUpdate,
    revoked: revoked.map((role) => authoritySerial(generation, role)),
    extensions: [{ oid: '2.5.29.20', value: integer(4) }],
  }
  return writeRevocationList(draft, rsaSigner(authorityKey(generation, signedBy)))
}
