import { createHash, randomBytes } from 'node:crypto'

/** A new id: 128 random bits as 32 lower-case hex digits (spec 01 §2.9). */
export function newSessionId(): string {
  return randomBytes(16).toString('hex')
}

/** The key of a session that is about to be made. @throws RangeError where `id` cannot be one */
export function newSessionKey(id: string): string {
  const key = sessionKey(id)
  if (key === undefined) throw new RangeError('a session id has 32 lower-case hex digits')
  return key
}

/**
 * The key a session is stored under, or undefined for what cannot be an id: such text never reaches a store (spec 01
 * §11.5 no. 40). It is the id's SHA-256, because the id is a bearer secret: who reads the store, its backups or its
 * slow log cannot use the sessions, and an error may name the key.
 */
export function sessionKey(id: string): string | undefined {
  if (!/^[0-9a-f]{32}$/.test(id)) return undefined
  return createHash('sha256').update(id, 'ascii').digest('hex')
}
