/** From the endorsement key to AMD's pinned root (spec 03 §4.2, §4.7, §5.1). */
import { constants, createHash, type KeyObject, verify } from 'node:crypto'
import { fail } from '../rejection.ts'
import {
  basicConstraints,
  bytesEqual,
  type Certificate,
  commonName,
  keyUsage,
  parseCertificate,
  publicKeyOf,
  validityAt,
} from '../x509/certificate.ts'
import { DerError } from '../x509/der.ts'
import { decodeSinglePem } from '../x509/pem.ts'
import { type AmdGeneration, amdGenerations } from './generation.ts'
import type { SigningKey } from './report.ts'
import type { AmdRootBundle, AmdRoots } from './roots.ts'
import { intermediateName, type VekProfile, vekProfileOf } from './vek-profile.ts'

export const certificateLimit = 16 * 1024

/**
 * The two encodings of RSASSA-PSS with SHA-384, MGF1-SHA-384 and salt length 48 that AMD uses. The first spells out
 * the default trailer field, which is not DER; comparing the bytes leaves a certificate no parameter to choose.
 */
const pssAlgorithms = [
  '304606092a864886f70d01010a3039a00f300d06096086480165030402020500a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130a303020101',
  '304106092a864886f70d01010a3034a00f300d06096086480165030402020500a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130',
].map((hex) => Buffer.from(hex, 'hex'))

/** What certificates and CRLs have in common. */
export interface AmdSigned {
  readonly tbs: Uint8Array
  readonly innerSignatureAlgorithm: Uint8Array
  readonly signatureAlgorithm: Uint8Array
  readonly signature: Uint8Array
}

/** RSASSA-PSS as AMD uses it, over the exact signed bytes; both algorithm identifiers equal and known. */
export function isSignedByAmdKey(signed: AmdSigned, key: KeyObject): boolean {
  const { tbs, innerSignatureAlgorithm, signatureAlgorithm, signature } = signed
  if (!bytesEqual(innerSignatureAlgorithm, signatureAlgorithm)) return false
  if (!pssAlgorithms.some((algorithm) => algorithm.equals(signatureAlgorithm))) return false
  try {
    return verify('sha384', tbs, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 48 }, signature)
  } catch {
    // A key of another type cannot verify PSS at all.
    return false
  }
}

/** A certificate authority whose key is ready for use. */
export interface AmdAuthority {
  readonly certificate: Certificate
  readonly key: KeyObject
}

/** The prepared authorities of one generation. */
export interface AmdAuthorities {
  readonly ark: AmdAuthority
  readonly intermediates: Readonly<Record<SigningKey, AmdAuthority>>
}

/**
 * Parses the pinned roots and verifies them once: ARK self-signed, ARK signs ASK and ASVK, names and CA flags.
 * Throws `TypeError` when the configured roots are not a chain; no evidence can cause that.
 */
export function prepareRoots(roots: AmdRoots): ReadonlyMap<AmdGeneration, AmdAuthorities> {
  const prepared = new Map<AmdGeneration, AmdAuthorities>()
  for (const generation of amdGenerations) {
    const bundle = roots[generation]
    if (bundle !== undefined) prepared.set(generation, prepareBundle(generation, bundle))
  }
  return prepared
}

function prepareBundle(generation: AmdGeneration, bundle: AmdRootBundle): AmdAuthorities {
  const ark = authorityOf(bundle.ark)
  const ask = authorityOf(bundle.ask)
  const asvk = authorityOf(bundle.asvk)
  const sound =
    [ark, ask, asvk].every(({ certificate }) => isSignedByAmdKey(certificate, ark.key)) &&
    commonName(ark.certificate.subject) === `ARK-${generation}` &&
    isIntermediate(ask.certificate, generation, 'vcek') &&
    isIntermediate(asvk.certificate, generation, 'vlek')
  if (!sound) throw new TypeError(`the roots for ${generation} are not a chain of AMD certificates`)
  return { ark, intermediates: { vcek: ask, vlek: asvk } }
}

