import { createHash, timingSafeEqual, X509Certificate } from 'node:crypto'
import { type AcceptedTokens, openAcceptedTokens } from '@passport-kbs/attestation-service/remote'
import type { AttestationApiConfig } from '@passport-kbs/service'
import { forbidden, unauthenticated } from './problems.ts'

/** `attest`: have evidence evaluated. `administer`: attestation policies and reference values. */
export type Scope = 'attest' | 'administer'

/** Who calls. */
export interface Caller {
  /** As configured; undefined for a caller without credentials. */
  readonly name: string | undefined
  readonly scopes: readonly Scope[]
}

/** What a caller shows, whichever the transport. */
export interface Credentials {
  /** The `Authorization` header. */
  readonly authorization: string | undefined
  /** The client certificate in DER, if TLS has verified it. */
  readonly certificate: Uint8Array | undefined
}

export interface Callers {
  /** Tells who calls, and that they may do it. @throws KbsProblem 401 or 403 */
  authorize(credentials: Credentials, scope: Scope): Promise<Caller>
}

type ClientConfig = AttestationApiConfig['clients'][number]

/**
 * Knows the clients of `[attestation_api]`: by bearer token, else by certificate. A token that is shown and not known is
 * refused, whatever the certificate; so is a stranger's certificate where strangers may not call.
 * @throws TokenFileError
 */
export async function openCallers(
  clients: readonly ClientConfig[],
  anonymous: readonly Scope[],
): Promise<Callers> {
  const byToken: { readonly client: ClientConfig; readonly file: AcceptedTokens }[] = []
  for (const client of clients) {
    if (client.tokenFile !== undefined)
      byToken.push({ client, file: await openAcceptedTokens(client.tokenFile) })
  }
  const withToken = async (token: string): Promise<Caller> => {
    const shown = digest(token)
    let found: ClientConfig | undefined
    // every client is compared, so that the time tells nothing
    for (const { client, file } of byToken) {
      for (const accepted of await file.tokens()) {
        if (timingSafeEqual(shown, digest(accepted))) found = client
      }
    }
    if (found === undefined) throw unauthenticated('the bearer token is not known')
    return found
  }
  const identify = async ({ authorization, certificate }: Credentials): Promise<Caller> => {
    if (authorization !== undefined) return await withToken(bearerToken(authorization))
    const names = certificate === undefined ? [] : certificateNames(certificate)
    const client = clients.find(({ certificateName }) =>
      names.some((name) => name === `DNS:${certificateName}` || name === `URI:${certificateName}`),
    )
    return client ?? { name: undefined, scopes: anonymous }
  }
  return {
    async authorize(credentials, scope) {
      const caller = await identify(credentials)
      if (caller.scopes.includes(scope)) return caller
      if (caller.name === undefined) throw unauthenticated('show a client certificate or a bearer token')
      throw forbidden(`this client has not the scope "${scope}"`)
    },
  }
}

function bearerToken(authorization: string): string {
  const token = /^bearer +([A-Za-z0-9._~+/=-]{1,8192}) *$/i.exec(authorization)?.[1]
  if (token === undefined) throw unauthenticated('the Authorization header is no bearer token')
  return token
}

function digest(token: string): Uint8Array {
  return createHash('sha256').update(token).digest()
}

/** `DNS:…` and `URI:…` entries. Names that need quotes, with which entries could be forged, are not looked at. */
function certificateNames(der: Uint8Array): readonly string[] {
  const names = new X509Certificate(der).subjectAltName ?? ''
  return names.includes('"') ? [] : names.split(', ')
}
