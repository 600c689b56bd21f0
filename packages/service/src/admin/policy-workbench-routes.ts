import { createHash } from 'node:crypto'
import {
  encodeBase64Url,
  encodeUtf8,
  isJsonObject,
  JsonSyntaxError,
  type JsonValue,
  parseJson,
  problems,
} from '@passport-kbs/protocol'
import type { VersionRecord } from '@passport-kbs/storage'
import { emptyAnswer, jsonAnswer, type KbsRequest, type KbsRoute } from '../http/kbs-routes.ts'
import type { Audit } from '../observability/audit.ts'
import type { AdminGuard } from './admin-guard.ts'
import { authorizeAdmin } from './authorize-admin.ts'

/** Stored policies of one kind, with their earlier versions. */
export interface PolicyArchive {
  /** Absent where GET of the verb itself is not served, as Trustee does not for attestation policies. */
  readonly ids?: () => Promise<readonly string[]>
  /** The text in force. */
  active(id: string): Promise<string | undefined>
  /** Newest first; empty where nothing is recorded. */
  versions(id: string): Promise<readonly VersionRecord[]>
  version(id: string, sha384: string): Promise<string | undefined>
  /** False where there is no such version. */
  rollBack(id: string, sha384: string, by: string | undefined): Promise<boolean>
}

/** What a check finds; texts name paths and kinds, never claims. */
export interface PolicyFinding {
  readonly severity: 'error' | 'warning'
  readonly code: string
  readonly message: string
  readonly remedy: string
  readonly location: { readonly line: number; readonly column: number }
  readonly sourceLine: string
}

export interface PolicyWorkbenchRoutesOptions {
  readonly verb: 'resource-policy' | 'attestation-policy'
  readonly deps: { readonly admin: AdminGuard; readonly audit: Audit }
  readonly archive: PolicyArchive
  /** POST of the verb itself: sets a policy. */
  readonly set: KbsRoute
  /** The text of a check's body. Throws what a malformed upload gets. */
  readonly readPolicy: (body: JsonValue) => string
  readonly check: (rego: string) => Promise<readonly PolicyFinding[]>
  /** Words an error of the archive for the client. */
  readonly problem: (error: unknown) => unknown
}

const hashForm = /^[0-9a-f]{96}$/

/**
 * What administrators read of policies, and the way back, beside Trustee's two verbs:
 *
 * - GET `<verb>`: ids, where Trustee has them; `<verb>/<id>`: the policy in force; `<verb>/<id>/history`: its versions;
 *   `<verb>/<id>/history/<sha384>`: the text of one
 * - POST `<verb>/check`: a dry run; `<verb>/<id>/rollback` with `{"sha384"}`: sets an earlier version again
 *
 * Any other POST sets a policy, as Trustee has it (spec 01 §1.2). Every step is audited with the hash of the policy.
 */
export function policyWorkbenchRoutes(options: PolicyWorkbenchRoutesOptions): KbsRoute[] {
  const { verb, set } = options
  return [
    {
      name: verb,
      method: 'GET',
      handle: (request) => read(options, request),
    },
    {
      name: verb,
      method: 'POST',
      handle: (request) => {
        const [, first, second, ...more] = request.segments
        if (first === 'check' && second === undefined) return check(options, request)
        if (second === 'rollback' && more.length === 0 && first) return rollBack(options, request, first)
        return set.handle(request)
      },
    },
  ]
}

