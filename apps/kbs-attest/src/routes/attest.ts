import { createHash, timingSafeEqual } from 'node:crypto'
import {
  AttestationPolicyError,
  AttestationUnavailable,
  type Evaluation,
} from '@passport-kbs/attestation-service'
import {
  type AttestRequest,
  canonicalJson,
  type JsonValue,
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
import type { Session, SessionChallenge } from '@passport-kbs/storage'
import { EvidenceRejected } from '@passport-kbs/tee-evidence'
import type { AttestDeps } from '../deps.ts'
import { AttestationShapeError, evaluationItems } from '../evaluation-items.ts'
import { readSessionCookie, sessionCookie } from '../session-cookie.ts'

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
      const id = readSessionCookie(request.header('cookie'))
      if (id === undefined) throw sessionProblem(deps, 'no session cookie')
      const attestation = await readAttestation(deps, request)
      const session = await deps.sessions.get(id)
      if (session === undefined) throw sessionProblem(deps, 'session unknown or expired')

      const token = await passport(deps, request, id, session, attestation)
      return jsonAnswer(tokenBody(token), {
        'set-cookie': sessionCookie(id, session.expiresAt, deps.now(), deps.secureCookies),
      })
    },
  }
}

interface PostedAttestation {
  readonly request: AttestRequest
  /** SHA-256 of the canonical body: what "the same attestation again" means. */
  readonly digest: string
}

async function readAttestation(deps: AttestDeps, request: KbsRequest): Promise<PostedAttestation> {
  try {
    const body: JsonValue = parseJson(await request.body())
    return {
      request: parseAttestRequest(body, deps.teeKeys),
      digest: createHash('sha256').update(canonicalJson(body)).digest('base64url'),
    }
  } catch (cause) {
    deps.metrics.attestationErrors.inc()
    const reason = cause instanceof MessageError ? cause.message : 'the body is not JSON'
    throw problems.attestFailed(reason, cause, 400)
  }
}

async function passport(
  deps: AttestDeps,
  request: KbsRequest,
  id: string,
  session: Session,
  posted: PostedAttestation,
): Promise<string> {
  if (session.state === 'attested') {
    if (session.attestation.requestDigest === posted.digest) return session.attestation.token
    throw sessionProblem(deps, 'the session is attested already; start again with /auth')
  }
  if (!equalText(session.challenge.nonce, posted.request.runtimeData.nonce)) {
    throw problems.attestFailed('the nonce is not the one of this session')
  }
  const challenge = await deps.sessions.claim(id)
  if (challenge === undefined) throw sessionProblem(deps, 'the nonce has been used; start again with /auth')
  const evaluation = await evaluate(deps, request, challenge, posted.request)
  const completed = await deps.sessions.complete(id, {
    token: evaluation.token,
    teeKeyThumbprint: teeKeyThumbprint(posted.request.runtimeData.teePublicKey),
    requestDigest: posted.digest,
  })
  if (!completed) throw sessionProblem(deps, 'the session expired during verification')
  return evaluation.token
}

async function evaluate(
  deps: AttestDeps,
  { requestId }: KbsRequest,
  challenge: SessionChallenge,
  attestation: AttestRequest,
): Promise<Evaluation> {
  const tee = parseTee(challenge.tee)
  const hash = parseHashAlgorithm(challenge.hashAlgorithm)
  if (tee === undefined || hash === undefined)
    throw problems.internalError(new Error('the stored session is not ours'))
  const teeKey = teeKeyThumbprint(attestation.runtimeData.teePublicKey)
  try {
    const items = evaluationItems(tee, hash, attestation)
    const evaluation = await withinTime(
      deps.attestation.evaluate(items, { now: deps.now(), requestId }),
      deps.attestTimeoutMs,
    )
    deps.metrics.attestationSucceeded(tee)
    deps.audit({
      event: 'attestation',
      decision: 'allowed',
      requestId,
      tee,
      teeKeyThumbprint: teeKey,
      jti: evaluation.jti,
      submods: evaluation.submods,
    })
    return evaluation
  } catch (error) {
    deps.metrics.attestationFailed(tee)
    deps.audit({
      event: 'attestation',
      decision: error instanceof EvidenceRejected ? 'denied' : 'failed',
      requestId,
      tee,
      teeKeyThumbprint: teeKey,
      reason: auditReason(error),
    })
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
  if (error instanceof AttestationShapeError) return problems.attestFailed(error.message, error, 400)
  if (error instanceof AttestationPolicyError)
    return problems.attestFailed('the attestation policy failed', error)
  if (error instanceof AttestationUnavailable) return problems.serviceUnavailable(error, 5)
  return error
}

function sessionProblem(deps: AttestDeps, reason: string) {
  deps.metrics.attestationErrors.inc()
  return problems.attestFailed(reason)
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
