import { createHash, timingSafeEqual } from 'node:crypto'
import {
  AttestationPolicyError,
  AttestationRefused,
  AttestationUnavailable,
  type Evaluation,
  type EvaluationItem,
} from '@passport-kbs/attestation-service'
import {
  type AttestRequest,
  JsonSyntaxError,
  type KbsProblem,
  MessageError,
  parseAttestRequest,
  parseHashAlgorithm,
  parseJson,
  parseTee,
  problems,
  teeKeyThumbprint,
  tokenBody,
} from '@passport-kbs/protocol'
import { jsonAnswer, type KbsRequest, type KbsRoute } from '@passport-kbs/service'
import type { SessionAttestation, SessionChallenge } from '@passport-kbs/storage'
import { EvidenceRejected } from '@passport-kbs/tee-evidence'
import { attestationProblem } from '../attestation-problem.ts'
import type { AttestDeps } from '../deps.ts'
import { AttestationShapeError, evaluationItems } from '../evaluation-items.ts'
import { ForgedSession } from '../sealed-sessions.ts'
import { readSessionCookie, sessionCookie } from '../session-cookie.ts'

const unknownSession = 'session unknown or expired'

/**
 * POST /kbs/v0/attest: evidence -> passport (spec 01 §2.4, §2.9). Everything that costs nothing is checked first; then the
 * nonce is claimed, once and for good, and only its winner has evidence verified.
 */
export function attestRoute(deps: AttestDeps): KbsRoute {
  return {
    name: 'attest',
    method: 'POST',
    async handle(request) {
      deps.metrics.attestationRequests.inc()
      const refuse = refusal(deps, request)
      const id = readSessionCookie(request.header('cookie'))
      if (id === undefined) throw refuse('no session cookie')
      const posted = readAttestation(deps, await request.body(), refuse)
      const session = await deps.sessions.get(id).catch(refuseForged(deps, request))
      if (session === undefined) throw refuse(unknownSession)

      const token =
        session.state === 'attested'
          ? tokenAgain(session.attestation, posted, refuse)
          : await newToken(deps, request, { id, challenge: session.challenge, posted, refuse })
      return jsonAnswer(tokenBody(token), {
        'set-cookie': sessionCookie(id, session.expiresAt, deps.now(), deps.secureCookies),
      })
    },
  }
}

/** The guest is told of a session that we do not know; the operator, that the store is not to be trusted. */
function refuseForged({ metrics, audit, logger }: AttestDeps, { requestId }: KbsRequest) {
  return (error: unknown): never => {
    if (!(error instanceof ForgedSession)) throw error
    logger.error({ requestId }, error.message)
    metrics.attestationErrors.inc()
    audit({ event: 'attestation', decision: 'denied', requestId, reason: error.message })
    throw problems.attestFailed(unknownSession, error)
  }
}

interface PostedAttestation {
  readonly request: AttestRequest
  /** SHA-256 of the body: what "the same attestation again" means. */
  readonly digest: string
}

/** The problem for an attestation that never reaches a verifier; it is counted and put on the audit record. */
type Refuse = (reason: string, cause?: unknown, status?: 400 | 401) => KbsProblem

function refusal({ metrics, audit }: AttestDeps, { requestId }: KbsRequest): Refuse {
  return (reason, cause, status) => {
    metrics.attestationErrors.inc()
    audit({ event: 'attestation', decision: 'denied', requestId, reason })
    return problems.attestFailed(reason, cause, status)
  }
}

function readAttestation({ teeKeys }: AttestDeps, body: Uint8Array, refuse: Refuse): PostedAttestation {
  try {
    const request = parseAttestRequest(parseJson(body), teeKeys)
    return { request, digest: createHash('sha256').update(body).digest('base64url') }
  } catch (cause) {
    if (cause instanceof JsonSyntaxError) throw refuse('the body is not JSON', cause, 400)
    if (cause instanceof MessageError) throw refuse(cause.message, cause, 400)
    throw cause
  }
}

