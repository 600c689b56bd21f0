import { decodeHex, type JsonObject } from '@passport-kbs/protocol'
import { CheckFailure, fail } from '../rejection.ts'
import { bytesEqual, type Certificate, findExtension } from '../x509/certificate.ts'
import { type CertificateRevocationList, parseCertificateRevocationList } from '../x509/crl.ts'
import { DerError, derTag, derUnsigned, readDer, readerOf } from '../x509/der.ts'
import { decodeSinglePem } from '../x509/pem.ts'
import {
  asCheck,
  type IntelRoot,
  parseCertificateList,
  requireIssued,
  requireRoot,
  requireSignature,
} from './certificate-chain.ts'
import type { PckIssuer } from './pck-certificate.ts'
import { parseQeIdentity, type QeIdentity } from './qe-identity.ts'
import { maxCollateralBytes, openSignedJson } from './signed-json.ts'
import { parseTcbInfo, type TcbInfo } from './tcb-info.ts'

/**
 * One document as its publisher served it, not verified. Immutable: what has been verified once is remembered by the
 * identity of this object.
 */
export interface CollateralDocument {
  /** JSON text, or a CRL as DER, PEM or hexadecimal text. */
  readonly body: Uint8Array
  /** Of TCB info and QE identity: PEM, signer first, already percent-decoded. */
  readonly issuerChain?: string
}

/** The four documents that a quote is judged by (spec 04 §5.1). */
export interface QuoteCollateral {
  readonly tcbInfo: CollateralDocument
  readonly qeIdentity: CollateralDocument
  readonly pckCrl: CollateralDocument
  readonly rootCaCrl: CollateralDocument
}

export interface CollateralRequest {
  readonly tee: 'tdx' | 'sgx'
  /** 12 lower-case hex digits, out of a verified PCK certificate. */
  readonly fmspc: string
  /** The CA whose CRL is asked for; verified. */
  readonly issuer: PckIssuer
}

/** Where collateral comes from. A verifier believes nothing of what it gives until it has verified it. */
export interface CollateralSource {
  /**
   * Bounded in time.
   * @throws CheckFailure `COLLATERAL_UNAVAILABLE`, or what is wrong with all that could be had; `outage` unless the source
   *   knows that there is none for the platform
   */
  collateralFor(request: CollateralRequest): Promise<QuoteCollateral>
}

/** A signed JSON document whose signature leads to the pinned root. */
export interface SignedDocument<T> {
  readonly signer: Certificate
  /** What it says. @throws CheckFailure for a version or shape that this program does not read */
  read(): T
}

/** A CRL whose signature has been checked. */
export interface SignedCrl extends CertificateRevocationList {
  readonly nextUpdate: Date
  readonly number: number
}

/** Verifies documents against one trust anchor, each only once. */
export interface CollateralAuthenticator {
  tcbInfo(document: CollateralDocument): SignedDocument<TcbInfo>
  qeIdentity(document: CollateralDocument): SignedDocument<QeIdentity>
  rootCaCrl(document: CollateralDocument): SignedCrl
  pckCrl(document: CollateralDocument, issuer: PckIssuer): SignedCrl
}

/**
 * Checks of spec 04 §5.3 and §5.4: issuer chains, signatures, CRLs. Dates and contents are judged elsewhere.
 * All methods throw CheckFailure `COLLATERAL_MALFORMED`, `COLLATERAL_CHAIN_INVALID`, `COLLATERAL_SIGNATURE_INVALID`,
 * `CRL_INVALID`; a document that failed is looked at again, one that passed is not.
 */
export function createCollateralAuthenticator(root: IntelRoot): CollateralAuthenticator {
  const pckCrls = new WeakMap<CollateralDocument, { issuer: PckIssuer; crl: SignedCrl }>()
  return {
    tcbInfo: remembered((document) => openDocument(document, 'tcbInfo', parseTcbInfo, root)),
    qeIdentity: remembered((document) => openDocument(document, 'enclaveIdentity', parseQeIdentity, root)),
    rootCaCrl: remembered((document) => openCrl(document, root)),
    pckCrl(document, issuer) {
      const known = pckCrls.get(document)
      if (known?.issuer === issuer) return known.crl
      const crl = openCrl(document, issuer)
      pckCrls.set(document, { issuer, crl })
      return crl
    },
  }
}

