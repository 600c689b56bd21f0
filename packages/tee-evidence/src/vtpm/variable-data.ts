/** The JSON that the paravisor binds to the hardware report by its hash (spec 03 §7.1). */
import { createHash, createPublicKey, type KeyObject } from 'node:crypto'
import {
  decodeBase64UrlNoPad,
  decodeHex,
  isJsonObject,
  type JsonObject,
  type JsonValue,
  parseJson,
} from '@passport-kbs/protocol'
import { CheckFailure, fail } from '../rejection.ts'

/** Reads the variable data as JSON. Rejects with HCL_MALFORMED, also for duplicate member names. */
export function parseVariableData(bytes: Uint8Array): JsonObject {
  let value: JsonValue
  try {
    value = parseJson(bytes)
  } catch (cause) {
    fail('HCL_MALFORMED', 'variable data is not JSON', cause)
  }
  if (!isJsonObject(value)) fail('HCL_MALFORMED', 'variable data is not an object')
  return value
}

/**
 * The attestation key: the one entry of `keys` whose `kid` is exactly `HCLAkPub`, RSA of 2048 to 4096 bits with
 * exponent 65537. Rejects with AK_NOT_FOUND or AK_UNSUPPORTED. Other keys are not interpreted.
 */
export function attestationKeyOf(variableData: JsonObject): KeyObject {
  const { keys } = variableData
  if (keys !== undefined && !Array.isArray(keys)) fail('HCL_MALFORMED', 'keys is not an array')
  const found = (keys ?? []).filter(isJsonObject).filter((key) => key.kid === 'HCLAkPub')
  const [key, second] = found
  if (key === undefined) fail('AK_NOT_FOUND', 'no key HCLAkPub in the variable data')
  if (second !== undefined) fail('AK_UNSUPPORTED', `${found.length} keys HCLAkPub in the variable data`)
  return rsaKeyOf(key)
}

function rsaKeyOf(jwk: JsonObject): KeyObject {
  const { kty, n, e } = jwk
  if (kty !== 'RSA' || typeof n !== 'string' || typeof e !== 'string') {
    fail('AK_UNSUPPORTED', 'HCLAkPub is not an RSA key')
  }
  try {
    const modulus = decodeBase64UrlNoPad(n)
    const bits = modulus.length * 8 - Math.clz32(modulus[0] ?? 0) + 24
    if (modulus[0] === 0 || bits < 2048 || bits > 4096) fail('AK_UNSUPPORTED', `RSA key of ${bits} bits`)
    if (e !== 'AQAB') fail('AK_UNSUPPORTED', 'RSA exponent is not 65537')
    return createPublicKey({ key: { kty, n, e }, format: 'jwk' })
  } catch (cause) {
    if (cause instanceof CheckFailure) throw cause
    return fail('AK_UNSUPPORTED', 'HCLAkPub is not a usable RSA key', cause)
  }
}

/**
 * Demands that SHA-256 of the exact variable data bytes is the first half of the hardware report data and that
 * the other half is zero. `hardwareReportData`: 64 bytes. Rejects with VAR_DATA_MISMATCH.
 */
export function checkVariableDataBinding(variableData: Uint8Array, hardwareReportData: Uint8Array): void {
  const digest = createHash('sha256').update(variableData).digest()
  if (hardwareReportData.length !== 64 || !digest.equals(hardwareReportData.subarray(0, 32))) {
    fail('VAR_DATA_MISMATCH', 'SHA-256 of the variable data is not in the hardware report data')
  }
  if (hardwareReportData.subarray(32).some((byte) => byte !== 0)) {
    fail('VAR_DATA_MISMATCH', 'second half of the hardware report data is not zero')
  }
}

/**
 * Evidence of version 2: `user-data` is the hex of 64 bytes, which are the expected report data followed by zeros.
 * Rejects with HCL_MALFORMED (absent, not 64 bytes of hex) or USER_DATA_MISMATCH.
 */
export function checkUserData(variableData: JsonObject, expectedReportData: Uint8Array): void {
  const text = variableData['user-data']
  if (typeof text !== 'string' || text.length !== 128) {
    fail('HCL_MALFORMED', 'user-data is not 128 hexadecimal digits')
  }
  let userData: Uint8Array
  try {
    userData = decodeHex(text)
  } catch (cause) {
    fail('HCL_MALFORMED', 'user-data is not hexadecimal', cause)
  }
  const expected = Buffer.alloc(64)
  expected.set(expectedReportData)
  if (!expected.equals(userData)) fail('USER_DATA_MISMATCH', 'user-data is not the expected report data')
}
