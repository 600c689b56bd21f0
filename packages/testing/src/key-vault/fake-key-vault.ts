import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import { type Context, Hono, type Next } from 'hono'
import { makeCertificate } from '../tls/certificates.ts'
import { type FakeKeys, mountKeys } from './fake-keys.ts'

export { type FakeKeys, type FakeKeyVersion, rotateKey } from './fake-keys.ts'

export type KeyVaultFault = 'down' | 'quota' | 'slow' | 'garbage' | 'empty' | 'forbidden'

interface Version {
  readonly id: string
  readonly value: string
  readonly contentType?: string
}

/**
 * Secrets and keys as Azure Key Vault has them, over HTTPS, with the challenge that a client without a token gets, and
 * beside it the token endpoint of Microsoft Entra for a federated workload.
 */
export interface FakeKeyVault {
  readonly url: string
  readonly ca: string
  readonly tenant: string
  /** Versions by name, oldest first. */
  readonly secrets: Map<string, Version[]>
  readonly keys: FakeKeys
  /** What ids of keys begin with. Default: `url`. */
  keyBase: string | undefined
  /** Operations on keys that the caller has no role for: `get`, `wrapkey`, `unwrapkey`, `sign`. */
  readonly denied: Set<string>
  /** `GET /secrets/...` that carried a token, in order; those for keys as well. */
  readonly requests: string[]
  /** Tokens that are accepted. */
  readonly tokens: Set<string>
  /** The assertion that Entra takes for one. */
  assertion: string
  fault: KeyVaultFault | undefined
  stop(): Promise<void>
}

const tenant = '11111111-2222-4333-8444-555555555555'

export interface FakeKeyVaultOptions {
  /** Where Entra is, for clients that reach it under its public name. Default: here. */
  readonly authority?: string
  /** How long a token lasts. */
  readonly tokenSeconds?: number
}

export async function startFakeKeyVault(options: FakeKeyVaultOptions = {}): Promise<FakeKeyVault> {
  const ca = makeCertificate({ name: 'Azure CA', ca: true })
  const certificate = makeCertificate({ name: 'localhost', issuer: ca, addresses: ['127.0.0.1'] })
  const vault: FakeKeyVault = {
    url: '',
    ca: ca.pem,
    tenant,
    secrets: new Map(),
    keys: new Map(),
    keyBase: undefined,
    denied: new Set(),
    requests: [],
    tokens: new Set(),
    assertion: 'account',
    fault: undefined,
    stop: async () => {},
  }
  // the client asks for the newest version with an empty last segment
  const app = new Hono({ strict: false })
  const listener = getRequestListener(app.fetch)
  const server = createServer({ key: certificate.keyPem, cert: certificate.pem }, listener)
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const url = `https://localhost:${(server.address() as AddressInfo).port}`
  const stop = () =>
    new Promise<void>((done) => {
      server.close(() => done())
      server.closeAllConnections()
    })
  Object.assign(vault, { url, stop })
  entra(app, vault, { authority: url, tokenSeconds: 3_600, ...options })
  keyVault(app, vault, options.authority ?? url)
  mountKeys(app, () => vault.keyBase ?? vault.url, vault.keys, vault.denied)
  return vault
}

function entra(
  app: Hono,
  vault: FakeKeyVault,
  { authority, tokenSeconds }: Required<FakeKeyVaultOptions>,
): void {
  const base = () => `${authority}/${tenant}`
  app.get(`/${tenant}/v2.0/.well-known/openid-configuration`, (c) =>
    c.json({
      issuer: `${base()}/v2.0`,
      jwks_uri: `${base()}/discovery/v2.0/keys`,
      authorization_endpoint: `${base()}/oauth2/v2.0/authorize`,
      token_endpoint: `${base()}/oauth2/v2.0/token`,
    }),
  )
  app.post(`/${tenant}/oauth2/v2.0/token`, async (c) => {
    const form = await c.req.parseBody()
    if (form.client_assertion !== vault.assertion) return c.json({ error: 'invalid_client' }, 401)
    const token = crypto.randomUUID()
    vault.tokens.add(token)
    return c.json({ token_type: 'Bearer', expires_in: tokenSeconds, access_token: token })
  })
}

function keyVault(app: Hono, vault: FakeKeyVault, authority: string): void {
  const { secrets } = vault
  const guard = async (c: Context, next: Next) => {
    const token = c.req.header('authorization')?.replace('Bearer ', '') ?? ''
    if (!vault.tokens.has(token)) {
      const challenge = `Bearer authorization="${authority}/${tenant}", resource="https://vault.azure.net"`
      return refusal(c, 401, 'Unauthorized', { 'www-authenticate': challenge })
    }
    vault.requests.push(`${c.req.method} ${c.req.path}`)
    return vault.fault === undefined ? next() : faulty(c, vault.fault)
  }
  app.use('/secrets/*', guard)
  app.use('/keys/*', guard)
  const bundle = (name: string, { id, value, contentType }: Version) => ({
    value,
    id: `${vault.url}/secrets/${name}/${id}`,
    attributes: { enabled: true, created: 1, updated: 1 },
    ...(contentType === undefined ? {} : { contentType }),
  })
  app.get('/secrets/:name/:version?', (c) => {
    const { name, version = '' } = c.req.param() as { name: string; version?: string }
    const all = secrets.get(name) ?? []
    const found = version === '' ? all.at(-1) : all.find(({ id }) => id === version)
    return found === undefined ? refusal(c, 404, 'SecretNotFound') : c.json(bundle(name, found))
  })
  app.put('/secrets/:name', async (c) => {
    const { value, contentType } = await c.req.json()
    const name = c.req.param('name')
    const version = { id: crypto.randomUUID().replaceAll('-', ''), value, contentType }
    secrets.set(name, [...(secrets.get(name) ?? []), version])
    return c.json(bundle(name, version))
  })
  app.delete('/secrets/:name', (c) => {
    const name = c.req.param('name')
    const last = secrets.get(name)?.at(-1)
    if (last === undefined) return refusal(c, 404, 'SecretNotFound')
    secrets.delete(name)
    return c.json({ ...bundle(name, last), recoveryId: `${vault.url}/deletedsecrets/${name}` })
  })
}

function refusal(c: Context, status: 401 | 403 | 404 | 429 | 503, code: string, headers = {}): Response {
  return c.json({ error: { code, message: code } }, status, headers)
}

async function faulty(c: Context, fault: KeyVaultFault): Promise<Response> {
  switch (fault) {
    case 'down':
      return refusal(c, 503, 'ServiceUnavailable')
    case 'quota':
      return refusal(c, 429, 'Throttled', { 'retry-after': '1' })
    case 'forbidden':
      return refusal(c, 403, 'Forbidden')
    case 'garbage':
      return c.body('{"value": "half', 200, { 'content-type': 'application/json' })
    case 'empty':
      return c.json({ id: 'https://localhost/secrets/x/1', attributes: {} })
    case 'slow':
      await new Promise((done) => setTimeout(done, 2_000).unref())
      return c.json({})
  }
}
