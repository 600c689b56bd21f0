/** Why a guest did not get what it asked for; `remedy` in words is for the one who reads the message. */
export type GuestErrorCode =
  /** The server cannot be reached, or did not answer in time. */
  | 'unreachable'
  /** The answer is not what the protocol says; the real guest fails to deserialise it. */
  | 'malformed-answer'
  /** `/auth` or `/attest` refused, in the last attempt too. */
  | 'handshake-failed'
  /** 401 to the end: the token is not accepted, or the policy denies. */
  | 'unauthorized'
  | 'resource-not-found'
  /** Any other status. */
  | 'server-error'
  /** The secret does not open with the TEE's key. */
  | 'undecryptable'

/** What the server said, from its error body. */
export interface ErrorInformation {
  readonly type: string
  readonly detail: string
}

/** The one error of this package. Messages hold no token, no cookie and no secret. */
export class GuestError extends Error {
  override readonly name = 'GuestError'
  readonly code: GuestErrorCode
  /** HTTP status of the last answer, where there was one. */
  readonly status: number | undefined
  readonly information: ErrorInformation | undefined
  constructor(
    code: GuestErrorCode,
    message: string,
    options: { cause?: unknown; status?: number; information?: ErrorInformation } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.status = options.status
    this.information = options.information
  }
}
