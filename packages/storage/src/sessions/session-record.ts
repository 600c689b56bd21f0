import { z } from 'zod'
import { StorageUnavailable } from '../key-value-store.ts'
import type { Session, SessionChallenge } from '../session-store.ts'

const challenge = z.object({
  tee: z.string(),
  nonce: z.string(),
  hashAlgorithm: z.string(),
  seal: z.string().exactOptional(),
})
const attestation = z.object({ token: z.string(), teeKeyThumbprint: z.string(), requestDigest: z.string() })
const expiresAt = z.coerce.date()

const record = z.discriminatedUnion('state', [
  z.object({ state: z.literal('challenged'), challenge, expiresAt }),
  z.object({ state: z.literal('claimed'), challenge, expiresAt }),
  z.object({ state: z.literal('attested'), attestation, expiresAt }),
])

/** A session as it is stored: JSON, of our own shape; sessions of Trustee are not taken over. */
export function encodeSession(session: Session): Uint8Array {
  return Buffer.from(JSON.stringify(session))
}

/** @throws StorageUnavailable when the stored bytes are not a session */
export function decodeSession(bytes: Uint8Array): Session {
  return checkSession(parseStoredJson(Buffer.from(bytes).toString('utf8')))
}

/** @throws StorageUnavailable when it is not a session */
export function checkSession(value: unknown): Session {
  return checked(record, value)
}

/** @throws StorageUnavailable when it is not a challenge */
export function checkChallenge(value: unknown): SessionChallenge {
  return checked(challenge, value)
}

function checked<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value)
  if (!result.success) throw new StorageUnavailable('stored session is damaged')
  return result.data
}

/** @throws StorageUnavailable when it is not JSON */
export function parseStoredJson(text: unknown): unknown {
  try {
    return JSON.parse(String(text))
  } catch {
    // Not as a cause: a JSON error quotes the text.
    throw new StorageUnavailable('stored session is damaged')
  }
}
