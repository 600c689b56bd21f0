import type { KeyObject } from 'node:crypto'
import { encodeHex } from '@passport-kbs/protocol'
import { fail } from '../rejection.ts'
import { bytesEqual, type Certificate, commonName, findExtension, validityAt } from '../x509/certificate.ts'
import {
  type DerElement,
  DerError,
  type DerReader,
  derBoolean,
  derOctets,
  derOid,
  derTag,
  derUnsigned,
  readDer,
  readerOf,
} from '../x509/der.ts'
import {
  asCheck,
  type IntelRoot,
  parseCertificateList,
  requireIssued,
  requireRoot,
} from './certificate-chain.ts'

/** Which of Intel's two issuing CAs signed a PCK certificate: multi-package (platform) or single-package (processor). */
export type PckCa = 'platform' | 'processor'

/** The PCK CA certificate, verified up to the pinned root, with its key: it signs PCK certificates and their CRL. */
export interface PckIssuer {
  readonly ca: PckCa
  readonly certificate: Certificate
  readonly key: KeyObject
}

/** A PCK certificate chain whose signatures lead to the pinned root; its dates are checked apart. */
export interface PckChain {
  readonly leaf: Certificate
  readonly leafKey: KeyObject
  readonly issuer: PckIssuer
  readonly root: IntelRoot
}

const pckName = 'Intel SGX PCK Certificate'
const pckCaNames = {
  'Intel SGX PCK Platform CA': 'platform',
  'Intel SGX PCK Processor CA': 'processor',
} as const

/**
 * Reads the chain of a quote, leaf first, and verifies it up to the pinned root (spec 04 §4.2).
 * @param pem the certification data of the quote
 * @throws CheckFailure `PCK_CHAIN_INVALID`
 */
export function verifyPckChain(pem: Uint8Array, root: IntelRoot): PckChain {
  const code = 'PCK_CHAIN_INVALID'
  const text = Buffer.from(pem.buffer, pem.byteOffset, pem.byteLength).toString('latin1')
  const [leaf, ca, anchor] = parseCertificateList(text, 3, code)
  if (leaf === undefined || ca === undefined || anchor === undefined) fail(code, 'not three certificates')
  requireRoot(anchor, root, code)
  const issuer = verifyPckIssuer(ca, root)
  const leafKey = requireIssued(leaf, issuer, { ca: false, commonNames: [pckName] }, code)
  return { leaf, leafKey, issuer, root }
}

// Two certificates per root in the world, and only verified ones get in, so the memo cannot be made to grow.
const verifiedIssuers = new WeakMap<IntelRoot, PckIssuer[]>()

/**
 * Verifies the certificate of a PCK CA against the pinned root.
 * @throws CheckFailure `PCK_CHAIN_INVALID`
 */
export function verifyPckIssuer(certificate: Certificate, root: IntelRoot): PckIssuer {
  const known = verifiedIssuers.get(root) ?? []
  const match = known.find((issuer) => bytesEqual(issuer.certificate.raw, certificate.raw))
  if (match !== undefined) return match
  const role = { ca: true, commonNames: Object.keys(pckCaNames) }
  const key = requireIssued(certificate, root, role, 'PCK_CHAIN_INVALID')
  const ca = pckCaNames[commonName(certificate.subject) as keyof typeof pckCaNames]
  const issuer = { ca, certificate, key }
  verifiedIssuers.set(root, [...known, issuer].slice(-4))
  return issuer
}

/**
 * Demands that each certificate of the chain is valid at `now`.
 * @param reportExpired true: expiry is left to the claim `collateral_expiration_status`
 * @throws CheckFailure `CERT_EXPIRED` or `CERT_NOT_YET_VALID`
 */
export function requireValidPckChain(chain: PckChain, now: Date, reportExpired: boolean): void {
  for (const certificate of [chain.leaf, chain.issuer.certificate, chain.root.certificate]) {
    const validity = validityAt(certificate, now)
    const name = commonName(certificate.subject)
    if (validity === 'not-yet-valid')
      fail('CERT_NOT_YET_VALID', `${name} begins ${certificate.notBefore.toISOString()}`)
    if (validity === 'expired' && !reportExpired)
      fail('CERT_EXPIRED', `${name} ended ${certificate.notAfter.toISOString()}`)
  }
}

