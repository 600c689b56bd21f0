import { encodeHex, type JsonObject } from '@passport-kbs/protocol'
import type { TdQuote } from '../intel/quote.ts'

/** Bits of TD ATTRIBUTES (Intel TDX module ABI, table "ATTRIBUTES"). */
const attributeBits = {
  debug: 0n,
  septve_disable: 28n,
  protection_keys: 30n,
  key_locker: 31n,
  perfmon: 63n,
} as const

/** The claims `quote` and `td_attributes` (spec 04 §7.3): lower-case hex in wire order. */
export function tdQuoteClaims({ header, body, bodyDescriptor }: TdQuote): JsonObject {
  return {
    quote: {
      header: {
        version: encodeHex(header.version),
        att_key_type: encodeHex(header.attKeyType),
        tee_type: encodeHex(header.teeType),
        reserved: encodeHex(header.reserved),
        vendor_id: encodeHex(header.vendorId),
        user_data: encodeHex(header.userData),
      },
      body: Object.fromEntries(Object.entries(body).map(([name, bytes]) => [name, encodeHex(bytes)])),
      ...(bodyDescriptor === undefined
        ? {}
        : { type: encodeHex(bodyDescriptor.type), size: encodeHex(bodyDescriptor.size) }),
    },
    td_attributes: attributeClaims(body.td_attributes),
  }
}

function attributeClaims(attributes: Uint8Array): JsonObject {
  const bits = Buffer.from(attributes).readBigUInt64LE()
  return Object.fromEntries(
    Object.entries(attributeBits).map(([name, bit]) => [name, ((bits >> bit) & 1n) === 1n]),
  )
}
