import { adminRefusal } from '@passport-kbs/protocol'
import type { Logger } from 'pino'
import type { AdminConfig, Config } from '../config/config.ts'
import type { FetchDocument } from '../keys/document.ts'
import { compileAcl, type PathMatcher } from './acl.ts'
import {
  createIdentityProvider,
  type IdentityProvider,
  type VerifiedAdminToken,
} from './identity-provider.ts'

/** Who administrates. */
export interface AdminIdentity {
  readonly mode: 'insecure-allow-all' | 'token'
  readonly role?: string | undefined
  /** `sub` of the token. */
  readonly subject?: string | undefined
  readonly issuer?: string | undefined
  /** `jti` of the token. */
  readonly tokenId?: string | undefined
}

/** An administrator's request was refused. `message` is Trustee's text for the client (spec 01 §6.2, appendix C). */
export class AdminDenied extends Error {
  override readonly name = 'AdminDenied'
  /** A stable word for the audit record. */
  readonly reason: AdminDenialReason
  constructor(reason: AdminDenialReason, message: string) {
    super(message)
    this.reason = reason
  }
}

export type AdminDenialReason = 'deny-all' | 'no-bearer' | 'unverifiable' | 'no-role' | 'role-not-allowed'

export interface AdminRequest {
  /** Value of the `Authorization` header. */
  readonly authorization: string | undefined
  readonly method: string
  /** Decoded segments below `/kbs/v0/`, as they are executed. */
  readonly segments: readonly string[]
}

export interface AdminGuard {
  /** @throws AdminDenied */
  authorize(request: AdminRequest): Promise<AdminIdentity>
  /** Rejects while an identity provider has no keys. For readiness. */
  ping(): Promise<void>
  close(): void
}

interface Acl {
  readonly role: string
  readonly matches: PathMatcher
  readonly methods: readonly string[] | undefined
}

/** Longest token looked at; an administrator's is small. */
const maxTokenBytes = 16_384

/**
 * Guards what administrators do (spec 01 §6).
 * @throws KeySourceError when a key file cannot be used
 */
export async function createAdminGuard(
  config: AdminConfig,
  deps: {
    readonly logger: Logger
    readonly profile: Config['profile']
    readonly now?: () => Date
    readonly fetchDocument?: FetchDocument
  },
): Promise<AdminGuard> {
  if (config.authorizationMode === 'InsecureAllowAll') return fixedGuard({ mode: 'insecure-allow-all' })
  if (config.authorizationMode === 'DenyAll') return fixedGuard(undefined)
  const providers: IdentityProvider[] = []
  for (const provider of config.authentication?.bearerJwt.identityProviders ?? []) {
    providers.push(await createIdentityProvider(provider, deps))
  }
  const acls = (config.authorization?.regexAcl.acls ?? []).map(
    (acl): Acl => ({ role: acl.role, matches: compileAcl(acl.allowedEndpoints), methods: acl.methods }),
  )
  return {
    async authorize({ authorization, method, segments }) {
      const identity = await authenticate(providers, bearerToken(authorization))
      const path = `/kbs/v0/${segments.join('/')}`
      if (!acls.some((acl) => covers(acl, identity.role, method, path))) {
        throw new AdminDenied('role-not-allowed', adminRefusal.roleNotAllowed(identity.role, path))
      }
      deps.logger.info({ role: identity.role, method }, 'admin access granted')
      return { mode: 'token', ...identity }
    },
    async ping() {
      await Promise.all(providers.map((provider) => provider.ping()))
    },
    close() {
      for (const provider of providers) provider.close()
    },
  }
}

function fixedGuard(identity: AdminIdentity | undefined): AdminGuard {
  return {
    async authorize() {
      if (identity === undefined) throw new AdminDenied('deny-all', adminRefusal.denyAll())
      return identity
    },
    ping: async () => {},
    close: () => {},
  }
}

function covers(acl: Acl, role: string, method: string, path: string): boolean {
  return acl.role === role && (acl.methods?.includes(method) ?? true) && acl.matches(path)
}

/** The scheme is case-insensitive (RFC 9110 §11.1). */
function bearerToken(authorization = ''): string {
  const token = /^bearer +([A-Za-z0-9._~+/=-]+) *$/i.exec(authorization)?.[1]
  if (token === undefined || token.length > maxTokenBytes) {
    throw new AdminDenied('no-bearer', adminRefusal.noBearer())
  }
  return token
}

/** The first provider that verifies the token decides; one whose issuer or audience differs does not (spec 01 §6.2). */
async function authenticate(
  providers: readonly IdentityProvider[],
  token: string,
): Promise<VerifiedAdminToken & { readonly role: string }> {
  for (const provider of providers) {
    const verified = await provider.verify(token)
    if (verified === undefined) continue
    if (verified.role === undefined)
      throw new AdminDenied('no-role', adminRefusal.because('The token has no role claim'))
    return { ...verified, role: verified.role }
  }
  throw new AdminDenied('unverifiable', adminRefusal.unverifiable())
}