/** What Intel states about the platform in the PCK certificate (Intel SGX PCK certificate and CRL profile, §1.3.5). */
export interface PckExtension {
  readonly ppid: Uint8Array
  /** SVNs of the 16 SGX TCB components; what TCB levels are compared with, not CPUSVN. */
  readonly componentSvns: readonly number[]
  readonly pceSvn: number
  /** 4 lower-case hex digits. */
  readonly pceId: string
  /** 12 lower-case hex digits. */
  readonly fmspc: string
  readonly sgxType: number
  /** Of platforms with a Platform CA certificate only. */
  readonly platform?: {
    readonly instanceId: Uint8Array
    readonly dynamic: boolean
    readonly cachedKeys: boolean
    readonly smtEnabled: boolean
  }
}

const sgxExtensionOid = '1.2.840.113741.1.13.1'

/**
 * Reads the SGX extension of a PCK certificate (spec 04 §4.3).
 * @param ca the issuer; platform instance id and configuration are there for the Platform CA, and only there
 * @throws CheckFailure `PCK_EXTENSION_INVALID`
 */
export function parsePckExtension(leaf: Certificate, ca: PckCa): PckExtension {
  return asCheck('PCK_EXTENSION_INVALID', 'SGX extension', () => {
    const extension = findExtension(leaf.extensions, sgxExtensionOid)
    if (extension === undefined) throw new DerError('absent')
    const fields = readOidMap(readDer(extension.value, derTag.sequence), sgxExtensionOid)
    const tcb = readOidMap(required(fields, 2), `${sgxExtensionOid}.2`)
    const base = {
      ppid: octets(fields, 1, 16),
      componentSvns: Array.from({ length: 16 }, (_, index) => unsigned(tcb, index + 1, 0xff)),
      pceSvn: unsigned(tcb, 17, 0xffff),
      pceId: encodeHex(octets(fields, 3, 2)),
      fmspc: encodeHex(octets(fields, 4, 6)),
      sgxType: derUnsigned(required(fields, 5), derTag.enumerated),
    }
    octets(tcb, 18, 16)
    if (ca === 'platform') return { ...base, platform: readPlatform(fields) }
    if (fields.has(6) || fields.has(7)) throw new DerError('platform members under the Processor CA')
    return base
  })
}

function readPlatform(fields: ReadonlyMap<number, DerElement>): NonNullable<PckExtension['platform']> {
  const configuration = readOidMap(required(fields, 7), `${sgxExtensionOid}.7`)
  return {
    instanceId: octets(fields, 6, 16),
    dynamic: derBoolean(required(configuration, 1)),
    cachedKeys: derBoolean(required(configuration, 2)),
    smtEnabled: derBoolean(required(configuration, 3)),
  }
}

/** SEQUENCE of SEQUENCE { OID, value }: the values by the last arc of `prefix`.n; other OIDs are left out. */
function readOidMap(sequence: DerElement, prefix: string): Map<number, DerElement> {
  if (sequence.tag !== derTag.sequence) throw new DerError(`${prefix} is not a sequence`)
  const list: DerReader = readerOf(sequence)
  const seen = new Set<string>()
  const values = new Map<number, DerElement>()
  while (!list.done) {
    const entry = readerOf(list.next(derTag.sequence))
    const oid = derOid(entry.next())
    const value = entry.next()
    entry.end()
    if (seen.has(oid)) throw new DerError(`${oid} occurs twice`)
    seen.add(oid)
    const arc = oid.startsWith(`${prefix}.`) ? oid.slice(prefix.length + 1) : ''
    if (/^\d+$/.test(arc)) values.set(Number(arc), value)
  }
  return values
}

function required(fields: ReadonlyMap<number, DerElement>, arc: number): DerElement {
  const element = fields.get(arc)
  if (element === undefined) throw new DerError(`member ${arc} is absent`)
  return element
}

function octets(fields: ReadonlyMap<number, DerElement>, arc: number, size: number): Uint8Array {
  const bytes = derOctets(required(fields, arc))
  if (bytes.length !== size) throw new DerError(`member ${arc} has ${bytes.length} bytes, not ${size}`)
  return bytes
}

function unsigned(fields: ReadonlyMap<number, DerElement>, arc: number, max: number): number {
  const value = derUnsigned(required(fields, arc))
  if (value > max) throw new DerError(`member ${arc} is ${value}, at most ${max}`)
  return value
}
