/** Intel Trust Authority as a real HTTPS server that can misbehave (spec 02 §8). */
import { randomUUID } from 'node:crypto'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { getRequestListener, type HttpBindings } from '@hono/node-server'
import { isJsonObject, type JsonObject, jsonObject, parseJson, stringifyJson } from '@passport-kbs/protocol'
import { type Context, Hono } from 'hono'
import { makeServerIdentity } from '../tls/certificates.ts'
import { AppraisalError, appraise } from './appraisal.ts'
import {
  type IntelSigningKey,
  type IntelTokenDraft,
  makeSigningAuthorities,
  makeSigningKey,
  signIntelToken,
} from './intel-token.ts'

/** How attest calls are answered instead of correctly. */
export type IntelFailure =
  | {
      readonly kind: 'status'
      readonly status: number
      readonly retryAfter?: string
      readonly error?: string
    }
  /** Accepts the connection and never answers. */
  | { readonly kind: 'silent' }
  /** Closes the connection without an answer. */
  | { readonly kind: 'reset' }
  | { readonly kind: 'oversize' }
  | { readonly kind: 'body'; readonly text: string }

/** An attest call as it came. */
export interface IntelCall {
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: JsonObject
}

export interface FakeIntelTrustAuthority {
  /** `https://127.0.0.1:port`: API and portal. */
  readonly url: string
  /** PEM of the CA of its TLS certificate. */
  readonly ca: string
  readonly apiKey: string
  /** Attest calls so far. */
  readonly calls: IntelCall[]
  /** Policies that match; all others do not. */
  readonly matchingPolicies: Set<string>
  /** Attest calls fail this way from now on, the next `times` only where that is given; undefined ends it. */
  fail(failure: IntelFailure | undefined, times?: number): void
  /** Changes every token from now on before it is signed; undefined ends it. */
  tamper(change: ((draft: IntelTokenDraft) => void) | undefined): void
  /** Publishes and uses a new signing key; the former is withdrawn. */
  rotateKey(): void
  close(): Promise<void>
}

const apiKey = `djE6${Buffer.from('virtual intel trust authority key').toString('base64url')}`
const portal = 'https://portal.trustauthority.intel.com'

class State {
  readonly authorities = makeSigningAuthorities()
  readonly calls: IntelCall[] = []
  readonly matchingPolicies = new Set<string>()
  key: IntelSigningKey = makeSigningKey(this.authorities)
  failure: IntelFailure | undefined
  failuresLeft = 0
  change: ((draft: IntelTokenDraft) => void) | undefined

  nextFailure(): IntelFailure | undefined {
    if (this.failuresLeft <= 0) return undefined
    this.failuresLeft -= 1
    return this.failure
  }
}

/** Starts the server on a free port. */
export async function startFakeIntelTrustAuthority(): Promise<FakeIntelTrustAuthority> {
  const state = new State()
  const { ca, server: identity } = makeServerIdentity('intel-trust-authority')
  const listener = getRequestListener(intelApp(state).fetch)
  const server = createServer({ key: identity.keyPem, cert: identity.pem }, listener)
  const sockets = new Set<Duplex>()
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ca: ca.pem,
    apiKey,
    calls: state.calls,
    matchingPolicies: state.matchingPolicies,
    fail(failure, times = Number.POSITIVE_INFINITY) {
      state.failure = failure
      state.failuresLeft = failure === undefined ? 0 : times
    },
    tamper(change) {
      state.change = change
    },
    rotateKey() {
      state.key = makeSigningKey(state.authorities)
    },
    close: () => closed(server, sockets),
  }
}

function intelApp(state: State): Hono<{ Bindings: HttpBindings }> {
  const app = new Hono<{ Bindings: HttpBindings }>()
  app.get('/certs', (c) => c.json({ keys: [state.key.jwk] }))
  for (const path of ['/appraisal/v2/attest', '/appraisal/v2/attest/azure'])
    app.post(path, async (c) => {
      c.header('request-id', randomUUID())
      c.header('trace-id', 'virtual-trace')
      const body = parseJson(await c.req.text())
      if (!isJsonObject(body)) return refusal(c, 400, 'Invalid JSON')
      state.calls.push({ path, headers: c.req.header(), body })
      const failure = state.nextFailure()
      if (failure !== undefined) return failed(c, failure)
      if (c.req.header('x-api-key') !== apiKey) return refusal(c, 401, 'Invalid API key')
      return await attested(c, state, body)
    })
  return app
}

async function attested(c: Context, state: State, body: JsonObject): Promise<Response> {
  try {
    const evidence = appraise(c.req.path, body)
    const policies = Array.isArray(body.policy_ids) ? body.policy_ids.map(String) : []
    const matched = policies.filter((id) => state.matchingPolicies.has(id))
    if (body.policy_must_match === true && matched.length < policies.length)
      return refusal(c, 400, 'Policies do not match')
    const draft = tokenDraft(state.key, {
      ...evidence,
      policy_ids_matched: policyEntries(matched),
      policy_ids_unmatched: policyEntries(policies.filter((id) => !matched.includes(id))),
    })
    state.change?.(draft)
    return c.json({ token: await signIntelToken(draft) })
  } catch (error) {
    if (error instanceof AppraisalError) return refusal(c, 400, error.message)
    throw error
  }
}

function policyEntries(ids: readonly string[]) {
  return ids.map((id) => jsonObject({ id, version: 'v1', hash: Buffer.from(id).toString('base64') }))
}

function tokenDraft({ kid, privateKey }: IntelSigningKey, claims: JsonObject): IntelTokenDraft {
  const seconds = Math.floor(Date.now() / 1000)
  return {
    header: { alg: 'PS384', jku: `${portal}/certs`, kid, typ: 'JWT' },
    key: privateKey,
    claims: jsonObject({
      ...claims,
      eat_profile: `${portal}/eat_profile.html`,
      intuse: 'generic',
      ver: '2.0.0',
      verifier_instance_ids: [randomUUID()],
      iss: 'Intel Trust Authority',
      jti: randomUUID(),
      iat: seconds,
      nbf: seconds,
      exp: seconds + 300,
    }),
  }
}

function failed(c: Context<{ Bindings: HttpBindings }>, failure: IntelFailure): Response | Promise<Response> {
  switch (failure.kind) {
    case 'status':
      if (failure.retryAfter !== undefined) c.header('retry-after', failure.retryAfter)
      return refusal(c, failure.status, failure.error ?? 'failed')
    case 'silent':
      return new Promise(() => undefined)
    case 'reset':
      c.env.incoming.socket.destroy()
      return new Promise(() => undefined)
    case 'oversize':
      return c.body('x'.repeat(2_097_152))
    case 'body':
      return c.body(failure.text)
  }
}

function refusal(c: Context, status: number, error: string): Response {
  return c.body(stringifyJson(jsonObject({ error })), status as 400, { 'content-type': 'application/json' })
}

function closed(server: Server, sockets: ReadonlySet<Duplex>): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    for (const socket of sockets) socket.destroy()
  })
}
