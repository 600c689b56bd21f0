import {
  decodeBase64,
  EncodingError,
  isJsonObject,
  type JsonValue,
  MessageError,
  parseReferenceValueMessage,
  parseSamplePayload,
} from '@passport-kbs/protocol'
import { ReferenceValueError } from '../attestation-service.ts'
import { readCorim } from './corim.ts'
import { openDsse } from './dsse.ts'
import { readSwid } from './swid.ts'
import type { ReferenceValueTrust } from './trusted-keys.ts'

/** What a message asks to be registered. */
export interface ReferenceValueContent {
  readonly values: ReadonlyMap<string, JsonValue>
  /** Member of the message, as it is there. */
  readonly expiration: JsonValue | undefined
  /** Bounds that the values bring along. */
  readonly notBefore?: Date | undefined
  readonly notAfter?: Date | undefined
}

/**
 * Reads an RVPS message (spec 02 §6.1): `sample`, `swid`, `corim`, or `dsse`, which is one of these in a signed
 * envelope. A signature that is there must hold, and be of a trusted key, except that of a CoRIM where no key is trusted.
 * @throws ReferenceValueError
 */
export function readReferenceValueMessage(
  message: JsonValue,
  trust: ReferenceValueTrust,
): ReferenceValueContent {
  const { type, payload } = read(() => parseReferenceValueMessage(message))
  if (type !== 'dsse') return readUnwrapped(message, { type, payload }, trust, false)
  const inner = openDsse(bytesOf(payload), trust)
  const unwrapped = read(() => parseReferenceValueMessage(inner))
  if (unwrapped.type === 'dsse') throw new ReferenceValueError('a DSSE envelope is inside another')
  return readUnwrapped(inner, unwrapped, trust, true)
}

function readUnwrapped(
  message: JsonValue,
  { type, payload }: { readonly type: string; readonly payload: string },
  trust: ReferenceValueTrust,
  isWrapped: boolean,
): ReferenceValueContent {
  const { isSigned = false, ...content } = extract(type, payload, trust)
  if (trust.requireSigned && !isWrapped && !isSigned)
    throw new ReferenceValueError(
      'reference values must be signed: send them as type dsse, or as signed CoRIM',
    )
  return { ...content, expiration: isJsonObject(message) ? message.expiration : undefined }
}

function extract(
  type: string,
  payload: string,
  trust: ReferenceValueTrust,
): Omit<ReferenceValueContent, 'expiration'> & { readonly isSigned?: boolean } {
  switch (type) {
    case 'sample':
      return { values: new Map(Object.entries(read(() => parseSamplePayload(payload)))) }
    case 'swid':
      return { values: readSwid(bytesOf(payload)) }
    case 'corim':
      return readCorim(bytesOf(payload), trust)
    default:
      throw new ReferenceValueError(
        'the type of the message is unknown; supported are sample, swid, corim and dsse',
      )
  }
}

function bytesOf(payload: string): Uint8Array {
  try {
    return decodeBase64(payload)
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause
    throw new ReferenceValueError('the payload is not base64', { cause })
  }
}

function read<T>(work: () => T): T {
  try {
    return work()
  } catch (cause) {
    if (!(cause instanceof MessageError)) throw cause
    throw new ReferenceValueError(`reference value message: ${cause.message}`, { cause })
  }
}
