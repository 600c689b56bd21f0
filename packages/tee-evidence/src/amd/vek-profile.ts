/** What AMD's VCEK and VLEK certificates say about chip and firmware (spec 03 §4.3, §4.4; AMD 57230). */
import { fail } from '../rejection.ts'
import { basicConstraints, type Certificate, commonName, findExtension } from '../x509/certificate.ts'
import { DerError, derTag, derText, derUnsigned, readDer } from '../x509/der.ts'
import type { AmdGeneration } from './generation.ts'
import type { SigningKey, SnpReport } from './report.ts'
import { decodeTcbVersion, type TcbComponent, type TcbVersion } from './tcb-version.ts'

export interface VekProfile {
  readonly kind: SigningKey
  readonly tcb: TcbVersion
  /** VCEK: the chip, 64 bytes, on Turin 8. */
  readonly hwid?: Uint8Array
  /** VLEK: the cloud provider that the key was given to. */
  readonly cspId?: string
}

const arc = '1.3.6.1.4.1.3704.1'
const oid = {
  structVersion: `${arc}.1`,
  productName: `${arc}.2`,
  bootloader: `${arc}.3.1`,
  tee: `${arc}.3.2`,
  snp: `${arc}.3.3`,
  spl4: `${arc}.3.4`,
  spl5: `${arc}.3.5`,
  spl6: `${arc}.3.6`,
  spl7: `${arc}.3.7`,
  microcode: `${arc}.3.8`,
  fmc: `${arc}.3.9`,
  hwid: `${arc}.4`,
  cspId: `${arc}.5`,
} as const

/** AlgorithmIdentifier { id-ecPublicKey, secp384r1 }. */
const p384Algorithm = Buffer.from('301006072a8648ce3d020106052b81040022', 'hex')

/** How AMD names the intermediate that signs this kind of key. */
export function intermediateName(generation: AmdGeneration, kind: SigningKey): string {
  return kind === 'vcek' ? `SEV-${generation}` : `SEV-VLEK-${generation}`
}

/**
 * Reads and checks the profile of an endorsement key certificate for the given generation and key class.
 * Rejects with CERT_PROFILE_INVALID.
 */
export function vekProfileOf(
  certificate: Certificate,
  generation: AmdGeneration,
  kind: SigningKey,
): VekProfile {
  try {
    return readProfile(certificate, generation, kind)
  } catch (cause) {
    if (cause instanceof DerError) fail('CERT_PROFILE_INVALID', cause.message, cause)
    throw cause
  }
}

function readProfile(certificate: Certificate, generation: AmdGeneration, kind: SigningKey): VekProfile {
  checkNames(certificate, generation, kind)
  checkKey(certificate)
  if (certificate.extensions.some(({ critical }) => critical)) invalid('critical extension')
  if (basicConstraints(certificate)?.ca === true) invalid('certificate authority')
  unsigned(certificate, oid.structVersion)
  const productName = ia5(certificate, oid.productName)
  // The stepping behind the dash is wrong in real certificates.
  if (productName.split('-')[0] !== generation) invalid(`product ${productName}`)
  const tcb = readTcb(certificate, generation)
  const hwid = optional(certificate, oid.hwid)
  const cspId = optional(certificate, oid.cspId)
  if (kind === 'vcek') {
    if (hwid === undefined || cspId !== undefined) invalid('VCEK without HWID or with CSP_ID')
    return { kind, tcb, hwid: unwrapHwid(hwid, generation === 'Turin' ? 8 : 64) }
  }
  if (hwid !== undefined || cspId === undefined) invalid('VLEK with HWID or without CSP_ID')
  return { kind, tcb, cspId: ia5(certificate, oid.cspId) }
}

function invalid(detail: string): never {
  fail('CERT_PROFILE_INVALID', `endorsement key certificate: ${detail}`)
}

