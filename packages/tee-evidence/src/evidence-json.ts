/**
 * Reading the members of an evidence document (spec 03 §2.4). Every function names the member it refuses, never
 * its value, and refuses with EVIDENCE_MALFORMED.
 */
import {
  decodeBase64,
  decodeBase64Url,
  decodeHex,
  isJsonObject,
  type JsonObject,
  type JsonValue,
} from '@passport-kbs/protocol'
import { fail } from './rejection.ts'

/** `value` as an object; `path` names it in the rejection. */
export function objectOf(value: JsonValue | undefined, path: string): JsonObject {
  if (!isJsonObject(value)) fail('EVIDENCE_MALFORMED', `${path} is not an object`)
  return value
}

/** `value` as an array of at most `limit` entries. */
export function arrayOf(value: JsonValue | undefined, path: string, limit: number): readonly JsonValue[] {
  if (!Array.isArray(value)) fail('EVIDENCE_MALFORMED', `${path} is not an array`)
  if (value.length > limit) fail('EVIDENCE_MALFORMED', `${path} has more than ${limit} entries`)
  return value
}

/** The member `name`, or undefined when absent. */
export function member(object: JsonObject, name: string): JsonValue | undefined {
  return Object.hasOwn(object, name) ? object[name] : undefined
}

/** `value` as a string of at most `limit` UTF-16 units. */
export function stringOf(value: JsonValue | undefined, path: string, limit: number): string {
  if (typeof value !== 'string') fail('EVIDENCE_MALFORMED', `${path} is not a string`)
  if (value.length > limit) fail('EVIDENCE_MALFORMED', `${path} is longer than ${limit} characters`)
  return value
}

/** `value` as an integer 0..`max`; a fraction, an exponent, a string or a boolean is refused. */
export function unsignedOf(value: JsonValue | undefined, path: string, max: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max) {
    fail('EVIDENCE_MALFORMED', `${path} is not an integer between 0 and ${max}`)
  }
  return value
}

/** `value` as an integer 0..2^64-1, exact. */
export function u64Of(value: JsonValue | undefined, path: string): bigint {
  const isInteger = typeof value === 'bigint' || (typeof value === 'number' && Number.isSafeInteger(value))
  const integer = isInteger ? BigInt(value) : -1n
  if (integer < 0n || integer > 0xffff_ffff_ffff_ffffn) fail('EVIDENCE_MALFORMED', `${path} is not a u64`)
  return integer
}

/** An array of numbers 0..255 as bytes: exactly `length`, or at most `limit`. */
export function byteArrayOf(
  value: JsonValue | undefined,
  path: string,
  size: { readonly length: number } | { readonly limit: number },
): Uint8Array {
  if (!Array.isArray(value)) fail('EVIDENCE_MALFORMED', `${path} is not an array of bytes`)
  if ('length' in size && value.length !== size.length) {
    fail('EVIDENCE_MALFORMED', `${path} has ${value.length} bytes, not ${size.length}`)
  }
  if ('limit' in size && value.length > size.limit) {
    fail('EVIDENCE_MALFORMED', `${path} has more than ${size.limit} bytes`)
  }
  const bytes = new Uint8Array(value.length)
  for (let index = 0; index < bytes.length; index += 1) {
    const byte = value[index]
    if (typeof byte !== 'number' || (byte & 0xff) !== byte) {
      fail('EVIDENCE_MALFORMED', `${path}[${index}] is not a byte`)
    }
    bytes[index] = byte
  }
  return bytes
}

/** Hexadecimal text of at most `limit` bytes, either case. */
export function hexOf(value: JsonValue | undefined, path: string, limit: number): Uint8Array {
  return decoded(stringOf(value, path, limit * 2), path, decodeHex)
}

/** base64url of at most `limit` bytes; padding may be there or not. */
export function base64UrlOf(value: JsonValue | undefined, path: string, limit: number): Uint8Array {
  return decoded(stringOf(value, path, base64Length(limit)), path, decodeBase64Url)
}

/** Standard base64 with padding of at most `limit` bytes. */
export function base64Of(value: JsonValue | undefined, path: string, limit: number): Uint8Array {
  return decoded(stringOf(value, path, base64Length(limit)), path, decodeBase64)
}

function base64Length(bytes: number): number {
  return Math.ceil(bytes / 3) * 4
}

function decoded(text: string, path: string, decode: (text: string) => Uint8Array): Uint8Array {
  try {
    return decode(text)
  } catch (cause) {
    return fail('EVIDENCE_MALFORMED', `${path} is not in its encoding`, cause)
  }
}
