/**
 * What every app needs to be a service.
 *
 * - configuration: `loadConfig`, `ConfigError`, `exitWithConfigError`
 * - HTTP: `createServiceApp` (or the middleware one by one), `requestPath`, `createHttpServer`, `problemResponse`
 * - administrators: `createAdminGuard`
 * - passports: `createPassportVerifier`
 * - keys: `createKeySource`
 * - operation: `createLogger`, `createMetrics`, `mountOperation`, `createAudit`, `runUntilSignal`
 */
export { AclError, compileAcl, type PathMatcher } from './admin/acl.ts'
export {
  type AdminDenialReason,
  AdminDenied,
  type AdminGuard,
  type AdminIdentity,
  type AdminRequest,
  createAdminGuard,
} from './admin/admin-guard.ts'
export { type AdminRecord, authorizeAdmin } from './admin/authorize-admin.ts'
export {
  type PolicyArchive,
  type PolicyFinding,
  type PolicyWorkbenchRoutesOptions,
  policyWorkbenchRoutes,
} from './admin/policy-workbench-routes.ts'
export { isLoopbackSocket, referenceValueAddress } from './config/addresses.ts'
export { builtInAttestation } from './config/built-in-attestation.ts'
export type {
  AdminConfig,
  AttestationApiConfig,
  AttestationServiceConfig,
  AttestationTokenConfig,
  BuiltInAttestationConfig,
  Config,
  HttpServerConfig,
  IntelTrustAuthorityConfig,
  PluginConfig,
  Program,
  RemoteAttestationConfig,
  StorageChoices,
} from './config/config.ts'
export { ConfigError, type ConfigProblem } from './config/config-error.ts'
export { loadConfig, loadStorageChoices, parseConfig } from './config/load.ts'
export { accessLog } from './http/access-log.ts'
export {
  errorHandler,
  notFoundHandler,
  problemOf,
  problemResponse,
  securityHeaderFields,
} from './http/answers.ts'
export { bodyLimit } from './http/body-limit.ts'
export { createProxyTrust, type ProxyTrust } from './http/client-address.ts'
export { concurrencyLimit } from './http/concurrency-limit.ts'
export { type ConnectionServer, createConnectionServer } from './http/connection-server.ts'
export {
  emptyAnswer,
  jsonAnswer,
  type KbsMethod,
  type KbsRequest,
  type KbsRoute,
  mountKbsRoutes,
  wholeBody,
} from './http/kbs-routes.ts'
export { kbsRateLimits, type RateLimitOptions, rateLimit } from './http/rate-limit.ts'
export { requestContext } from './http/request-context.ts'
export { type RequestPath, rawRequestPath, requestPath } from './http/request-path.ts'
export { securityHeaders } from './http/security-headers.ts'
export { createHttpServer, type FetchApp, type HttpServer } from './http/server.ts'
export { createServiceApp } from './http/service-app.ts'
export type { ServiceEnv } from './http/service-env.ts'
export { TlsError } from './http/tls.ts'
export { DocumentUnavailable, type FetchDocument, fetchDocument } from './keys/document.ts'
export { createKeySource, type KeySource, KeySourceError, type KeySourceOptions } from './keys/key-source.ts'
export { keyFromJwk, keyFromPem, UnusableKey, type VerificationKey } from './keys/verification-key.ts'
export { exitWithConfigError, runUntilSignal, startupRefusal } from './lifecycle.ts'
export { type Audit, type AuditRecord, createAudit } from './observability/audit.ts'
export { healthRoutes, type Probe } from './observability/health.ts'
export { createLogger, describeError, type Logger } from './observability/logger.ts'
export { type Count, createMetrics, type Metrics } from './observability/metrics.ts'
export { type AppOptions, mountOperation } from './observability/operation.ts'
export { PassportRejected, type PassportRejectionCode, type VerifiedPassport } from './passport/passport.ts'
export { createPassportVerifier, type OwnKeys, type PassportVerifier } from './passport/passport-verifier.ts'
export {
  type OpenService,
  type RunningService,
  runService,
  type ServiceOptions,
  type SharedDeps,
  startService,
} from './start-service.ts'
