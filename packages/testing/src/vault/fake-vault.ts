import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import { type Context, Hono } from 'hono'
import { makeCertificate, type TestIdentity } from '../tls/certificates.ts'
import { type FakeTransitKeys, mountTransit } from './fake-transit.ts'

export { type FakeTransitKey, type FakeTransitKeys, rotateTransitKey } from './fake-transit.ts'

export type VaultFault =
  | 'sealed'
  | 'quota'
  | 'slow'
  | 'garbage'
  | 'no-object'
  | 'redirect'
  | 'empty'
  | 'nowhere'

interface Token {
  ttl: number
  renewable: boolean
  /** Beginnings of paths below `/v1/` that its policy does not allow. */
  denied?: readonly string[]
}

/**
 * The HTTP interface of Vault and OpenBao as far as a client of KV needs it, over HTTPS: KV version 1 at `secret`, version
 * 2 at `kv`, the engine transit at `transit`, `sys/health`, tokens with `lookup-self` and `renew-self`, and the Kubernetes auth method for role `kbs`. Time stands
 * still: a token ends when a test deletes it.
 */
export interface FakeVault {
  readonly url: string
  /** PEM of the CA that its certificate is from. */
  readonly ca: string
  readonly tokens: Map<string, Token>
  /** Entries of version 1, by path. */
  readonly entries: Map<string, unknown>
  /** Entries of version 2, by path, oldest first; a deleted version is undefined. */
  readonly versions: Map<string, unknown[]>
  readonly transit: FakeTransitKeys
  /** `GET /v1/...` in order. */
  readonly requests: string[]
  /** The token of the service account that may log in. */
  jwt: string
  namespace: string | undefined
  fault: VaultFault | undefined
  stop(): Promise<void>
}

const authority = () => makeCertificate({ name: 'Vault CA', ca: true })

export async function startFakeVault({ expired = false } = {}): Promise<FakeVault> {
  const ca = authority()
  const vault: Omit<FakeVault, 'url' | 'stop'> = {
    ca: ca.pem,
    tokens: new Map(),
    entries: new Map(),
    versions: new Map(),
    transit: new Map(),
    requests: [],
    jwt: 'account',
    namespace: undefined,
    fault: undefined,
  }
  const { port, stop } = await serve(application(vault), ca, expired)
  return Object.assign(vault, { url: `https://localhost:${port}`, stop })
}

function application(vault: Omit<FakeVault, 'url' | 'stop'>): Hono {
  const app = new Hono()
  let logins = 0
  app.use(async (c, next) => {
    vault.requests.push(`${c.req.method} ${c.req.path}`)
    if (vault.fault !== undefined) return faulty(c, vault.fault)
    if (c.req.path === '/v1/sys/health') return next()
    if (c.req.header('x-vault-namespace') !== vault.namespace) return c.json({ errors: ['no handler'] }, 404)
    if (!c.req.path.endsWith('/login') && !vault.tokens.has(tokenOf(c))) {
      return c.json({ errors: ['permission denied'] }, 403)
    }
    const denied = vault.tokens.get(tokenOf(c))?.denied ?? []
    if (denied.some((start) => c.req.path.startsWith(`/v1/${start}`))) {
      return c.json({ errors: ['permission denied'] }, 403)
    }
    return next()
  })
  app.post('/v1/auth/kubernetes/login', async (c) => {
    const { role, jwt } = await c.req.json()
    if (role !== 'kbs' || jwt !== vault.jwt) return c.json({ errors: ['permission denied'] }, 403)
    const token = { ttl: 3600, renewable: true }
    const name = `login-${++logins}`
    vault.tokens.set(name, token)
    return c.json(envelope({ auth: { client_token: name, lease_duration: token.ttl, renewable: true } }))
  })
  app.get('/v1/auth/token/lookup-self', (c) =>
    c.json(envelope({ data: { ...vault.tokens.get(tokenOf(c)) } })),
  )
  app.post('/v1/auth/token/renew-self', (c) => {
    const token = vault.tokens.get(tokenOf(c))
    return c.json(envelope({ auth: { lease_duration: token?.ttl, renewable: token?.renewable } }))
  })
  app.get('/v1/sys/health', (c) => c.json({ initialized: true, sealed: false, standby: false }))
  firstVersion(app, vault.entries)
  secondVersion(app, vault.versions)
  mountTransit(app, vault.transit, envelope)
  return app
}

