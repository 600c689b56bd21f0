import { type JsonObject, jsonObject } from '@passport-kbs/protocol'

/** The JSON form in which a guest sends a CA certificate (HSK). */
export function caCertificateJson(certificate: Uint8Array): JsonObject {
  const field = fieldReader(certificate)
  return jsonObject({
    body: jsonObject({
      preamble: jsonObject({
        ver: field.u32(0),
        data: jsonObject({
          kid: field.bytes(4, 16),
          sid: field.bytes(20, 16),
          usage: field.u32(36),
          reserved: field.bytes(40, 24),
        }),
      }),
      pubkey: publicKeyJson(field, 64),
      uid_size: field.u16(212),
      user_id: field.bytes(214, 254),
      reserved: field.bytes(468, 108),
    }),
    signature: signatureJson(field, 576),
    _reserved: field.bytes(720, 112),
  })
}

/** The JSON form in which a guest sends a CSV certificate (CEK, PEK). */
export function csvCertificateJson(certificate: Uint8Array): JsonObject {
  const field = fieldReader(certificate)
  return jsonObject({
    body: jsonObject({
      ver: field.u32(0),
      data: jsonObject({
        firmware: jsonObject({ major: field.u8(4), minor: field.u8(5) }),
        reserved1: field.u16(6),
        pubkey: jsonObject({
          usage: field.u32(8),
          algo: field.u32(12),
          key: publicKeyJson(field, 16),
        }),
        uid_size: field.u16(164),
        user_id: field.bytes(166, 254),
        sid: field.bytes(420, 16),
        reserved2: field.bytes(436, 608),
      }),
    }),
    sigs: [1044, 1564].map((slot) =>
      jsonObject({
        usage: field.u32(slot),
        algo: field.u32(slot + 4),
        signature: signatureJson(field, slot + 8),
        _reserved: field.bytes(slot + 152, 368),
      }),
    ),
  })
}

type FieldReader = ReturnType<typeof fieldReader>

function fieldReader(structure: Uint8Array) {
  const buffer = Buffer.from(structure)
  return {
    u8: (offset: number): number => buffer.readUInt8(offset),
    u16: (offset: number): number => buffer.readUInt16LE(offset),
    u32: (offset: number): number => buffer.readUInt32LE(offset),
    bytes: (offset: number, length: number): number[] => [...buffer.subarray(offset, offset + length)],
  }
}

function publicKeyJson(field: FieldReader, offset: number): JsonObject {
  return jsonObject({ g: field.u32(offset), x: field.bytes(offset + 4, 72), y: field.bytes(offset + 76, 72) })
}

function signatureJson(field: FieldReader, offset: number): JsonObject {
  return jsonObject({ r: field.bytes(offset, 72), s: field.bytes(offset + 72, 72) })
}
