import { readFile } from 'node:fs/promises'
import type { JsonObject } from '@passport-kbs/protocol'
import type { Logger } from 'pino'
import type { AdminConfig, Config } from '../config/config.ts'
import {
  type CompactToken,
  isForAudience,
  MalformedToken,
  readCompactToken,
  timeFault,
} from '../keys/compact-token.ts'
import type { FetchDocument } from '../keys/document.ts'
import { createKeySource, type KeySource } from '../keys/key-source.ts'
import { isSignedBy, type VerificationKey } from '../keys/verification-key.ts'

type ProviderConfig = NonNullable<AdminConfig['authentication']>['bearerJwt']['identityProviders'][number]

/** What a verified administrator's token says. */
export interface VerifiedAdminToken {
  /** `role`, or the provider's default role. */
  readonly role: string | undefined
  readonly subject: string | undefined
  readonly issuer: string | undefined
  readonly tokenId: string | undefined
}

export interface IdentityProvider {
  /** Undefined when this provider does not vouch for the token. */
  verify(token: string): Promise<VerifiedAdminToken | undefined>
  ping(): Promise<void>
  close(): void
}

const refreshing = { refreshSeconds: 300, cooldownSeconds: 30, maxAgeSeconds: 86_400 }
const skewSeconds = 60
/** Keys tried for a token without `kid`. */
const maxTried = 16

/**
 * An identity provider of `[admin.authentication.bearer_jwt]`: keys of a JWK set by `kid`, and a PEM key. A key in the
 * token's header is never looked at. `exp` is required, `nbf` honoured.
 * @throws KeySourceError
 */
export async function createIdentityProvider(
  config: ProviderConfig,
  deps: {
    readonly logger: Logger
    readonly profile: Config['profile']
    readonly now?: () => Date
    readonly fetchDocument?: FetchDocument
  },
): Promise<IdentityProvider> {
  const now = deps.now ?? (() => new Date())
  // a file that is not there is told of now, although it is read for every request
  if (config.ca !== undefined) await readFile(config.ca)
  const open = (source: string, format: 'jwk-set' | 'pem') =>
    createKeySource({
      ...{ source, format, caFile: config.ca, ...refreshing, logger: deps.logger, profile: deps.profile },
      ...(deps.fetchDocument === undefined ? {} : { fetchDocument: deps.fetchDocument }),
    })
  const jwkSet = config.jwkSetUri === undefined ? undefined : await open(config.jwkSetUri, 'jwk-set')
  const pem = config.publicKeyUri === undefined ? undefined : await open(config.publicKeyUri, 'pem')
  const sources = [jwkSet, pem].filter((source) => source !== undefined)

  return {
    async verify(text) {
      const token = readOrNothing(text)
      if (token === undefined || timeFault(token.claims, now(), skewSeconds) !== undefined) return undefined
      const keys = await candidates(token, jwkSet, pem)
      if (!keys.some((key) => isSignedBy(token, key))) return undefined
      if (config.issuer !== undefined && token.claims.iss !== config.issuer) return undefined
      if (config.audience !== undefined && !isForAudience(token.claims, config.audience)) return undefined
      return describe(token.claims, config.defaultRole)
    },
    async ping() {
      await Promise.all(sources.map((source) => source.ping()))
    },
    close() {
      for (const source of sources) source.close()
    },
  }
}

function readOrNothing(text: string): CompactToken | undefined {
  try {
    return readCompactToken(text)
  } catch (error) {
    if (error instanceof MalformedToken) return undefined
    throw error
  }
}

async function candidates(
  token: CompactToken,
  jwkSet: KeySource | undefined,
  pem: KeySource | undefined,
): Promise<readonly VerificationKey[]> {
  const fromSet =
    token.kid === undefined ? (jwkSet?.keys() ?? []) : ((await jwkSet?.find({ kid: token.kid })) ?? [])
  return [...fromSet, ...(pem?.keys() ?? [])]
    .filter((key) => key.algorithms.includes(token.algorithm))
    .slice(0, maxTried)
}

function describe(claims: JsonObject, defaultRole: string | undefined): VerifiedAdminToken {
  const text = (name: string): string | undefined => {
    const value = claims[name]
    return typeof value === 'string' && value.length <= 256 ? value : undefined
  }
  // a role that is there but unusable is not replaced by the default
  const role = claims.role === undefined ? defaultRole : text('role')
  return { role, subject: text('sub'), issuer: text('iss'), tokenId: text('jti') }
}