function firstVersion(app: Hono, entries: Map<string, unknown>): void {
  const pathOf = (c: Context) => c.req.path.slice('/v1/secret/'.length)
  app.get('/v1/secret/*', (c) => {
    const data = entries.get(pathOf(c))
    return data === undefined ? c.json({ errors: [] }, 404) : c.json(envelope({ data }))
  })
  app.post('/v1/secret/*', async (c) => {
    entries.set(pathOf(c), await c.req.json())
    return c.body(null, 204)
  })
  app.delete('/v1/secret/*', (c) => {
    entries.delete(pathOf(c))
    return c.body(null, 204)
  })
}

function secondVersion(app: Hono, versions: Map<string, unknown[]>): void {
  const pathOf = (c: Context) => c.req.path.replace(/^\/v1\/kv\/(?:meta)?data\//, '')
  app.get('/v1/kv/data/*', (c) => {
    const all = versions.get(pathOf(c))
    if (all === undefined) return c.json({ errors: [] }, 404)
    const version = Number(c.req.query('version') ?? all.length)
    const data = all[version - 1]
    if (version > all.length) return c.json({ errors: [] }, 404)
    const metadata = {
      version,
      destroyed: false,
      deletion_time: data === undefined ? '2026-01-01T00:00:00Z' : '',
    }
    return c.json(envelope({ data: { data: data ?? null, metadata } }), data === undefined ? 404 : 200)
  })
  app.post('/v1/kv/data/*', async (c) => {
    const { data } = await c.req.json()
    versions.set(pathOf(c), [...(versions.get(pathOf(c)) ?? []), data])
    return c.json(envelope({ data: { version: versions.get(pathOf(c))?.length } }))
  })
  app.delete('/v1/kv/metadata/*', (c) => {
    versions.delete(pathOf(c))
    return c.body(null, 204)
  })
}

function tokenOf(c: Context): string {
  return c.req.header('x-vault-token') ?? ''
}

function envelope(members: object): object {
  const absent = { data: null, wrap_info: null, warnings: null, auth: null }
  return {
    request_id: crypto.randomUUID(),
    lease_id: '',
    renewable: false,
    lease_duration: 0,
    ...absent,
    ...members,
  }
}

async function faulty(c: Context, fault: VaultFault): Promise<Response> {
  switch (fault) {
    case 'sealed':
      return c.json({ errors: ['Vault is sealed'] }, 503)
    case 'quota':
      return c.json({ errors: ['request path rate limit quota exceeded'] }, 429, { 'retry-after': '1' })
    case 'slow':
      await new Promise((done) => setTimeout(done, 2_000).unref())
      return c.json({})
    case 'garbage':
      return c.body('{"data": "half')
    case 'no-object':
      return c.json([])
    case 'empty':
      return c.json({})
    case 'nowhere':
      return c.json({}, 404)
    case 'redirect':
      return c.redirect('https://localhost:1/elsewhere', 307)
  }
}

async function serve(app: Hono, ca: TestIdentity, expired: boolean) {
  const certificate = makeCertificate({
    name: 'localhost',
    issuer: ca,
    addresses: ['127.0.0.1'],
    ...(expired ? { notBefore: new Date(0), notAfter: new Date(86_400_000) } : {}),
  })
  const server = createServer(
    { key: certificate.keyPem, cert: certificate.pem },
    getRequestListener(app.fetch),
  )
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as AddressInfo
  const stop = () =>
    new Promise<void>((done) => {
      server.close(() => done())
      server.closeAllConnections()
    })
  return { port, stop }
}
