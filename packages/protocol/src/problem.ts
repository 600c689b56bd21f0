import { type JsonObject, jsonObject } from './json.ts'

/**
 * What a client is told when a request fails: Trustee's error body, `{type, detail}`, with the members of RFC 9457 beside
 * them. A guest can only retry sensibly if every answer but 200 has it (spec 01 §0.3, §1.3).
 */

/** The kinds that Trustee knows, by the last segment of their `type`. */
export const trusteeProblemKinds = [
  'AdminAuthInitialization',
  'AdminAuthAccess',
  'AttestationError',
  'InvalidRequestPath',
  'JweError',
  'PluginNotFound',
  'PluginInternalError',
  'PolicyDeny',
  'ParsePolicyError',
  'PolicyEngineError',
  'RvpsError',
  'SerdeError',
  'TokenNotFound',
  'TokenVerifierError',
  'PrometheusError',
] as const

/** Kinds for answers that Trustee gives without a body, or as 401. */
export const ownProblemKinds = [
  'MalformedRequest',
  'NotFound',
  'MethodNotAllowed',
  'PayloadTooLarge',
  'TooManyRequests',
  'HeaderTooLarge',
  'InternalError',
  'ServiceUnavailable',
] as const

export type ProblemKind = (typeof trusteeProblemKinds)[number] | (typeof ownProblemKinds)[number]

/** Every `type` starts with it. */
export const problemTypePrefix = 'https://github.com/confidential-containers/kbs/errors/'

export interface ProblemFields {
  readonly kind: ProblemKind
  /** HTTP status. */
  readonly status: number
  /** A few words for the kind of failure, the same every time. */
  readonly title: string
  /** For the client: names no secret, token, session or cause that an attacker could use. */
  readonly detail: string
  /** What the client may know beyond `detail`, whose text is a contract. Names no values. */
  readonly reason?: string | undefined
  /** For the operator's log and audit record; never sent. */
  readonly cause?: unknown
  /** Seconds for the header `Retry-After`. */
  readonly retryAfter?: number
}

/** A failure with two audiences: `detail` is for the client, `cause` for the operator. */
export class KbsProblem extends Error {
  override readonly name = 'KbsProblem'
  readonly kind: ProblemKind
  readonly status: number
  readonly title: string
  readonly detail: string
  readonly reason: string | undefined
  readonly retryAfter: number | undefined
  constructor({ kind, status, title, detail, reason, cause, retryAfter }: ProblemFields) {
    super(
      `${kind}: ${detail}${reason === undefined ? '' : ` (${reason})`}`,
      cause === undefined ? undefined : { cause },
    )
    this.kind = kind
    this.status = status
    this.title = title
    this.detail = detail
    this.reason = reason
    this.retryAfter = retryAfter
  }
}

/**
 * The body of the answer. `type` and `detail` are what guests and `kbs-client` read; `reason` and `instance` are our
 * extensions, as RFC 9457 §3.2 allows.
 * @param requestId a UUID that the operator's log has too.
 */
export function problemBody(problem: KbsProblem, requestId?: string): JsonObject {
  const { kind, detail, title, status, reason } = problem
  const body = jsonObject({ type: `${problemTypePrefix}${kind}`, detail, title, status })
  if (reason !== undefined) body.reason = reason
  if (requestId !== undefined) body.instance = `urn:uuid:${requestId}`
  return body
}

/** Built-in verbs that need an administrator. */
export type AdminVerb = 'attestation-policy' | 'reference-value' | 'resource-policy'

/** Why an administrator was refused, as `detail` spells it (spec 01 §6.2; tests of Trustee search for these texts). */
export const adminRefusal = Object.freeze({
  noBearer: () => 'Failed to parse HTTP Auth Bearer header',
  unverifiable: () => adminDenied('Cannot verify token with any of the issuers'),
  roleNotAllowed: (role: string, path: string) => adminDenied(`Role ${role} not allowed for path ${path}`),
  denyAll: () => adminDenied('Admin access denied as DenyAll authorization_mode is enabled'),
  /** Any other reason. */
  because: (reason: string) => adminDenied(reason),
})

function adminDenied(reason: string): string {
  return `Admin access denied: ${reason}`
}

