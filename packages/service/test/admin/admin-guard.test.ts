import { afterEach, describe, expect, it } from 'vitest'
import {
  AdminDenied,
  type AdminGuard,
  type AdminIdentity,
  compileAcl,
  createAdminGuard,
} from '../../src/index.ts'
import { configOf, recordingLogger } from '../fixtures.ts'
import { type DocumentServer, startDocumentServer } from '../https-server.ts'
import { epoch, keySetOf, makeSigner, type Signer, signToken, temporaryFile } from '../tokens.ts'

const closers: (() => void | Promise<void>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0)) await close()
})

interface Setup {
  readonly guard: AdminGuard
  readonly log: ReturnType<typeof recordingLogger>
  ask(token: string | undefined, path?: string, method?: string): Promise<AdminIdentity>
}

async function guardOf(adminToml: string): Promise<Setup> {
  const log = recordingLogger()
  const guard = await createAdminGuard(configOf(adminToml).admin, {
    logger: log.logger,
    profile: 'development',
  })
  closers.push(() => guard.close())
  const ask: Setup['ask'] = (token, path = 'resource/a/b/c', method = 'POST') =>
    guard.authorize({
      authorization: token === undefined ? undefined : `Bearer ${token}`,
      method,
      segments: path.split('/'),
    })
  return { guard, log, ask }
}

const authenticated = (providers: string, acls = '[{ role = "admin", allowed_endpoints = "^/kbs/.+$" }]') => `
[admin]
authorization_mode = "AuthenticatedAuthorization"
[admin.authentication.bearer_jwt]
identity_providers = [${providers}]
[admin.authorization.regex_acl]
acls = ${acls}
`

async function pemGuard(
  signer: Signer,
  acls?: string,
  options = 'issuer = "issuer", audience = "KBS"',
): Promise<Setup> {
  const pem = await temporaryFile('admin.pub', signer.publicPem)
  return guardOf(authenticated(`{ ${options}, public_key_uri = "${pem}" }`, acls))
}

/** As Trustee's set-up makes them (spec 01 §6.2). */
const claims = (more: Record<string, unknown> = {}) => ({
  iss: 'issuer',
  sub: 'admin',
  aud: ['KBS'],
  role: 'admin',
  iat: epoch(),
  exp: epoch(600),
  ...more,
})
const noKid = { kid: undefined, typ: 'JWT' }

describe('the modes (spec 01 §6.1)', () => {
  it('InsecureAllowAll lets everyone in without looking at the header', async () => {
    const { ask } = await guardOf('[admin]\nauthorization_mode = "InsecureAllowAll"\n')
    expect(await ask(undefined)).toEqual({ mode: 'insecure-allow-all' })
  })

  it('DenyAll refuses everyone, with Trustee’s text', async () => {
    const { ask } = await guardOf('[admin]\nauthorization_mode = "DenyAll"\n')
    await expect(ask('x')).rejects.toThrow(
      'Admin access denied: Admin access denied as DenyAll authorization_mode is enabled',
    )
  })

  it('is DenyAll when nothing is configured', async () => {
    const { ask } = await guardOf('')
    await expect(ask('x')).rejects.toThrow(/DenyAll authorization_mode is enabled/)
  })
})

