export type {
  AdminConfig,
  AttestationServiceConfig,
  AttestationTokenConfig,
  BuiltInAttestationConfig,
  Config,
  HttpServerConfig,
  PluginConfig,
  Program,
  ResourcePluginConfig,
  StorageBackendConfig,
  StorageType,
} from './config/config.ts'

import type { JsonObject } from '@passport-kbs/protocol'
import type { Context, ErrorHandler, Hono, MiddlewareHandler, NotFoundHandler } from 'hono'
import type { Logger } from 'pino'
import type {
  AdminConfig,
  AttestationTokenConfig,
  Config,
  HttpServerConfig,
  Program,
} from './config/config.ts'

export type { Logger }

// ---- configuration
export interface ConfigProblem {
  readonly path: string
  readonly problem: string
  readonly remedy: string
}
export declare class ConfigError extends Error {
  readonly problems: readonly ConfigProblem[]
}
export declare function loadConfig(o: {
  program: Program
  argv: readonly string[]
  env: Readonly<Record<string, string | undefined>>
}): Promise<Config>
/** Prints the problems to stderr and exits with status 78 (EX_CONFIG); other errors are rethrown. */
export declare function exitWithConfigError(error: unknown): never

// ---- HTTP
/** Environment of every Hono app here: `new Hono<ServiceEnv>({ getPath: rawRequestPath })`, or `createServiceApp`. */
export interface ServiceEnv {
  Bindings: Partial<import('@hono/node-server').HttpBindings>
  Variables: {
    requestId: string
    clientAddress: string
    logger: Logger
    plugin?: string
    resourcePath?: string
  }
}
/** A refusal that is not the protocol's: size, rate, syntax. */
export declare class HttpFault extends Error {
  readonly status: number
  readonly kind: string
  readonly detail: string
  readonly headers: Readonly<Record<string, string>>
  constructor(
    status: number,
    kind: string,
    detail: string,
    options?: { cause?: unknown; headers?: Record<string, string> },
  )
}
export declare function errorHandler(logger: Logger): ErrorHandler<ServiceEnv>
export declare const notFoundHandler: NotFoundHandler<ServiceEnv>
/** Hono with request id, client address, logger, access log, security headers, concurrency and body limits, and the error handlers. */
export declare function createServiceApp(o: {
  config: HttpServerConfig
  logger: Logger
  metrics?: Metrics
}): Hono<ServiceEnv>
export declare function rawRequestPath(request: Request, options?: { env?: unknown }): string
/** Segments below `/kbs/v0/`, decoded then split; `path` is `/kbs/v0/` + segments joined by `/`. Throws HttpFault. */
export declare function requestPath(c: Context): {
  segments: readonly string[]
  query: Readonly<Record<string, string>>
  path: string
}
export interface HttpServer {
  /** Addresses bound, e.g. `http://127.0.0.1:8080`. */
  readonly urls: readonly string[]
  readonly draining: boolean
  close(o?: { graceMs?: number }): Promise<void>
}
/** Listens on all sockets; resolves when bound. */
export declare function createHttpServer(o: {
  app: { fetch: Hono['fetch'] }
  httpServer: HttpServerConfig
  logger: Logger
  metrics?: Metrics
}): Promise<HttpServer>
export declare function rateLimit(o: {
  perSecond: number
  burst: number
  maxClients: number
  now?: () => number
}): MiddlewareHandler<ServiceEnv>

// ---- admin
export interface AdminIdentity {
  readonly mode: 'insecure-allow-all' | 'token'
  readonly role?: string
  readonly subject?: string
  readonly issuer?: string
  readonly tokenId?: string
}
/** `message` is Trustee's text (`Admin access denied: …` or `Failed to parse HTTP Auth Bearer header`); `reason` is the part after the colon. */
export declare class AdminDenied extends Error {
  readonly reason: string
}
export interface AdminGuard {
  /** `segments` as of `requestPath`. Throws `AdminDenied`. */
  authorize(r: {
    authorization: string | undefined
    method: string
    segments: readonly string[]
  }): Promise<AdminIdentity>
  close(): void
}
export declare function createAdminGuard(
  config: AdminConfig,
  deps: { logger: Logger; profile: Config['profile']; now?: () => Date },
): Promise<AdminGuard>

// ---- passport
/** Claims of a token whose signature, issuer, audience and times have been checked. Only the verifier makes one. */
export interface VerifiedPassport {
  readonly issuer: string | undefined
  readonly claims: JsonObject
  readonly kid: string | undefined
  readonly expiresAt: Date
  readonly jti: string | undefined /** the name of the trust entry that vouched */
  readonly trustedBy: string
}
export type PassportRejectionCode =
  | 'malformed'
  | 'too-large'
  | 'unsupported-algorithm'
  | 'untrusted-issuer'
  | 'unknown-key'
  | 'untrusted-certificate'
  | 'bad-signature'
  | 'missing-expiry'
  | 'expired'
  | 'not-yet-valid'
  | 'wrong-audience'
  | 'keys-unavailable'
export declare class PassportRejected extends Error {
  readonly code: PassportRejectionCode
}
export interface PassportVerifier {
  verify(token: string): Promise<VerifiedPassport> /** rejects while no key is at hand */
  ping(): Promise<void>
  close(): void
}
export declare function createPassportVerifier(
  config: AttestationTokenConfig,
  deps: {
    logger: Logger
    profile: Config['profile']
    now?: () => Date
    ownKeys?: { readonly issuer: string; jwks(): { keys: readonly Record<string, unknown>[] } }
  },
): Promise<PassportVerifier>

// ---- operation
export declare function createLogger(o: {
  program: string
  env: Readonly<Record<string, string | undefined>>
  level?: string
}): Logger
export interface Counter {
  inc(labels?: Record<string, string>): void
}
export interface Metrics {
  readonly authRequests: Counter
  readonly authSuccesses: Counter
  readonly authErrors: Counter
  readonly attestationRequests: Counter
  readonly attestationErrors: Counter
  attestationSucceeded(tee: string): void
  attestationFailed(tee: string): void
  readonly policyEvaluations: Counter
  readonly policyApprovals: Counter
  readonly policyViolations: Counter
  readonly policyErrors: Counter
  resourceRead(path: string): void
  resourceWritten(path: string): void
  resourceDeleted(path: string): void
  pluginCalled(name: string, seconds: number, failed: boolean): void
  readonly middleware: MiddlewareHandler<ServiceEnv>
  /** `GET /metrics`; mount with `app.get('/metrics', metrics.handler)`. */
  readonly handler: (c: Context) => Promise<Response>
}
export declare function createMetrics(o: {
  config: Config['metrics']
  version: string
  gitHash?: string
  buildDate?: string
}): Metrics
/** `/healthz` (always 200, empty) and `/readyz` (200 or 503, JSON with each probe). */
export declare function healthRoutes(o: {
  probes: Readonly<Record<string, () => Promise<void>>>
  logger: Logger
  isDraining?: () => boolean
}): Hono
export interface AuditRecord {
  readonly event: string
  readonly decision: 'allowed' | 'denied' | 'failed'
  readonly requestId: string
  readonly reason?: string
  readonly policySha384?: string
  readonly subject?: string
  readonly teeKeyThumbprint?: string
  readonly [member: string]: unknown
}
export type Audit = (record: AuditRecord) => void
export declare function createAudit(logger: Logger): Audit
/** Resolves after SIGTERM/SIGINT, when the server has drained and `onClose` has run; exits hard after the limit. */
export declare function runUntilSignal(
  server: HttpServer,
  o: { logger: Logger; graceMs: number; onClose?: () => Promise<void> },
): Promise<void>