/** One constructor a failure. `detail` is what Trustee sends; statuses differ from its 401 only where guests allow it. */
export const problems = Object.freeze({
  /** 401: an administrator was refused on a built-in verb. `refusal` comes from `adminRefusal`. */
  adminRefused: (verb: AdminVerb, refusal: string, cause?: unknown) =>
    new KbsProblem({
      kind: 'AdminAuthAccess',
      status: 401,
      title: 'Administrator refused',
      detail: `admin access denied for endpoint ${verb}: ${refusal}`,
      cause,
    }),

  /** 401: an administrator was refused on a plugin's route. Trustee's name for it is an accident, kept. */
  adminRefusedOnPlugin: (refusal: string, cause?: unknown) =>
    new KbsProblem({
      kind: 'AdminAuthInitialization',
      status: 401,
      title: 'Administrator refused',
      detail: `failed to initialize [admin] configuration: ${refusal}`,
      cause,
    }),

  /**
   * 401, or 400 for a body that is not a request: `/auth` failed. `reason` starts with one of the contract texts of spec
   * 01 §1.3, such as `MessageError.contractText`.
   */
  authFailed: (reason: string, cause?: unknown, status: 400 | 401 = 401) =>
    new KbsProblem({
      kind: 'AttestationError',
      status,
      title: 'Handshake failed',
      detail: `Attestation error: RCAR handshake Auth failed: ${reason}`,
      cause,
    }),

  /** 401, or 400 for a body that is not an attestation: `/attest` failed. `reason` says no more than the guest may know. */
  attestFailed: (reason?: string, cause?: unknown, status: 400 | 401 = 401) =>
    new KbsProblem({
      kind: 'AttestationError',
      status,
      title: 'Handshake failed',
      detail: 'Attestation error: RCAR handshake Attest failed',
      reason,
      cause,
    }),

  /** 400: an attestation policy was refused; `reason` is for the administrator who sent it. */
  attestationPolicyRefused: (reason?: string, cause?: unknown) =>
    new KbsProblem({
      kind: 'AttestationError',
      status: 400,
      title: 'Attestation policy refused',
      detail: 'Attestation error: Set Attestation Policy failed',
      reason,
      cause,
    }),

  /** 400: the body of a resource policy upload is malformed. `reason` names the member. */
  resourcePolicyMalformed: (reason: string, cause?: unknown) =>
    new KbsProblem({
      kind: 'ParsePolicyError',
      status: 400,
      title: 'Malformed policy upload',
      detail: `Failed to parse policy: ${reason}`,
      cause,
    }),

  /** 400: the uploaded Rego does not compile. */
  resourcePolicyRefused: (reason: string, cause?: unknown) =>
    new KbsProblem({
      kind: 'PolicyEngineError',
      status: 400,
      title: 'Policy refused',
      detail: `Policy engine error: ${reason}`,
      cause,
    }),

  /** 500: the stored policy could not be evaluated. */
  policyEngineFailed: (reason: string, cause?: unknown) =>
    new KbsProblem({
      kind: 'PolicyEngineError',
      status: 500,
      title: 'Policy engine failed',
      detail: `Policy engine error: ${reason}`,
      cause,
    }),

  /** 401, which makes guests attest again; 403 where the operator has opted in (spec 01 §1.3). */
  policyDenied: (status: 401 | 403 = 401, cause?: unknown) =>
    new KbsProblem({
      kind: 'PolicyDeny',
      status,
      title: 'Denied by policy',
      detail: 'Access denied by policy',
      cause,
    }),

  /** 404: the first segment is neither a verb nor a configured plugin. */
  pluginNotFound: (name: string) =>
    new KbsProblem({
      kind: 'PluginNotFound',
      status: 404,
      title: 'No such plugin',
      detail: `Plugin ${name} not found`,
    }),

  /** 404: a plugin has nothing at this path. */
  resourceNotFound: (cause?: unknown) =>
    new KbsProblem({
      kind: 'PluginInternalError',
      status: 404,
      title: 'Resource not found',
      detail: 'Plugin internal error',
      reason: 'resource not found',
      cause,
    }),

  /** 400: a plugin refuses path, method or body. */
  pluginRefused: (reason?: string, cause?: unknown) =>
    new KbsProblem({
      kind: 'PluginInternalError',
      status: 400,
      title: 'Request refused by the plugin',
      detail: 'Plugin internal error',
      reason,
      cause,
    }),

  /** 500: a plugin failed. */
  pluginFailed: (cause?: unknown) =>
    new KbsProblem({
      kind: 'PluginInternalError',
      status: 500,
      title: 'Plugin failed',
      detail: 'Plugin internal error',
      cause,
    }),

  /** 404: no reference value of that name. */
  referenceValueNotFound: (cause?: unknown) =>
    new KbsProblem({
      kind: 'RvpsError',
      status: 404,
      title: 'Reference value not found',
      detail: 'RVPS configuration failed: reference value not found',
      cause,
    }),

  /** 400: a reference value message was refused. */
  referenceValueRefused: (reason: string, cause?: unknown) =>
    new KbsProblem({
      kind: 'RvpsError',
      status: 400,
      title: 'Reference value refused',
      detail: `RVPS configuration failed: ${reason}`,
      cause,
    }),

  /** 401: neither an attested session nor a Bearer token. */
  tokenNotFound: (cause?: unknown) =>
    new KbsProblem({
      kind: 'TokenNotFound',
      status: 401,
      title: 'No attestation token',
      detail: 'Attestation Token not found',
      cause,
    }),

  /** 401: the token is expired, untrusted or without a usable TEE key claim; the guest attests again. */
  tokenRefused: (cause?: unknown) =>
    new KbsProblem({
      kind: 'TokenVerifierError',
      status: 401,
      title: 'Attestation token refused',
      detail: 'Token Verifier error',
      cause,
    }),

  /** 401: the TEE key cannot be used. */
  jweFailed: (cause?: unknown) =>
    new KbsProblem({ kind: 'JweError', status: 401, title: 'TEE key unusable', detail: 'JWE failed', cause }),

  /** 404: the path has no meaning here. */
  invalidRequestPath: (path: string) =>
    new KbsProblem({
      kind: 'InvalidRequestPath',
      status: 404,
      title: 'Invalid path',
      detail: `Request path ${path} is invalid`,
    }),

  /** 500: metrics could not be written. */
  metricsFailed: (cause?: unknown) =>
    new KbsProblem({
      kind: 'PrometheusError',
      status: 500,
      title: 'Metrics failed',
      detail: 'Prometheus error',
      cause,
    }),

  /** 400: the request is malformed in a way that no other kind names. */
  malformedRequest: (detail: string, cause?: unknown) =>
    new KbsProblem({ kind: 'MalformedRequest', status: 400, title: 'Malformed request', detail, cause }),

  /** 404 outside the protocol's paths. */
  notFound: () => new KbsProblem({ kind: 'NotFound', status: 404, title: 'Not found', detail: 'Not found' }),

  /** 405. */
  methodNotAllowed: () =>
    new KbsProblem({
      kind: 'MethodNotAllowed',
      status: 405,
      title: 'Method not allowed',
      detail: 'Method not allowed',
    }),

  /** 413: the body is larger than configured. */
  payloadTooLarge: () =>
    new KbsProblem({
      kind: 'PayloadTooLarge',
      status: 413,
      title: 'Payload too large',
      detail: 'payload reached size limit',
    }),

  /** 431: the request's header fields are larger than configured. */
  headerTooLarge: () =>
    new KbsProblem({
      kind: 'HeaderTooLarge',
      status: 431,
      title: 'Header too large',
      detail: 'request header fields too large',
    }),

  /** 429: too many requests from one source. @param retryAfter seconds. */
  tooManyRequests: (retryAfter?: number, cause?: unknown) =>
    new KbsProblem({
      kind: 'TooManyRequests',
      status: 429,
      title: 'Too many requests',
      detail: 'too many requests, try again later',
      cause,
      ...(retryAfter === undefined ? {} : { retryAfter }),
    }),

  /** 500: a fault of ours. */
  internalError: (cause?: unknown) =>
    new KbsProblem({
      kind: 'InternalError',
      status: 500,
      title: 'Internal error',
      detail: 'internal error',
      cause,
    }),

  /** 503: something that the answer needs is down or busy. @param retryAfter seconds. @param reason for the client. */
  serviceUnavailable: (cause?: unknown, retryAfter?: number, reason?: string) =>
    new KbsProblem({
      kind: 'ServiceUnavailable',
      status: 503,
      title: 'Service unavailable',
      detail: 'temporarily unavailable, try again later',
      reason,
      cause,
      ...(retryAfter === undefined ? {} : { retryAfter }),
    }),
})