function authorityOf(der: Uint8Array): AmdAuthority {
  const certificate = parseCertificate(der)
  return { certificate, key: publicKeyOf(certificate) }
}

function isIntermediate(certificate: Certificate, generation: AmdGeneration, kind: SigningKey): boolean {
  return (
    commonName(certificate.subject) === intermediateName(generation, kind) &&
    basicConstraints(certificate)?.ca === true &&
    keyUsage(certificate)?.keyCertSign === true
  )
}

/** The certificates from which a chain is read: DER, or PEM text where evidence allows it. */
export interface ChainMaterial {
  readonly leaf: Uint8Array
  /** ASK or ASVK; the pinned one when absent. */
  readonly intermediate?: Uint8Array
  /** Must carry the pinned key. */
  readonly ark?: Uint8Array
}

/**
 * A VEK, its intermediate and its root. The checks that do not depend on time remember that they have passed, so
 * that a chain kept by `ChainStore` costs nothing the second time.
 */
export class VekChain {
  readonly generation: AmdGeneration
  readonly kind: SigningKey
  readonly leaf: Certificate
  readonly intermediate: Certificate
  readonly ark: AmdAuthority
  readonly #suppliedArk: Certificate | undefined
  readonly #pinnedIntermediate: AmdAuthority
  #signaturesChecked = false
  #profile: VekProfile | undefined
  #key: KeyObject | undefined

  constructor(
    generation: AmdGeneration,
    kind: SigningKey,
    authorities: AmdAuthorities,
    material: ChainMaterial,
  ) {
    this.generation = generation
    this.kind = kind
    this.ark = authorities.ark
    this.#pinnedIntermediate = authorities.intermediates[kind]
    this.#suppliedArk = material.ark === undefined ? undefined : readCertificate(material.ark)
    this.intermediate =
      material.intermediate === undefined
        ? this.#pinnedIntermediate.certificate
        : readCertificate(material.intermediate)
    this.leaf = readCertificate(material.leaf)
  }

  /** Every signature from the pinned ARK down to the leaf. Rejects with CERT_CHAIN_INVALID. */
  checkSignatures(): void {
    if (this.#signaturesChecked) return
    this.#checkSuppliedArk()
    const intermediateKey = this.#checkedIntermediateKey()
    if (!isSignedByAmdKey(this.leaf, intermediateKey)) {
      fail('CERT_CHAIN_INVALID', 'the endorsement key certificate is not signed by its intermediate')
    }
    if (!bytesEqual(this.leaf.issuer.raw, this.intermediate.subject.raw)) {
      fail('CERT_CHAIN_INVALID', 'issuer of the endorsement key certificate is not the intermediate')
    }
    this.#signaturesChecked = true
  }

  #checkSuppliedArk(): void {
    const supplied = this.#suppliedArk
    if (supplied === undefined) return
    const sameKey = bytesEqual(supplied.subjectPublicKey.raw, this.ark.certificate.subjectPublicKey.raw)
    if (!sameKey || !isSignedByAmdKey(supplied, this.ark.key)) {
      fail('CERT_CHAIN_INVALID', `the supplied ARK is not the root of ${this.generation}`)
    }
  }

  #checkedIntermediateKey(): KeyObject {
    if (this.intermediate === this.#pinnedIntermediate.certificate) return this.#pinnedIntermediate.key
    if (!isSignedByAmdKey(this.intermediate, this.ark.key)) {
      fail('CERT_CHAIN_INVALID', 'the supplied intermediate is not signed by the ARK')
    }
    try {
      return publicKeyOf(this.intermediate)
    } catch (cause) {
      return fail('CERT_CHAIN_INVALID', 'the supplied intermediate has an unusable key', cause)
    }
  }

