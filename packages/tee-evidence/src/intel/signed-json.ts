import { type KeyObject, verify } from 'node:crypto'
import { decodeHex, isJsonObject, type JsonObject, type JsonValue, parseJson } from '@passport-kbs/protocol'
import { fail } from '../rejection.ts'
import { childSlices, withoutWhiteSpace } from './json-slices.ts'

/** Largest TCB info or QE identity that is read, in bytes (spec 04 §5.1); real ones have up to 30 KB. */
export const maxCollateralBytes = 256 * 1024

/**
 * Reads a document as Intel signs them, `{"<member>": {…}, "signature": "<128 hex>"}`, and checks the signature over the
 * raw text of the member without insignificant white space. What is given back is parsed from exactly these bytes
 * (spec 04 §5.3).
 * @param text UTF-8, as served
 * @param key public key of the TCB signing certificate
 * @throws CheckFailure `COLLATERAL_MALFORMED` or `COLLATERAL_SIGNATURE_INVALID`
 */
export function openSignedJson(
  text: Uint8Array,
  member: 'tcbInfo' | 'enclaveIdentity',
  key: KeyObject,
): JsonObject {
  const slices = memberSlices(text, member)
  const signature = /^"([0-9a-fA-F]{128})"$/.exec(slices.signature)?.[1]
  if (signature === undefined) fail('COLLATERAL_MALFORMED', 'the signature is not 64 bytes in hex')
  const signedBytes = Buffer.from(withoutWhiteSpace(slices.document), 'utf8')
  if (!verify('sha256', signedBytes, { key, dsaEncoding: 'ieee-p1363' }, decodeHex(signature))) {
    fail('COLLATERAL_SIGNATURE_INVALID', `${member} is not signed by the TCB signing key`)
  }
  const document = parseDocument(signedBytes)
  return isJsonObject(document) ? document : fail('COLLATERAL_MALFORMED', `${member} is not an object`)
}

function memberSlices(text: Uint8Array, member: string): { document: string; signature: string } {
  const whole = parseDocument(text)
  if (!isJsonObject(whole)) fail('COLLATERAL_MALFORMED', 'not a JSON object')
  const names = Object.keys(whole)
  if (names.length !== 2 || !names.includes(member) || !names.includes('signature')) {
    fail('COLLATERAL_MALFORMED', `members other than ${member} and signature`)
  }
  const slices = childSlices(Buffer.from(text.buffer, text.byteOffset, text.byteLength).toString('utf8'))
  return { document: slices.get(member) ?? '', signature: slices.get('signature') ?? '' }
}

function parseDocument(text: Uint8Array): JsonValue {
  try {
    return parseJson(text, { maxBytes: maxCollateralBytes })
  } catch (cause) {
    fail('COLLATERAL_MALFORMED', 'not JSON', cause)
  }
}