/** A guest whose answer got lost may ask again, with the very same attestation. */
function tokenAgain(attestation: SessionAttestation, posted: PostedAttestation, refuse: Refuse): string {
  if (attestation.requestDigest === posted.digest) return attestation.token
  throw refuse('the session is attested already; start again with /auth')
}

async function newToken(
  deps: AttestDeps,
  request: KbsRequest,
  handshake: { id: string; challenge: SessionChallenge; posted: PostedAttestation; refuse: Refuse },
): Promise<string> {
  const { id, challenge, posted, refuse } = handshake
  const { nonce, teePublicKey } = posted.request.runtimeData
  if (!equalText(challenge.nonce, nonce)) throw refuse('the nonce is not the one of this session')
  const items = itemsOf(challenge, posted.request, refuse)
  const claimed = await deps.sessions.claim(id).catch(refuseForged(deps, request))
  if (claimed === undefined) throw refuse('the nonce has been used; start again with /auth')
  const teeKey = teeKeyThumbprint(teePublicKey)
  const { token } = await evaluate(deps, request, items, teeKey)
  const attestation = { token, teeKeyThumbprint: teeKey, requestDigest: posted.digest }
  if (!(await deps.sessions.complete(id, attestation)))
    throw refuse('the session expired during verification')
  return token
}

/** At least the primary evidence, which stands first. */
function itemsOf(
  challenge: SessionChallenge,
  attestation: AttestRequest,
  refuse: Refuse,
): [EvaluationItem, ...EvaluationItem[]] {
  const tee = parseTee(challenge.tee)
  const hash = parseHashAlgorithm(challenge.hashAlgorithm)
  if (tee === undefined || hash === undefined)
    throw problems.internalError(new Error('the stored session is not ours'))
  try {
    return evaluationItems(tee, hash, attestation)
  } catch (cause) {
    if (cause instanceof AttestationShapeError) throw refuse(cause.message, cause, 400)
    throw cause
  }
}

async function evaluate(
  deps: AttestDeps,
  { requestId }: KbsRequest,
  items: [EvaluationItem, ...EvaluationItem[]],
  teeKey: string,
): Promise<Evaluation> {
  const [{ tee }] = items
  const record = { event: 'attestation', requestId, tee, teeKeyThumbprint: teeKey }
  try {
    const evaluation = await withinTime(
      deps.attestation.evaluate(items, { now: deps.now(), requestId }),
      deps.attestTimeoutMs,
    )
    deps.metrics.attestationSucceeded(tee)
    deps.audit({ ...record, decision: 'allowed', jti: evaluation.jti, submods: evaluation.submods })
    return evaluation
  } catch (error) {
    if (error instanceof AttestationUnavailable) deps.metrics.attestationUnavailable(tee)
    else deps.metrics.attestationFailed(tee)
    const decision =
      error instanceof EvidenceRejected || error instanceof AttestationRefused ? 'denied' : 'failed'
    deps.audit({ ...record, decision, reason: auditReason(error) })
    throw evaluationProblem(error)
  }
}

function auditReason(error: unknown): string {
  if (error instanceof EvidenceRejected) return `${error.check}: ${error.code}: ${error.detail}`
  return error instanceof Error ? `${error.name}: ${error.message}` : 'unknown'
}

/** The guest learns which rule it failed, not what was expected instead. */
function evaluationProblem(error: unknown) {
  if (error instanceof EvidenceRejected)
    return problems.attestFailed(`evidence rejected: ${error.code}`, error)
  if (error instanceof AttestationRefused) return problems.attestFailed('evidence rejected', error)
  if (error instanceof AttestationPolicyError)
    return problems.attestFailed('the attestation policy failed', error)
  return attestationProblem(error)
}

async function withinTime<T>(work: Promise<T>, milliseconds: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new AttestationUnavailable(`verification took longer than ${milliseconds} ms`)),
      milliseconds,
    )
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

function equalText(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}