describe('an administrator’s token', () => {
  it.each(['EdDSA', 'ES256', 'ES384', 'ES512', 'RS256', 'PS256', 'PS384'])(
    'signed with %s and a PEM key is accepted',
    async (algorithm) => {
      const signer = await makeSigner(algorithm)
      const { ask, log } = await pemGuard(signer)
      expect(await ask(await signToken(signer, claims({ jti: 'j1' }), noKid))).toEqual({
        mode: 'token',
        role: 'admin',
        subject: 'admin',
        issuer: 'issuer',
        tokenId: 'j1',
      })
      expect(log.text()).toContain('admin access granted')
    },
  )

  it.each([undefined, '', 'Basic YTpi', 'Bearer', 'Bearer a b', 'Bearer a\nb'])(
    'that is not there (%j) gives Trustee’s text',
    async (authorization) => {
      const { guard } = await pemGuard(await makeSigner('EdDSA'))
      await expect(
        guard.authorize({ authorization, method: 'POST', segments: ['resource'] }),
      ).rejects.toThrow('Failed to parse HTTP Auth Bearer header')
    },
  )

  it('that is longer than any administrator’s is not looked at', async () => {
    const { ask } = await pemGuard(await makeSigner('EdDSA'))
    await expect(ask('a'.repeat(20_000))).rejects.toThrow('Failed to parse HTTP Auth Bearer header')
  })

  it('is taken whatever the case of the scheme', async () => {
    const signer = await makeSigner('EdDSA')
    const { guard } = await pemGuard(signer)
    const authorization = `bearer ${await signToken(signer, claims(), noKid)}`
    expect((await guard.authorize({ authorization, method: 'POST', segments: ['resource'] })).role).toBe(
      'admin',
    )
  })

  const refused: [string, Record<string, unknown>, Record<string, unknown>][] = [
    ['has no exp', { exp: undefined }, noKid],
    ['has an exp that is a string', { exp: String(epoch(600)) }, noKid],
    ['expired more than 60 s ago', { exp: epoch(-61) }, noKid],
    ['is not valid yet', { nbf: epoch(120) }, noKid],
    ['is of another issuer', { iss: 'other' }, noKid],
    ['is for another audience', { aud: ['other'] }, noKid],
    ['has no audience', { aud: undefined }, noKid],
    ['has critical extensions', {}, { ...noKid, crit: ['b64'], b64: true }],
  ]
  it.each(refused)('that %s cannot be verified', async (_, change, header) => {
    const signer = await makeSigner('EdDSA')
    const { ask, log } = await pemGuard(signer)
    const denial = ask(await signToken(signer, claims(change), header))
    await expect(denial).rejects.toThrow('Admin access denied: Cannot verify token with any of the issuers')
    expect(log.text()).not.toContain('granted')
  })

  it('that expired less than 60 s ago is accepted', async () => {
    const signer = await makeSigner('EdDSA')
    const { ask } = await pemGuard(signer)
    expect((await ask(await signToken(signer, claims({ exp: epoch(-50) }), noKid))).role).toBe('admin')
  })

  it('signed with another key cannot be verified, even when it brings that key', async () => {
    const { ask } = await pemGuard(await makeSigner('ES256'))
    const stranger = await makeSigner('ES256')
    const token = await signToken(stranger, claims(), { ...noKid, jwk: stranger.jwk })
    await expect(ask(token)).rejects.toThrow('Cannot verify token with any of the issuers')
  })

  it('without signature cannot be verified', async () => {
    const { ask } = await pemGuard(await makeSigner('ES256'))
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
    for (const signature of ['', 'AAAA']) {
      await expect(ask(`${part({ alg: 'none' })}.${part(claims())}.${signature}`)).rejects.toThrow(
        'Cannot verify token',
      )
    }
  })

  it('signed with the public key as an HMAC secret cannot be verified', async () => {
    const signer = await makeSigner('RS256')
    const { ask } = await pemGuard(signer)
    const { createHmac } = await import('node:crypto')
    const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const input = `${part({ alg: 'HS256' })}.${part(claims())}`
    const mac = createHmac('sha256', signer.publicPem).update(input).digest('base64url')
    await expect(ask(`${input}.${mac}`)).rejects.toThrow('Cannot verify token')
  })

  it('with a claim twice cannot be verified, for its readings differ', async () => {
    const signer = await makeSigner('EdDSA')
    const { ask } = await pemGuard(signer)
    const text = JSON.stringify(claims()).replace('"role":"admin"', '"role":"guest","role":"admin"')
    await expect(ask(await signToken(signer, text, noKid))).rejects.toThrow('Cannot verify token')
  })

  it('without role is refused, unless the provider has a default role', async () => {
    const signer = await makeSigner('EdDSA')
    const token = await signToken(signer, claims({ role: undefined }), noKid)
    const strict = await pemGuard(signer)
    await expect(strict.ask(token)).rejects.toMatchObject({ reason: 'no-role' })
    const lenient = await pemGuard(signer, undefined, 'default_role = "admin"')
    expect((await lenient.ask(token)).role).toBe('admin')
    await expect(lenient.ask(await signToken(signer, claims({ role: 7 }), noKid))).rejects.toMatchObject({
      reason: 'no-role',
    })
  })

  it('is verified with the next provider when the first does not know it', async () => {
    const [first, second] = [await makeSigner('ES256'), await makeSigner('EdDSA')]
    const files = await Promise.all(
      [first, second].map((signer) => temporaryFile('admin.pub', signer.publicPem)),
    )
    const { ask } = await guardOf(
      authenticated(files.map((file) => `{ public_key_uri = "${file}" }`).join(', ')),
    )
    expect((await ask(await signToken(second, claims(), noKid))).role).toBe('admin')
  })
})

