/** What `/auth` fixes for a session. */
export interface SessionChallenge {
  readonly tee: string
  readonly nonce: string
  /** Hash for the report data: `sha384`, or what was negotiated. */
  readonly hashAlgorithm: string
  /** With which the service knows its own challenge again. Stores keep it and do not look at it. */
  readonly seal?: string
}

/** What `/attest` leaves behind. */
export interface SessionAttestation {
  readonly token: string
  /** RFC 7638 thumbprint of the TEE key in the token. */
  readonly teeKeyThumbprint: string
  /** Digest of the posted attestation, so that only an identical repetition gets the same token again. */
  readonly requestDigest: string
}

export type Session =
  | { readonly state: 'challenged'; readonly challenge: SessionChallenge; readonly expiresAt: Date }
  /** The nonce is spent: someone is verifying, or verification failed. */
  | { readonly state: 'claimed'; readonly challenge: SessionChallenge; readonly expiresAt: Date }
  | { readonly state: 'attested'; readonly attestation: SessionAttestation; readonly expiresAt: Date }

/**
 * Handshake sessions. The id is a bearer secret: 128 random bits as 32 lower-case hex digits.
 * Every transition is one atomic step, so of many callers that race for a nonce exactly one wins (spec 01 §2.9, §11.1).
 */
export interface SessionStore {
  /** @param id of the new session, from `newSessionId`, for callers that need it beforehand */
  create(challenge: SessionChallenge, expiresAt: Date, id?: string): Promise<string>
  /** Unknown, malformed and expired ids are all `undefined`. */
  get(id: string): Promise<Session | undefined>
  /** challenged -> claimed. The one winner gets the challenge, everyone else `undefined`. */
  claim(id: string): Promise<SessionChallenge | undefined>
  /** claimed -> attested. False when the session has expired or is not claimed. */
  complete(id: string, attestation: SessionAttestation): Promise<boolean>
  ping(): Promise<void>
  close(): Promise<void>
}

/** As many live sessions as the store may hold: the request is refused for now (429 or 503), no session is pushed out. */
export class SessionLimit extends Error {
  override readonly name = 'SessionLimit'
}
