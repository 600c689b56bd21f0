import { encode } from 'cborg'
import { ReferenceValueError } from '../attestation-service.ts'
import { decodeCbor, Tagged } from './tagged-cbor.ts'
import { coseAlgorithms, hasSigned, type ReferenceValueTrust } from './trusted-keys.ts'

/** The parts of a COSE_Sign1 (RFC 9052 §4.2). */
export interface CoseSign1 {
  /** As it was signed. */
  readonly protected: Uint8Array
  readonly payload: Uint8Array
  readonly signature: Uint8Array
}

const coseSign1Tag = 18
const algorithmLabel = 1
const criticalLabel = 2

/** The parts of tag 18, or undefined for another item. @throws ReferenceValueError */
export function readCoseSign1(item: unknown): CoseSign1 | undefined {
  if (!(item instanceof Tagged) || item.tag !== coseSign1Tag) return undefined
  const [header, unprotected, payload, signature, ...rest] = Array.isArray(item.value) ? item.value : []
  const isBytes = (value: unknown): value is Uint8Array => value instanceof Uint8Array
  if (!isBytes(header) || !(unprotected instanceof Map) || !isBytes(signature) || rest.length > 0)
    throw new ReferenceValueError('the COSE_Sign1 is malformed')
  if (!isBytes(payload)) throw new ReferenceValueError('the COSE_Sign1 has no payload')
  return { protected: header, payload, signature }
}

/**
 * Whether one of the trusted keys has signed, with the algorithm that the protected header names and the key is for.
 * @throws ReferenceValueError for a protected header that cannot be understood.
 */
export function isSignedByTrusted(message: CoseSign1, { keys }: ReferenceValueTrust): boolean {
  const header = readProtected(message.protected)
  if (header.has(criticalLabel)) throw new ReferenceValueError('the COSE_Sign1 has critical headers')
  const algorithm = header.get(algorithmLabel)
  const signed = encode(['Signature1', message.protected, new Uint8Array(0), message.payload])
  return keys.some(
    (key) =>
      coseAlgorithms(key).some((known) => known === algorithm) &&
      hasSigned(key, signed, message.signature, 'ieee-p1363'),
  )
}

function readProtected(bytes: Uint8Array): ReadonlyMap<unknown, unknown> {
  let header: unknown
  try {
    header = decodeCbor(bytes)
  } catch (cause) {
    throw new ReferenceValueError('the protected header of the COSE_Sign1 is not CBOR', { cause })
  }
  if (header instanceof Map) return header
  throw new ReferenceValueError('the protected header of the COSE_Sign1 is not a map')
}