describe('keys from a JWK set', () => {
  async function httpsGuard(server: DocumentServer): Promise<Setup> {
    closers.push(() => server.close())
    const ca = await temporaryFile('ca.pem', server.caPem)
    return guardOf(authenticated(`{ jwk_set_uri = "${server.url}/jwks", ca = "${ca}" }`))
  }

  it('are found by kid, at an https server with its own CA', async () => {
    const signer = await makeSigner('ES256')
    const server = await startDocumentServer()
    server.documents.set('/jwks', keySetOf(signer))
    const { ask, guard } = await httpsGuard(server)
    expect((await ask(await signToken(signer, claims()))).role).toBe('admin')
    await expect(ask(await signToken(signer, claims(), { kid: 'other' }))).rejects.toThrow(
      'Cannot verify token',
    )
    await guard.ping()
  })

  it('may not be there yet: nobody gets in, and the service is not ready', async () => {
    const signer = await makeSigner('ES256')
    const { ask, guard } = await httpsGuard(await startDocumentServer())
    await expect(guard.ping()).rejects.toThrow(/no keys/)
    await expect(ask(await signToken(signer, claims()))).rejects.toThrow('Cannot verify token')
  })

  it('verify only the algorithm of the key', async () => {
    const signer = await makeSigner('RS256')
    const file = await temporaryFile('jwks.json', keySetOf(signer))
    const { ask } = await guardOf(authenticated(`{ jwk_set_uri = "file://${file}" }`))
    expect((await ask(await signToken(signer, claims()))).role).toBe('admin')
    await expect(ask(await signToken({ ...signer, algorithm: 'PS256' }, claims()))).rejects.toThrow(
      'Cannot verify token',
    )
  })

  it('stop the start when the file is missing', async () => {
    await expect(guardOf(authenticated('{ jwk_set_uri = "/nowhere/jwks.json" }'))).rejects.toThrow(/nowhere/)
  })
})

describe('the access list', () => {
  const acls = '[{ role = "admin", allowed_endpoints = "^/kbs/v0/resource/team-a/.+$", methods = ["POST"] }]'

  it('allows what role, path and method fit', async () => {
    const signer = await makeSigner('EdDSA')
    const { ask } = await pemGuard(signer, acls)
    const token = await signToken(signer, claims(), noKid)
    expect((await ask(token, 'resource/team-a/b/c')).role).toBe('admin')
  })

  it.each([
    ['resource/team-b/b/c', 'POST'],
    ['resource/team-a/b/c', 'DELETE'],
    ['resource', 'POST'],
    ['x/kbs/v0/resource/team-a/b', 'POST'],
  ])('refuses %s with %s, with Trustee’s text and without saying granted', async (path, method) => {
    const signer = await makeSigner('EdDSA')
    const { ask, log } = await pemGuard(signer, acls)
    const denial = ask(await signToken(signer, claims(), noKid), path, method)
    await expect(denial).rejects.toBeInstanceOf(AdminDenied)
    await expect(denial).rejects.toThrow(
      `Admin access denied: Role admin not allowed for path /kbs/v0/${path}`,
    )
    expect(log.text()).not.toContain('granted')
  })

  it('refuses another role', async () => {
    const signer = await makeSigner('EdDSA')
    const { ask } = await pemGuard(signer, acls)
    const token = await signToken(signer, claims({ role: 'guest' }), noKid)
    await expect(ask(token, 'resource/team-a/b/c')).rejects.toThrow('Role guest not allowed')
  })

  it('is matched against the whole path', () => {
    const matches = compileAcl('^/kbs/v0/resource/[^/]+/public/.*$')
    expect(matches('/kbs/v0/resource/a/public/b')).toBe(true)
    expect(matches('/kbs/v0/resource/a/private/b?/public/')).toBe(false)
    expect(matches('/kbs/v0/resource/a/public/b\nx')).toBe(false)
  })

  it.each([
    '/kbs/a',
    '^/kbs/a',
    '/kbs/a$',
    '^/other/.*$',
    '^/kbs/a|.*$',
    '^/kbs/a$|^/kbs/b$',
    '^/kbs/[a|b]|x$',
    '^/kbs/[]|]|x$',
    '^/kbs/\\[|x$',
    '^/kbs/\\Qa\\E|x$',
    '^/kbs/(a$',
    '^/kbs/(?=a).*$',
    '^/kbs/(a)\\1$',
  ])('refuses the expression %s', (expression) => {
    expect(() => compileAcl(expression)).toThrow()
  })

  it.each([
    ['^/kbs/v0/(a|b)$', '/kbs/v0/b'],
    ['^/kbs/v0/[a|b]$', '/kbs/v0/|'],
    ['^/kbs/v0/\\|$', '/kbs/v0/|'],
    ['^/kbs/v0/\\Qa|b\\E$', '/kbs/v0/a|b'],
  ])('takes the expression %s', (expression, path) => {
    expect(compileAcl(expression)(path)).toBe(true)
  })

  it('is matched in linear time', () => {
    const matches = compileAcl('^/kbs/(a+)+$')
    const start = performance.now()
    expect(matches(`/kbs/${'a'.repeat(5_000)}!`)).toBe(false)
    expect(performance.now() - start).toBeLessThan(2_000)
  })
})
