import {
  challengeBody,
  encodeBase64,
  JsonSyntaxError,
  MessageError,
  parseAuthRequest,
  parseJson,
  problems,
} from '@passport-kbs/protocol'
import { jsonAnswer, type KbsRequest, type KbsRoute } from '@passport-kbs/service'
import { SessionLimit } from '@passport-kbs/storage'
import type { AttestDeps } from '../deps.ts'
import { sessionCookie } from '../session-cookie.ts'

/** `/auth` is open to everyone and makes the server keep state, so its body is small. */
const maxBodyBytes = 32_768

/** How Trustee words every fault of the body but its version (spec 01 §1.3). */
const malformedRequest = 'deserialize Request'

/** POST /kbs/v0/auth: Request -> Challenge and the session's cookie (spec 01 §2.2, §2.4). */
export function authRoute(deps: AttestDeps): KbsRoute {
  return {
    name: 'auth',
    method: 'POST',
    async handle(request) {
      deps.metrics.authRequests.inc()
      try {
        const answer = await challenge(deps, request)
        deps.metrics.authSuccesses.inc()
        return answer
      } catch (error) {
        deps.metrics.authErrors.inc()
        throw error
      }
    },
  }
}

async function challenge(deps: AttestDeps, request: KbsRequest): Promise<Response> {
  const { tee, supportedHashAlgorithms } = await readRequest(request)
  const { hash, announce } = negotiate(deps, tee, supportedHashAlgorithms)
  const now = deps.now()
  const expiresAt = new Date(now.getTime() + deps.sessionLifetimeMs)
  const nonce = encodeBase64(deps.randomBytes(32))
  const id = await deps.sessions
    .create({ tee, nonce, hashAlgorithm: hash }, expiresAt)
    .catch((cause: unknown) => {
      if (cause instanceof SessionLimit) throw problems.serviceUnavailable(cause, 30)
      throw cause
    })
  return jsonAnswer(challengeBody(nonce, announce ? hash : undefined), {
    'set-cookie': sessionCookie(id, expiresAt, now, deps.secureCookies),
  })
}

async function readRequest(request: KbsRequest) {
  const body = await request.body()
  if (body.length > maxBodyBytes) throw problems.payloadTooLarge()
  try {
    return parseAuthRequest(parseJson(body))
  } catch (cause) {
    if (cause instanceof JsonSyntaxError)
      throw problems.authFailed(`${malformedRequest}: not JSON`, cause, 400)
    if (!(cause instanceof MessageError)) throw cause
    const { contractText = malformedRequest } = cause
    if (contractText === malformedRequest)
      throw problems.authFailed(`${malformedRequest}: ${cause.message}`, cause, 400)
    // The texts on versions are a contract with guests, which read them from a 401.
    throw problems.authFailed(contractText, cause)
  }
}

function negotiate(deps: AttestDeps, ...offer: Parameters<AttestDeps['attestation']['negotiate']>) {
  try {
    return deps.attestation.negotiate(...offer)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'Attestation Service generate challenge failed'
    throw problems.authFailed(`Attestation Service generate challenge failed: ${reason}`, cause)
  }
}