function checkNames(certificate: Certificate, generation: AmdGeneration, kind: SigningKey): void {
  const subject = commonName(certificate.subject)
  if (subject !== `SEV-${kind.toUpperCase()}`) invalid(`subject ${subject}`)
  const issuer = commonName(certificate.issuer)
  if (issuer !== intermediateName(generation, kind)) invalid(`issuer ${issuer}`)
}

/** P-384 by name, as an uncompressed point; whether it is on the curve shows when the key is loaded. */
function checkKey({ subjectPublicKey: { algorithm, key } }: Certificate): void {
  if (!p384Algorithm.equals(algorithm)) invalid('key is not on P-384')
  if (key.length !== 97 || key[0] !== 4) invalid('key is not an uncompressed point')
}

function readTcb(certificate: Certificate, generation: AmdGeneration): TcbVersion {
  const isTurin = generation === 'Turin'
  for (const reserved of [oid.spl5, oid.spl6, oid.spl7]) unsigned(certificate, reserved)
  if (!isTurin || optional(certificate, oid.spl4) !== undefined) unsigned(certificate, oid.spl4)
  if (!isTurin && optional(certificate, oid.fmc) !== undefined) invalid('FMC version')
  return {
    fmc: isTurin ? unsigned(certificate, oid.fmc) : null,
    bootloader: unsigned(certificate, oid.bootloader),
    tee: unsigned(certificate, oid.tee),
    snp: unsigned(certificate, oid.snp),
    microcode: unsigned(certificate, oid.microcode),
  }
}

function optional(certificate: Certificate, name: string): Uint8Array | undefined {
  return findExtension(certificate.extensions, name)?.value
}

function required(certificate: Certificate, name: string): Uint8Array {
  return optional(certificate, name) ?? invalid(`no extension ${name}`)
}

/** A DER INTEGER 0..255, nothing behind it. */
function unsigned(certificate: Certificate, name: string): number {
  const value = derUnsigned(readDer(required(certificate, name)))
  return value <= 255 ? value : invalid(`extension ${name} above 255`)
}

function ia5(certificate: Certificate, name: string): string {
  return derText(readDer(required(certificate, name), derTag.ia5String))
}

/** HWID is the bare bytes, or the same wrapped in an OCTET STRING; the bare form is tried first. */
function unwrapHwid(value: Uint8Array, size: number): Uint8Array {
  if (value.length === size) return value
  if (value.length !== size + 2) invalid(`HWID of ${value.length} bytes`)
  return readDer(value, derTag.octetString).content
}

/**
 * HWID equals CHIP_ID; on Turin its 8 bytes, the rest of CHIP_ID being zero. A VLEK names no chip.
 * `allowMasked` lets a zero CHIP_ID pass, which hosts with MASK_CHIP_ID report. Rejects with CHIP_ID_MISMATCH.
 */
export function checkChipId(profile: VekProfile, report: SnpReport, allowMasked: boolean): void {
  const { hwid } = profile
  if (hwid === undefined || (allowMasked && isZero(report.chipId))) return
  const padded = Buffer.alloc(64)
  padded.set(hwid)
  if (isZero(report.chipId) || !padded.equals(report.chipId)) {
    fail('CHIP_ID_MISMATCH', 'the endorsement key belongs to another chip')
  }
}

const comparedComponents: readonly TcbComponent[] = ['microcode', 'snp', 'tee', 'bootloader', 'fmc']

/** The certificate's versions equal REPORTED_TCB, component by component. Rejects with TCB_MISMATCH. */
export function checkReportedTcb(profile: VekProfile, report: SnpReport, generation: AmdGeneration): void {
  const reported = decodeTcbVersion(report.reportedTcb, generation)
  for (const component of comparedComponents) {
    if (profile.tcb[component] !== reported[component]) {
      fail(
        'TCB_MISMATCH',
        `${component}: ${profile.tcb[component]} certified, ${reported[component]} reported`,
      )
    }
  }
}

/** True when every byte is zero: a masked CHIP_ID. */
export function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0)
}
