import { PolicyError } from '@passport-kbs/policy'
import {
  findTeePublicKey,
  JweError,
  problems,
  sealForTee,
  TeeKeyError,
  type TeePublicKey,
  teeKeyThumbprint,
} from '@passport-kbs/protocol'
import {
  authorizeAdmin,
  emptyAnswer,
  jsonAnswer,
  type KbsRequest,
  type KbsRoute,
  type VerifiedPassport,
} from '@passport-kbs/service'
import {
  InvalidSecretVersion,
  InvalidStorageKey,
  type SecretBackend,
  SecretBackendReadOnly,
  ValueTooLarge,
} from '@passport-kbs/storage'
import { type AuditFacts, audited } from '../audited.ts'
import type { ResourceDeps } from '../deps.ts'
import { passportOf } from '../passport-of.ts'
import { parseResourcePath, resourceKey } from '../resource-path.ts'

const plugin = 'resource'

/** `/kbs/v0/resource/<repository>/<type>/<tag>`: guests read, administrators write and delete (spec 01 §1.4, §5.1). */
export function resourceRoute(deps: ResourceDeps, secrets: SecretBackend): KbsRoute {
  return {
    name: plugin,
    handle(request) {
      switch (request.method) {
        case 'GET':
          return read(deps, secrets, request)
        case 'POST':
          return write(deps, secrets, request)
        case 'DELETE':
          return remove(deps, secrets, request)
        case 'PUT':
          return refusePut(deps, request)
      }
    },
  }
}

/** Token, policy, TEE key, secret, JWE: in this order, so that nothing is read that cannot be delivered. */
function read(deps: ResourceDeps, secrets: SecretBackend, request: KbsRequest): Promise<Response> {
  return audited(deps, 'resource-read', request, async (facts) => {
    const teeKey = await grant(deps, request, facts)
    const key = keyOf(request)
    deps.metrics.resourceRead(key)
    const secret = await find(secrets, key, request.query)
    if (secret === undefined) throw problems.resourceNotFound()
    return jsonAnswer(seal(teeKey, secret))
  })
}

/** `?version=` chooses a version; the policy has seen it, as all of the query, and may refuse it. */
async function find(secrets: SecretBackend, key: string, query: KbsRequest['query']) {
  const version = query.version
  try {
    return await secrets.read(key, version === undefined ? {} : { version })
  } catch (cause) {
    if (cause instanceof InvalidSecretVersion) throw problems.pluginRefused(cause.message, cause)
    // too long for any store, so nothing can be there
    if (cause instanceof InvalidStorageKey) throw problems.resourceNotFound(cause)
    throw cause
  }
}

/** PUT is for attested guests, too, but this plugin has no use for it. */
function refusePut(deps: ResourceDeps, request: KbsRequest): Promise<Response> {
  return audited(deps, 'resource-put', request, async (facts) => {
    await grant(deps, request, facts)
    throw problems.pluginRefused('illegal method')
  })
}

/** The key to which secrets may be sealed: that of a verified passport which the policy allows. */
async function grant(deps: ResourceDeps, request: KbsRequest, facts: AuditFacts): Promise<TeePublicKey> {
  const passport = await passportOf(deps, request)
  facts.issuer = passport.issuer
  facts.jti = passport.jti
  const decision = await decide(deps, request, passport)
  facts.policySha384 = decision.policySha384
  if (!decision.allowed) throw problems.policyDenied(deps.denyStatus, new Error(decision.reason))
  const teeKey = teeKeyOf(deps, passport)
  facts.teeKeyThumbprint = teeKeyThumbprint(teeKey)
  return teeKey
}

async function decide(deps: ResourceDeps, request: KbsRequest, passport: VerifiedPassport) {
  const { metrics } = deps
  metrics.policyEvaluations.inc()
  try {
    const decision = await deps.policy.decide(passport.claims, {
      plugin,
      method: request.method,
      resourcePath: request.segments.slice(1),
      query: request.query,
    })
    if (decision.allowed) metrics.policyApprovals.inc()
    else metrics.policyViolations.inc()
    // a policy that cannot answer denies, and is a fault of the policy besides (spec 01 §8)
    if (!decision.allowed && decision.isFault) metrics.policyErrors.inc()
    return decision
  } catch (error) {
    metrics.policyErrors.inc()
    if (error instanceof PolicyError) throw problems.policyEngineFailed(error.message, error)
    throw error
  }
}

function teeKeyOf(deps: ResourceDeps, passport: VerifiedPassport): TeePublicKey {
  let key: TeePublicKey | undefined
  try {
    key = findTeePublicKey(passport.claims, deps.extraTeeKeyPaths, deps.teeKeys)
  } catch (cause) {
    if (cause instanceof TeeKeyError) throw problems.tokenRefused(cause)
    throw cause
  }
  if (key === undefined) throw problems.tokenRefused(new Error('the passport names no TEE key'))
  return key
}

function seal(key: TeePublicKey, secret: Uint8Array) {
  try {
    return sealForTee(key, secret)
  } catch (cause) {
    if (cause instanceof JweError) throw problems.jweFailed(cause)
    throw cause
  }
}

async function write(deps: ResourceDeps, secrets: SecretBackend, request: KbsRequest): Promise<Response> {
  const admin = await authorizeAdmin(deps, request, 'resource-write', problems.adminRefusedOnPlugin)
  return audited(deps, 'resource-write', request, async (facts) => {
    Object.assign(facts, admin)
    const key = keyOf(request)
    deps.metrics.resourceWritten(key)
    await store(secrets, key, await request.body())
    return emptyAnswer('text/xml')
  })
}

async function store(secrets: SecretBackend, key: string, value: Uint8Array): Promise<void> {
  try {
    await secrets.write(key, value)
  } catch (cause) {
    if (cause instanceof ValueTooLarge) throw problems.payloadTooLarge()
    if (cause instanceof InvalidStorageKey) throw problems.pluginRefused('the path cannot be stored', cause)
    throw refusedWrite(cause)
  }
}

/** What the client is told where secrets are only read. */
function refusedWrite(cause: unknown): unknown {
  return cause instanceof SecretBackendReadOnly ? problems.pluginRefused(cause.message, cause) : cause
}

async function remove(deps: ResourceDeps, secrets: SecretBackend, request: KbsRequest): Promise<Response> {
  const admin = await authorizeAdmin(deps, request, 'resource-delete', problems.adminRefusedOnPlugin)
  return audited(deps, 'resource-delete', request, async (facts) => {
    Object.assign(facts, admin)
    const key = keyOf(request)
    deps.metrics.resourceDeleted(key)
    const deleted = await secrets.delete(key).catch((cause) => {
      if (cause instanceof InvalidStorageKey) return false
      throw refusedWrite(cause)
    })
    if (!deleted) throw problems.resourceNotFound()
    return emptyAnswer('text/xml')
  })
}

/** The name is checked after authentication and policy, as Trustee does, so that it tells strangers nothing. */
function keyOf(request: KbsRequest): string {
  const path = parseResourcePath(request.segments.slice(1))
  if (path === undefined) throw problems.pluginRefused('the path is not <repository>/<type>/<tag>')
  return resourceKey(path)
}
