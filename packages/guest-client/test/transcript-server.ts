import { randomBytes } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { type HttpBindings, serve } from '@hono/node-server'
import {
  type AttestRequest,
  challengeBody,
  deviceRuntimeData,
  encodeBase64,
  type HashAlgorithm,
  type JsonObject,
  jsonObject,
  KbsProblem,
  parseAttestRequest,
  parseAuthRequest,
  parseJson,
  primaryRuntimeData,
  problemBody,
  problems,
  runtimeDataDigest,
  sealForTee,
  stringifyJson,
  type TeePublicKey,
  tokenBody,
} from '@passport-kbs/protocol'
import { type Context, Hono } from 'hono'
import { getCookie } from 'hono/cookie'

interface Session {
  readonly nonce: string
  key?: TeePublicKey
}

/** What a test may bend in the server. Each hook may answer instead of the server. */
export interface Bends {
  selectedHash?: HashAlgorithm
  /** Attributes of the session's cookie. */
  cookieAttributes?: string
  onAuth?: (count: number) => Response | undefined
  onAttest?: (count: number, request: AttestRequest) => Response | undefined
  onResource?: (count: number, context: Context) => Response | undefined
}

export interface TranscriptServer {
  readonly url: string
  readonly bends: Bends
  /** Method, path and what identified the guest, of each request. */
  readonly seen: { method: string; path: string; userAgent: string | undefined; cookie: string | undefined }[]
  readonly attestations: AttestRequest[]
  close(): Promise<void>
}

export const secret = 'the secret of spec 01 §2.10'

/** A server that plays the transcript of spec 01 §2.10 as Trustee does, on a loopback port, and checks what it gets. */
export async function startTranscriptServer(bends: Bends = {}): Promise<TranscriptServer> {
  const sessions = new Map<string, Session>()
  const seen: TranscriptServer['seen'] = []
  const attestations: AttestRequest[] = []
  const counts = { auth: 0, attest: 0, resource: 0 }
  const app = new Hono<{ Bindings: HttpBindings }>()

  app.use(async (c, next) => {
    seen.push({
      method: c.req.method,
      path: c.req.path,
      userAgent: c.req.header('user-agent'),
      cookie: c.req.header('cookie'),
    })
    await next()
  })
  app.post('/kbs/v0/auth', async (c) => {
    const bent = bends.onAuth?.(++counts.auth)
    if (bent) return bent
    parseAuthRequest(parseJson(await c.req.text()))
    const id = randomBytes(16).toString('hex')
    const nonce = encodeBase64(randomBytes(32))
    sessions.set(id, { nonce })
    return json(challengeBody(nonce, bends.selectedHash), { 'set-cookie': cookie(id, bends) })
  })
  app.post('/kbs/v0/attest', async (c) => {
    const request = parseAttestRequest(parseJson(await c.req.text()), { allowMlKem: true })
    attestations.push(request)
    const bent = bends.onAttest?.(++counts.attest, request)
    if (bent) return bent
    const id = getCookie(c, 'kbs-session-id') ?? ''
    const session = sessions.get(id)
    if (session?.nonce !== request.runtimeData.nonce) throw problems.attestFailed()
    checkEvidence(request, bends.selectedHash ?? 'sha384')
    session.key = request.runtimeData.teePublicKey
    return json(tokenBody(tokenFor(id)), { 'set-cookie': cookie(id, bends) })
  })
  app.get('/kbs/v0/:plugin/*', (c) => {
    const bent = bends.onResource?.(++counts.resource, c)
    if (bent) return bent
    const id = getCookie(c, 'kbs-session-id') ?? sessionOf(c.req.header('authorization'))
    const key = sessions.get(id)?.key
    if (key === undefined) throw problems.tokenNotFound()
    const jwe = sealForTee(key, new TextEncoder().encode(`${secret}: ${c.req.path}`))
    return json(jsonObject({ ...jwe }))
  })
  app.onError((error) => {
    if (!(error instanceof KbsProblem)) throw error
    return refuse(error)
  })

  const server = await new Promise<ReturnType<typeof serve>>((resolve) => {
    const started = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, () => resolve(started))
  })
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    bends,
    seen,
    attestations,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  }
}

export function refuse(problem: KbsProblem): Response {
  return json(problemBody(problem), {}, problem.status)
}

export function json(body: JsonObject, headers: Record<string, string> = {}, status = 200): Response {
  return new Response(stringifyJson(body), {
    status,
    headers: { 'content-type': 'application/json', ...headers },
  })
}

/** A token with a payload as a token has it, valid for five minutes unless told; the guest does not look at the signature. */
export function tokenFor(session: string, claims: JsonObject = {}): string {
  const exp = Math.floor(Date.now() / 1000) + 300
  const payload = stringifyJson(jsonObject({ exp, jti: session, ...claims }))
  return `eyJhbGciOiJFUzI1NiJ9.${Buffer.from(payload).toString('base64url')}.AA`
}

function sessionOf(authorization = ''): string {
  const payload = authorization.split('.')[1] ?? ''
  return payload === '' ? '' : JSON.parse(Buffer.from(payload, 'base64url').toString()).jti
}

/** Trustee gives the cookie nothing but an expiry (spec 01 §2.9). */
function cookie(id: string, { cookieAttributes }: Bends): string {
  const expires = new Date(Date.now() + 300_000).toUTCString()
  return `kbs-session-id=${id}; ${cookieAttributes ?? `Expires=${expires}`}`
}

function checkEvidence(request: AttestRequest, hash: HashAlgorithm): void {
  const { nonce, teePublicKeyJson } = request.runtimeData
  const { additionalEvidence } = request
  const primary = primaryRuntimeData({ nonce, teePublicKeyJson, additionalEvidence })
  check(request.primaryEvidence as JsonObject, runtimeDataDigest(primary, hash))
  if (additionalEvidence === '') return
  const devices = parseJson(additionalEvidence) as { [tee: string]: JsonObject }
  const digest = runtimeDataDigest(deviceRuntimeData({ nonce, teePublicKeyJson }), hash)
  for (const evidence of Object.values(devices)) check(evidence, digest)
}

function check(evidence: JsonObject, digest: Uint8Array): void {
  if (evidence.report_data !== encodeBase64(digest)) throw problems.attestFailed('report data')
}
