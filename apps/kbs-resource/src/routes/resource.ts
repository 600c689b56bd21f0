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
import { InvalidStorageKey, type KeyValueStore, ValueTooLarge } from '@passport-kbs/storage'
import type { ResourceDeps } from '../deps.ts'
import { passportOf } from '../passport-of.ts'
import { parseResourcePath, resourceKey } from '../resource-path.ts'

const plugin = 'resource'

/** `/kbs/v0/resource/<repository>/<type>/<tag>`: guests read, administrators write and delete (spec 01 §1.4, §5.1). */
export function resourceRoute(deps: ResourceDeps, secrets: KeyValueStore): KbsRoute {
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
async function read(deps: ResourceDeps, secrets: KeyValueStore, request: KbsRequest): Promise<Response> {
  const { teeKey, released } = await grant(deps, request)
  const key = keyOf(request)
  deps.metrics.resourceRead(key)
  const secret = await secrets.get(key)
  if (secret === undefined) {
    released('denied', 'no such resource')
    throw problems.resourceNotFound()
  }
  const answer = seal(teeKey, secret)
  released('allowed')
  return jsonAnswer(answer)
}

/** PUT is for attested guests, too, but this plugin has no use for it. */
async function refusePut(deps: ResourceDeps, request: KbsRequest): Promise<Response> {
  await grant(deps, request)
  throw problems.pluginRefused('illegal method')
}

interface Grant {
  readonly teeKey: TeePublicKey
  /** Writes the audit record, once it is known what came of the grant. */
  readonly released: (decision: 'allowed' | 'denied', reason?: string) => void
}

async function grant(deps: ResourceDeps, request: KbsRequest): Promise<Grant> {
  const { requestId } = request
  const record = { event: 'resource-read', requestId, resourcePath: resourceName(request) }
  const denied = (reason: string, more = {}) => deps.audit({ ...record, decision: 'denied', reason, ...more })

  const passport = await passportOf(deps, request).catch((error: unknown) => {
    denied(causeText(error))
    throw error
  })
  const who = {
    ...(passport.issuer ? { issuer: passport.issuer } : {}),
    ...(passport.jti ? { jti: passport.jti } : {}),
  }
  const decision = await decide(deps, request, passport)
  const policySha384 = decision.policySha384
  if (!decision.allowed) {
    denied(decision.reason, { ...who, policySha384 })
    throw problems.policyDenied(deps.denyStatus)
  }
  const teeKey = teeKeyOf(deps, passport, (reason) => denied(reason, { ...who, policySha384 }))
  const released: Grant['released'] = (outcome, reason) =>
    deps.audit({
      ...record,
      ...who,
      decision: outcome,
      policySha384,
      teeKeyThumbprint: teeKeyThumbprint(teeKey),
      ...(reason ? { reason } : {}),
    })
  return { teeKey, released }
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
    return decision
  } catch (error) {
    metrics.policyErrors.inc()
    if (error instanceof PolicyError) throw problems.policyEngineFailed(error.message, error)
    throw error
  }
}

function teeKeyOf(
  deps: ResourceDeps,
  passport: VerifiedPassport,
  denied: (reason: string) => void,
): TeePublicKey {
  let key: TeePublicKey | undefined
  try {
    key = findTeePublicKey(passport.claims, deps.extraTeeKeyPaths, deps.teeKeys)
  } catch (cause) {
    if (!(cause instanceof TeeKeyError)) throw cause
    denied(`TEE key: ${cause.message}`)
    throw problems.tokenRefused(cause)
  }
  if (key === undefined) {
    denied('the passport names no TEE key')
    throw problems.tokenRefused(new Error('the passport names no TEE key'))
  }
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

async function write(deps: ResourceDeps, secrets: KeyValueStore, request: KbsRequest): Promise<Response> {
  const record = await authorize(deps, request, 'resource-write')
  const key = keyOf(request)
  deps.metrics.resourceWritten(key)
  try {
    await secrets.set(key, await request.body())
  } catch (cause) {
    if (cause instanceof ValueTooLarge) throw problems.payloadTooLarge()
    if (cause instanceof InvalidStorageKey) throw problems.pluginRefused('the path cannot be stored', cause)
    throw cause
  }
  deps.audit({ ...record, decision: 'allowed' })
  return emptyAnswer('text/xml')
}

async function remove(deps: ResourceDeps, secrets: KeyValueStore, request: KbsRequest): Promise<Response> {
  const record = await authorize(deps, request, 'resource-delete')
  const key = keyOf(request)
  deps.metrics.resourceDeleted(key)
  if (!(await secrets.delete(key))) throw problems.resourceNotFound()
  deps.audit({ ...record, decision: 'allowed' })
  return emptyAnswer('text/xml')
}

async function authorize(deps: ResourceDeps, request: KbsRequest, event: string) {
  const admin = await authorizeAdmin(deps, request, event, problems.adminRefusedOnPlugin)
  return { event, resourcePath: resourceName(request), ...admin }
}

/** For the audit record, bounded, whatever was asked for. */
function resourceName(request: KbsRequest): string {
  return request.segments.slice(1).join('/').slice(0, 512)
}

/** The name is checked after authentication and policy, as Trustee does, so that it tells strangers nothing. */
function keyOf(request: KbsRequest): string {
  const path = parseResourcePath(request.segments.slice(1))
  if (path === undefined) throw problems.pluginRefused('the path is not <repository>/<type>/<tag>')
  return resourceKey(path)
}

function causeText(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  return cause instanceof Error ? cause.message : 'unknown'
}