function remembered<T>(open: (document: CollateralDocument) => T): (document: CollateralDocument) => T {
  const known = new WeakMap<CollateralDocument, T>()
  return (document) => {
    const opened = known.get(document) ?? open(document)
    known.set(document, opened)
    return opened
  }
}

const tcbSignerName = 'Intel SGX TCB Signing'

function openDocument<T>(
  { body, issuerChain }: CollateralDocument,
  member: 'tcbInfo' | 'enclaveIdentity',
  parse: (body: JsonObject) => T,
  root: IntelRoot,
): SignedDocument<T> {
  const code = 'COLLATERAL_CHAIN_INVALID'
  const [signer, anchor] = parseCertificateList(issuerChain ?? '', 2, code)
  if (signer === undefined || anchor === undefined) fail(code, 'not two certificates')
  requireRoot(anchor, root, code)
  const key = requireIssued(signer, root, { ca: false, commonNames: [tcbSignerName] }, code)
  const contents = openSignedJson(body, member, key)
  const read = reading(() => parse(contents))
  return { signer, read }
}

/** Parses at once, and gives the outcome, value or failure, whenever it is asked for. */
function reading<T>(parse: () => T): () => T {
  try {
    const value = parse()
    return () => value
  } catch (error) {
    if (!(error instanceof CheckFailure)) throw error
    return () => fail(error.code, error.message, error)
  }
}

const crlNumberOid = '2.5.29.20'

function openCrl(document: CollateralDocument, issuer: Pick<PckIssuer, 'certificate' | 'key'>): SignedCrl {
  return asCheck('CRL_INVALID', 'CRL', () => {
    const list = parseCertificateRevocationList(crlDer(document.body))
    if (readerOf(readDer(list.tbs)).peekTag() !== derTag.integer) throw new DerError('not of version 2')
    if (!bytesEqual(list.issuer.raw, issuer.certificate.subject.raw)) throw new DerError('of another issuer')
    requireSignature(list, issuer.key)
    const unknown = list.extensions.find(({ critical }) => critical)
    if (unknown !== undefined) throw new DerError(`critical extension ${unknown.oid}`)
    const { nextUpdate } = list
    if (nextUpdate === undefined) throw new DerError('no nextUpdate')
    return { ...list, nextUpdate, number: crlNumber(list) }
  })
}

function crlNumber(list: CertificateRevocationList): number {
  const extension = findExtension(list.extensions, crlNumberOid)
  if (extension === undefined) throw new DerError('no CRL number')
  return derUnsigned(readDer(extension.value))
}

/** Intel's PCS serves DER, or PEM when not asked for DER; a PCCS serves hexadecimal text. */
function crlDer(body: Uint8Array): Uint8Array {
  if (body.length > maxCollateralBytes)
    throw new DerError(`${body.length} bytes, at most ${maxCollateralBytes}`)
  // A CRL is longer than 127 bytes, so its second DER byte is no ASCII character, and no text looks like DER.
  if (body[0] === derTag.sequence && (body[1] ?? 0) >= 0x80) return body
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('latin1').trim()
  if (text.startsWith('-----BEGIN')) return decodeSinglePem(text, 'X509 CRL')
  if (text.length > 0 && text.length % 2 === 0 && /^[0-9a-fA-F]+$/.test(text)) return decodeHex(text)
  throw new DerError('neither DER, PEM nor hexadecimal text')
}

/** @throws CheckFailure `CERT_REVOKED` when the list names the certificate */
export function requireNotRevoked(certificate: Certificate, crl: SignedCrl, what: string): void {
  const date = crl.revoked.get(certificate.serialNumber)
  if (date !== undefined)
    fail('CERT_REVOKED', `${what} ${certificate.serialNumber} was revoked at ${date.toISOString()}`)
}