  /** ARK, intermediate and leaf are valid at `now`. Rejects with CERT_EXPIRED or CERT_NOT_YET_VALID. */
  checkValidity(now: Date): void {
    for (const certificate of [this.ark.certificate, this.intermediate, this.leaf]) {
      const validity = validityAt(certificate, now)
      const name = commonName(certificate.subject)
      if (validity === 'expired') fail('CERT_EXPIRED', `${name} is past its notAfter`)
      if (validity === 'not-yet-valid') fail('CERT_NOT_YET_VALID', `${name} is before its notBefore`)
    }
  }

  /** The leaf's claims about chip and firmware. Rejects with CERT_PROFILE_INVALID. */
  profile(): VekProfile {
    if (this.#profile !== undefined) return this.#profile
    if (!isIntermediate(this.intermediate, this.generation, this.kind)) {
      fail('CERT_PROFILE_INVALID', `intermediate ${commonName(this.intermediate.subject)}`)
    }
    const profile = vekProfileOf(this.leaf, this.generation, this.kind)
    try {
      this.#key = publicKeyOf(this.leaf)
    } catch (cause) {
      fail('CERT_PROFILE_INVALID', 'endorsement key is not a point on P-384', cause)
    }
    this.#profile = profile
    return profile
  }

  /** The endorsement key; only after `checkSignatures` and `profile` have passed. */
  key(): KeyObject {
    if (!this.#signaturesChecked || this.#key === undefined) throw new TypeError('chain not verified')
    return this.#key
  }

  get verified(): boolean {
    return this.#signaturesChecked && this.#profile !== undefined
  }
}

const pemBegin = '-----BEGIN CERTIFICATE-----'

/** DER, or PEM text when it begins like one. Rejects with CERT_MALFORMED. */
export function readCertificate(bytes: Uint8Array): Certificate {
  if (bytes.length > certificateLimit) fail('CERT_MALFORMED', `certificate of ${bytes.length} bytes`)
  try {
    return parseCertificate(derOf(bytes))
  } catch (cause) {
    if (cause instanceof DerError) fail('CERT_MALFORMED', cause.message, cause)
    throw cause
  }
}

function derOf(bytes: Uint8Array): Uint8Array {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
  return text.startsWith(pemBegin) ? decodeSinglePem(text, 'CERTIFICATE') : bytes
}

/** Keeps chains whose signatures and profile have passed, by the digest of their bytes; the oldest go first. */
export class ChainStore {
  readonly #authorities: ReadonlyMap<AmdGeneration, AmdAuthorities>
  readonly #chains = new Map<string, VekChain>()
  readonly #limit: number

  constructor(roots: AmdRoots, limit = 4096) {
    this.#authorities = prepareRoots(roots)
    this.#limit = limit
  }

  /** The chain for `material`, known or read anew. Rejects with CERT_MALFORMED or PRODUCT_UNSUPPORTED. */
  open(generation: AmdGeneration, kind: SigningKey, material: ChainMaterial): VekChain {
    const known = this.#chains.get(digestOf(generation, kind, material))
    if (known !== undefined) return known
    const authorities = this.#authorities.get(generation)
    if (authorities === undefined) fail('PRODUCT_UNSUPPORTED', `no trust root for ${generation}`)
    return new VekChain(generation, kind, authorities, material)
  }

  /** Remembers a chain; one that is not verified is not kept. */
  keep(chain: VekChain, material: ChainMaterial): void {
    if (!chain.verified) return
    const digest = digestOf(chain.generation, chain.kind, material)
    this.#chains.delete(digest)
    this.#chains.set(digest, chain)
    const oldest = this.#chains.keys().next()
    if (this.#chains.size > this.#limit && oldest.done === false) this.#chains.delete(oldest.value)
  }
}

/** Lengths separate the parts, so that no two materials hash the same bytes. */
function digestOf(generation: AmdGeneration, kind: SigningKey, material: ChainMaterial): string {
  const { leaf, intermediate, ark } = material
  const lengths = [leaf, intermediate, ark].map((part) => part?.length ?? '-').join(' ')
  const hash = createHash('sha256').update(`${generation} ${kind} ${lengths}\n`)
  for (const part of [leaf, intermediate, ark]) if (part !== undefined) hash.update(part)
  return hash.digest('base64')
}
