import type { TeePrivateKey } from '@passport-kbs/protocol'
import { type ConnectionOptions, createConnection } from './connection.ts'
import type { Passport } from './guest.ts'
import type { GuestError } from './guest-error.ts'
import { requestResource } from './resource-request.ts'
import { resourceUrl } from './resource-url.ts'

export interface PassportRequest extends ConnectionOptions {
  /** Root of the KBS that serves resources. */
  readonly kbsUrl: string
  readonly token: string
  /** The key that the token names. */
  readonly teeKey: TeePrivateKey
  /** Path or `kbs://` URI. */
  readonly path: string
  /** Gets a new token after a 401. Without it, the first 401 is the last word. */
  readonly refreshToken?: () => Promise<Passport>
}

/**
 * Fetches a resource with a token that another KBS issued, as the confidential data hub does (spec 01 §9.3). The token's
 * expiry is not looked at beforehand: the server's 401 is what asks for a new one.
 * @throws GuestError
 */
export function getResourceWithPassport(request: PassportRequest): Promise<Uint8Array> {
  let passport: Passport = { token: request.token, teeKey: request.teeKey }
  return requestResource({
    connection: createConnection(request),
    url: resourceUrl(request.kbsUrl, request.path),
    credentials: () => ({ authorization: `Bearer ${passport.token}` }),
    teeKey: () => passport.teeKey,
    renew: async (refusal: GuestError) => {
      if (request.refreshToken === undefined) throw refusal
      passport = await request.refreshToken()
    },
  })
}