async function read(options: PolicyWorkbenchRoutesOptions, request: KbsRequest): Promise<Response> {
  const { verb, archive, deps } = options
  const [, id, section, sha384, ...more] = request.segments
  if (id === undefined || id === '') {
    const list = archive.ids
    if (!list) throw problems.pluginNotFound(verb)
    const admin = await authorize(options, request, `${verb}-list`)
    const ids = await worded(options, list)
    deps.audit({ event: `${verb}-list`, decision: 'allowed', ...admin })
    return jsonAnswer(ids)
  }
  const event = section === undefined ? `${verb}-read` : `${verb}-history`
  const admin = await authorize(options, request, event)
  if (more.length > 0 || (section !== undefined && section !== 'history')) throw problems.notFound()
  const active = await worded(options, () => archive.active(id))
  const record = (policySha384: string | undefined) =>
    deps.audit({ event, decision: 'allowed', policyId: id, policySha384, ...admin })
  if (section === undefined || sha384 !== undefined) {
    const text = sha384 === undefined ? active : await worded(options, () => archive.version(id, sha384))
    if (text === undefined) throw problems.notFound()
    record(hashOf(text))
    return jsonAnswer(policyBody(id, text))
  }
  const versions = await worded(options, () => archive.versions(id))
  if (active === undefined && versions.length === 0) throw problems.notFound()
  const activeSha384 = active === undefined ? undefined : hashOf(active)
  record(activeSha384)
  return jsonAnswer({
    policy_id: id,
    active: activeSha384 ?? null,
    versions: versions.map(({ sha384: hash, at, by, origin, bytes }) => ({
      sha384: hash,
      set_at: at,
      ...(by === undefined ? {} : { set_by: by }),
      origin,
      bytes,
    })),
  })
}

async function check(options: PolicyWorkbenchRoutesOptions, request: KbsRequest): Promise<Response> {
  const event = `${options.verb}-check`
  const admin = await authorize(options, request, event)
  const rego = options.readPolicy(await jsonBody(request))
  const found = (await worded(options, () => options.check(rego))).map(
    ({ severity, code, message, remedy, location: { line, column }, sourceLine }) => ({
      severity,
      code,
      message,
      remedy,
      line,
      column,
      source_line: sourceLine,
    }),
  )
  const policySha384 = hashOf(rego)
  options.deps.audit({ event, decision: 'allowed', policySha384, ...admin })
  return jsonAnswer({
    sha384: policySha384,
    errors: found.filter(({ severity }) => severity === 'error'),
    warnings: found.filter(({ severity }) => severity === 'warning'),
  })
}

async function rollBack(
  options: PolicyWorkbenchRoutesOptions,
  request: KbsRequest,
  id: string,
): Promise<Response> {
  const event = `${options.verb}-rollback`
  const { audit } = options.deps
  const admin = await authorize(options, request, event)
  const body = await jsonBody(request)
  const sha384 = isJsonObject(body) ? body.sha384 : undefined
  if (typeof sha384 !== 'string' || !hashForm.test(sha384)) {
    throw problems.malformedRequest('`sha384` must be 96 hexadecimal digits, as the history shows them')
  }
  const facts = { event, policyId: id, policySha384: sha384, ...admin }
  const isKnown = await worded(options, () => options.archive.rollBack(id, sha384, admin.subject)).catch(
    (error: unknown) => {
      audit({ ...facts, decision: 'failed', reason: 'the version could not be set' })
      throw error
    },
  )
  if (!isKnown) {
    audit({ ...facts, decision: 'denied', reason: 'there is no such version' })
    throw problems.notFound()
  }
  audit({ ...facts, decision: 'allowed' })
  return emptyAnswer()
}

function policyBody(id: string, text: string) {
  return { policy_id: id, type: 'rego', sha384: hashOf(text), policy: encodeBase64Url(encodeUtf8(text)) }
}

/** As the engine has it: of the text's bytes. */
function hashOf(text: string): string {
  return createHash('sha384').update(text).digest('hex')
}

async function jsonBody(request: KbsRequest): Promise<JsonValue> {
  const body = await request.body()
  try {
    return parseJson(body)
  } catch (cause) {
    if (cause instanceof JsonSyntaxError) throw problems.malformedRequest('the body is not JSON', cause)
    throw cause
  }
}

async function worded<T>({ problem }: PolicyWorkbenchRoutesOptions, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw problem(error)
  }
}

function authorize({ deps, verb }: PolicyWorkbenchRoutesOptions, request: KbsRequest, event: string) {
  return authorizeAdmin(deps, request, event, (refusal, cause) => problems.adminRefused(verb, refusal, cause))
}
