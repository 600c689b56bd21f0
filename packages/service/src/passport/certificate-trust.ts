import { createHash, type KeyObject, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { AsnConvert } from '@peculiar/asn1-schema'
import { BasicConstraints, Certificate, KeyUsage, KeyUsageFlags } from '@peculiar/asn1-x509'
import type { Logger } from 'pino'
import { fileRefreshSeconds } from '../keys/key-source.ts'
import { keyFromObject, type VerificationKey } from '../keys/verification-key.ts'

/** A certificate chain does not lead to a pinned certificate; the message says which rule it breaks. */
export class UntrustedCertificate extends Error {
  override readonly name = 'UntrustedCertificate'
}

/** Pinned certificates that vouch for signing keys. */
export interface CertificateTrust {
  /**
   * The key of the leaf, when its chain leads to a pinned certificate and is valid now.
   * @param chain DER, leaf first; the order of the others does not matter
   * @throws UntrustedCertificate
   */
  verify(chain: readonly Uint8Array[], now: Date): Promise<VerificationKey>
}

const maxChain = 8
const maxCertificateBytes = 16_384
const cacheSize = 64

const oid = {
  keyUsage: '2.5.29.15',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  sha1Rsa: '1.2.840.113549.1.1.5',
}
/** Extensions that may be critical: key usage, alternative names, basic constraints, policies, extended key usage. */
const understood = new Set([oid.keyUsage, '2.5.29.17', oid.basicConstraints, '2.5.29.32', '2.5.29.37'])
/** MD2, MD5 and SHA-1 with RSA; SHA-1 with ECDSA. */
const brokenSignatures = new Set([
  '1.2.840.113549.1.1.2',
  '1.2.840.113549.1.1.4',
  oid.sha1Rsa,
  '1.2.840.10045.4.1',
])

/** A certificate with what OpenSSL's view of it does not show. */
interface ParsedCertificate {
  readonly x509: X509Certificate
  readonly isCa: boolean
  /** CA certificates that may follow below this one. */
  readonly pathLength: number
  readonly usage: number | undefined
}

interface CachedChain {
  readonly key: VerificationKey
  readonly notBefore: Date
  readonly notAfter: Date
}

/**
 * Reads PEM bundles of pinned certificates (spec 01 §4.2 `trusted_certs_paths`).
 * @throws UntrustedCertificate naming a file that has no usable certificate
 */
async function readCertificateTrust(paths: readonly string[]): Promise<CertificateTrust> {
  const anchors: ParsedCertificate[] = []
  for (const path of paths) {
    const blocks =
      (await readFile(path, 'utf8')).match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
    if (blocks.length === 0) throw new UntrustedCertificate(`${path}: there is no certificate in this file`)
    for (const block of blocks) anchors.push(parseNamed(path, block))
  }
  return createCertificateTrust(anchors)
}

/**
 * The same, read again every `refreshSeconds`, at least every ten, so that a CA can be exchanged without a restart; files that cannot be used
 * then leave the former in force.
 * @throws UntrustedCertificate
 */
export async function openCertificateTrust(
  paths: readonly string[],
  options: { readonly refreshSeconds: number; readonly logger: Logger },
): Promise<CertificateTrust & { close(): void }> {
  let trust = await readCertificateTrust(paths)
  const refresh = async () => {
    try {
      trust = await readCertificateTrust(paths)
    } catch (err) {
      options.logger.error({ err }, 'trusted certificates cannot be read again; the former stay in force')
    }
  }
  const seconds = Math.min(options.refreshSeconds, fileRefreshSeconds)
  const timer = setInterval(() => void refresh(), seconds * 1000).unref()
  return { verify: (chain, now) => trust.verify(chain, now), close: () => clearInterval(timer) }
}

function parseNamed(path: string, pem: string): ParsedCertificate {
  try {
    return parseCertificate(new X509Certificate(pem))
  } catch (cause) {
    throw new UntrustedCertificate(`${path}: a certificate cannot be read`, { cause })
  }
}

function createCertificateTrust(anchors: readonly ParsedCertificate[]): CertificateTrust {
  const cache = new Map<string, CachedChain>()
  return {
    async verify(chain, now) {
      const digest = digestOf(chain)
      const cached = cache.get(digest) ?? remember(cache, digest, await verifyChain(chain, anchors, now))
      requireValidAt(cached, now)
      return cached.key
    },
  }
}

function remember(cache: Map<string, CachedChain>, digest: string, chain: CachedChain): CachedChain {
  if (cache.size >= cacheSize) cache.clear()
  cache.set(digest, chain)
  return chain
}

function digestOf(chain: readonly Uint8Array[]): string {
  const hash = createHash('sha256')
  for (const der of chain) hash.update(String(der.byteLength)).update(':').update(der)
  return hash.digest('base64')
}

async function verifyChain(
  chain: readonly Uint8Array[],
  anchors: readonly ParsedCertificate[],
  now: Date,
): Promise<CachedChain> {
  if (chain.length === 0 || chain.length > maxChain)
    throw new UntrustedCertificate(`a chain has 1 to ${maxChain} certificates`)
  const [leaf, ...others] = chain.map(parseDer)
  if (leaf === undefined) throw new UntrustedCertificate('the chain is empty')
  if (leaf.usage !== undefined && (leaf.usage & KeyUsageFlags.digitalSignature) === 0) {
    throw new UntrustedCertificate('the leaf is not for digital signatures')
  }
  const path = pathToAnchor(leaf, others, anchors, now)
  if (path.length > 1 && leaf.isCa) throw new UntrustedCertificate('the leaf is a CA')
  for (const { x509 } of path) requireStrongKey(x509.publicKey)
  return {
    key: await keyFromObject(leaf.x509.publicKey),
    notBefore: new Date(Math.max(...path.map(({ x509 }) => x509.validFromDate.getTime()))),
    notAfter: new Date(Math.min(...path.map(({ x509 }) => x509.validToDate.getTime()))),
  }
}

/** Leaf, intermediates, pinned certificate; the leaf alone when it is pinned itself. */
function pathToAnchor(
  leaf: ParsedCertificate,
  others: readonly ParsedCertificate[],
  anchors: readonly ParsedCertificate[],
  now: Date,
): readonly ParsedCertificate[] {
  const path = [leaf]
  while (path.length <= maxChain) {
    const last = path.at(-1) ?? leaf
    if (anchors.some((anchor) => isSame(anchor, last))) return path
    const below = path.length - 1
    const usable = (issuer: ParsedCertificate) =>
      !path.includes(issuer) && isValidAt(issuer, now) && hasIssued(issuer, last, below)
    const anchor = anchors.find(usable)
    if (anchor !== undefined) return [...path, anchor]
    const next = others.find(usable)
    if (next === undefined)
      throw new UntrustedCertificate('the chain does not lead to a pinned certificate that is valid')
    path.push(next)
  }
  throw new UntrustedCertificate('the chain is too long')
}

/** @param below CA certificates between `issuer` and the leaf */
function hasIssued(issuer: ParsedCertificate, subject: ParsedCertificate, below: number): boolean {
  if (!issuer.isCa || below > issuer.pathLength) return false
  if (issuer.usage !== undefined && (issuer.usage & KeyUsageFlags.keyCertSign) === 0) return false
  return subject.x509.checkIssued(issuer.x509) && subject.x509.verify(issuer.x509.publicKey)
}

function parseDer(der: Uint8Array): ParsedCertificate {
  if (der.byteLength > maxCertificateBytes) throw new UntrustedCertificate('a certificate is too large')
  try {
    const x509 = new X509Certificate(der)
    // trailing bytes would make two readings of one certificate
    if (!x509.raw.equals(der)) throw new UntrustedCertificate('a certificate is followed by other bytes')
    return parseCertificate(x509)
  } catch (cause) {
    if (cause instanceof UntrustedCertificate) throw cause
    throw new UntrustedCertificate('a certificate cannot be read', { cause })
  }
}

/** RFC 5280 §4.2 and §6.1.4: critical extensions that are not understood refuse the certificate. */
function parseCertificate(x509: X509Certificate): ParsedCertificate {
  const { tbsCertificate, signatureAlgorithm } = AsnConvert.parse(x509.raw, Certificate)
  const extensions = tbsCertificate.extensions ?? []
  const unknown = extensions.find((extension) => extension.critical && !understood.has(extension.extnID))
  if (unknown !== undefined)
    throw new UntrustedCertificate(`the critical extension ${unknown.extnID} is not understood`)
  const extensionValue = (id: string) =>
    extensions.find((extension) => extension.extnID === id)?.extnValue.buffer
  if (extensionValue(oid.nameConstraints) !== undefined)
    throw new UntrustedCertificate('name constraints are not supported')
  const selfSigned = x509.subject === x509.issuer
  if (!selfSigned && brokenSignatures.has(signatureAlgorithm.algorithm)) {
    throw new UntrustedCertificate('a certificate is signed with a broken hash')
  }
  const constraints = extensionValue(oid.basicConstraints)
  const usage = extensionValue(oid.keyUsage)
  const basic = constraints === undefined ? undefined : AsnConvert.parse(constraints, BasicConstraints)
  return {
    x509,
    isCa: basic?.cA ?? false,
    pathLength: basic?.pathLenConstraint ?? maxChain,
    usage: usage === undefined ? undefined : AsnConvert.parse(usage, KeyUsage).toNumber(),
  }
}

function isSame(a: ParsedCertificate, b: ParsedCertificate): boolean {
  return a.x509.raw.equals(b.x509.raw)
}

function isValidAt({ x509 }: ParsedCertificate, now: Date): boolean {
  return x509.validFromDate <= now && now <= x509.validToDate
}

function requireValidAt(chain: CachedChain, now: Date): void {
  if (now < chain.notBefore || now > chain.notAfter)
    throw new UntrustedCertificate('a certificate of the chain is not valid now')
}

function requireStrongKey(key: KeyObject): void {
  if (key.asymmetricKeyType === 'rsa' && (key.asymmetricKeyDetails?.modulusLength ?? 0) < 2048) {
    throw new UntrustedCertificate('a certificate has an RSA key below 2048 bits')
  }
}
