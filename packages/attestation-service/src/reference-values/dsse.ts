import {
  decodeBase64,
  EncodingError,
  JsonSyntaxError,
  type JsonValue,
  parseJson,
} from '@passport-kbs/protocol'
import { z } from 'zod'
import { ReferenceValueError } from '../attestation-service.ts'
import { hasSigned, type ReferenceValueTrust } from './trusted-keys.ts'

/** `payloadType` of an envelope whose payload is an RVPS message. */
export const dssePayloadType = 'application/vnd.passport-kbs.reference-values+json'

const maxSignatures = 16

const envelopeSchema = z.object({
  payloadType: z.string().max(256),
  payload: z.string(),
  signatures: z
    .array(z.object({ sig: z.string().max(1_024) }))
    .min(1)
    .max(maxSignatures),
})

/**
 * Reads a DSSE envelope (github.com/secure-systems-lab/dsse, version 1) around an RVPS message: the message, once one
 * of the trusted keys has signed it. `keyid` is not looked at. ECDSA signatures are in ASN.1, as cosign and in-toto
 * write them.
 * @param bytes JSON text of the envelope.
 * @throws ReferenceValueError
 */
export function openDsse(bytes: Uint8Array, { keys }: ReferenceValueTrust): JsonValue {
  const envelope = envelopeSchema.safeParse(read(() => parseJson(bytes)))
  if (!envelope.success) throw refused('is malformed')
  const { payloadType, payload, signatures } = envelope.data
  if (payloadType !== dssePayloadType) throw refused(`has not the payloadType ${dssePayloadType}`)
  const body = read(() => decodeBase64(payload))
  const signed = preAuthEncoding(payloadType, body)
  const isTrusted = signatures.some(({ sig }) => {
    const signature = read(() => decodeBase64(sig))
    return keys.some((key) => hasSigned(key, signed, signature, 'der'))
  })
  if (!isTrusted) throw refused('is not signed by a trusted key')
  return read(() => parseJson(body))
}

/** What is signed: `DSSEv1 <length> <type> <length> <body>`, lengths in bytes. */
export function preAuthEncoding(payloadType: string, body: Uint8Array): Uint8Array {
  const head = `DSSEv1 ${Buffer.byteLength(payloadType)} ${payloadType} ${body.length} `
  return Buffer.concat([Buffer.from(head), body])
}

function read<T>(work: () => T): T {
  try {
    return work()
  } catch (cause) {
    if (cause instanceof JsonSyntaxError || cause instanceof EncodingError)
      throw refused('is malformed', cause)
    throw cause
  }
}

function refused(what: string, cause?: unknown): ReferenceValueError {
  return new ReferenceValueError(`the DSSE envelope ${what}`, cause === undefined ? {} : { cause })
}
