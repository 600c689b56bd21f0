import type { Sm2Signer } from './sm2-signer.ts'

/** Sizes of the certificates, in bytes. */
export const caSize = 832
export const csvSize = 2084

/** Key usages of Hygon certificates. */
export const usage = {
  root: 0x0,
  signing: 0x13,
  ownerCa: 0x1001,
  platformEndorsement: 0x1002,
  keyExchange: 0x1003,
  chipEndorsement: 0x1004,
  unused: 0x1000,
} as const

const sm2Curve = 3
const sm2Algorithm = 4

/** What a certificate says, where a defect can make it say something else. */
export interface CertificateFields {
  readonly usage: number
  readonly curve?: number
  /** CSV certificates only. */
  readonly algorithm?: number
  /** Bytes of the user id that the length field counts. */
  readonly userIdLength?: number
  readonly signerKeyId: Uint8Array
}

/** Who signs a certificate: in CSV certificates the first slot names the signer's usage, the second is empty. */
export interface Issuer {
  readonly signer: Sm2Signer
  readonly slotUsage?: number
}

/** A CA certificate (HRK, HSK), 832 bytes, signed by `issuer`. */
export function caCertificate(
  subject: Sm2Signer,
  keyId: Uint8Array,
  fields: CertificateFields,
  issuer: Issuer,
): Uint8Array {
  const bytes = Buffer.alloc(caSize)
  bytes.writeUInt32LE(1, 0)
  bytes.set(keyId, 4)
  bytes.set(fields.signerKeyId, 20)
  bytes.writeUInt32LE(fields.usage, 36)
  bytes.writeUInt32LE(fields.curve ?? sm2Curve, 64)
  bytes.set(numberField(subject.x), 68)
  bytes.set(numberField(subject.y), 140)
  writeUserId(bytes, 212, subject.userId, fields.userIdLength)
  bytes.set(signatureField(issuer.signer.sign(bytes.subarray(0, 576))), 576)
  return bytes
}

/** A CSV certificate (CEK, PEK), 2084 bytes, signed by `issuer` in its first slot. */
export function csvCertificate(subject: Sm2Signer, fields: CertificateFields, issuer: Issuer): Uint8Array {
  const bytes = Buffer.alloc(csvSize)
  bytes.writeUInt32LE(2, 0)
  bytes.set([1, 3], 4)
  bytes.writeUInt32LE(fields.usage, 8)
  bytes.writeUInt32LE(fields.algorithm ?? sm2Algorithm, 12)
  bytes.writeUInt32LE(fields.curve ?? sm2Curve, 16)
  bytes.set(numberField(subject.x), 20)
  bytes.set(numberField(subject.y), 92)
  writeUserId(bytes, 164, subject.userId, fields.userIdLength)
  bytes.set(fields.signerKeyId, 420)
  bytes.writeUInt32LE(issuer.slotUsage ?? usage.unused, 1044)
  bytes.writeUInt32LE(sm2Algorithm, 1048)
  bytes.set(signatureField(issuer.signer.sign(bytes.subarray(0, 1044))), 1052)
  bytes.writeUInt32LE(usage.unused, 1564)
  return bytes
}

/** A number as Hygon structures carry it: little endian in the first 32 of 72 bytes. */
export function numberField(value: bigint): Buffer {
  const bytes = Buffer.alloc(72)
  bytes.set(Buffer.from(value.toString(16).padStart(64, '0'), 'hex').reverse())
  return bytes
}

/** r and s. */
export function signatureField({ r, s }: { r: bigint; s: bigint }): Buffer {
  return Buffer.concat([numberField(r), numberField(s)])
}

function writeUserId(bytes: Buffer, offset: number, userId: string, length = userId.length): void {
  bytes.writeUInt16LE(length, offset)
  bytes.set(Buffer.from(userId), offset + 2)
}
