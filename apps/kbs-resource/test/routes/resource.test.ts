import { generateKeyPairSync } from 'node:crypto'
import { presets } from '@passport-kbs/policy'
import { decodeBase64UrlNoPad, generateTeeKeyPair, teeKeyThumbprint } from '@passport-kbs/protocol'
import { describe, expect, it } from 'vitest'
import { administration } from '../../../kbs-attest/test/administration.ts'
import { expectProblem } from '../../../kbs-attest/test/problem.ts'
import {
  affirmingClaims,
  opened,
  openTestKbs,
  passport,
  type TestKbs,
  type TestKbsOptions,
  teeKey,
  utf8,
} from '../fixtures.ts'

const resource = '/kbs/v0/resource'
const path = `${resource}/a/b/c`
const secret = 'the secret of a/b/c'

/** A KBS2 that has the secret `a/b/c`. */
async function withSecret(options: TestKbsOptions = {}): Promise<TestKbs> {
  const kbs = await openTestKbs(options)
  await kbs.storage.namespace('repository').set('a/b/c', utf8(secret))
  return kbs
}

const allow = (rule: string) => `package policy\n\ndefault allow := false\n\nallow if ${rule}\n`

describe('GET /resource/<repository>/<type>/<tag> (spec 01 §1.4, §5.1)', () => {
  it('gives the secret, encrypted for the key that the passport names', async () => {
    const kbs = await withSecret()
    const answer = await kbs.request('GET', path, await passport())
    expect(answer.headers.get('content-type')).toBe('application/json')
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(answer.headers.get('set-cookie')).toBeNull()
    const text = await answer.clone().text()
    expect(text).not.toContain(secret)
    const jwe = JSON.parse(text) as Record<string, string>
    expect(Object.keys(jwe).sort()).toEqual(['ciphertext', 'encrypted_key', 'iv', 'protected', 'tag'])
    const header = Buffer.from(decodeBase64UrlNoPad(jwe.protected ?? '')).toString()
    expect(header).toMatch(/^\{"alg":"ECDH-ES\+A256KW","enc":"A256GCM","epk":\{"crv":"P-256","kty":"EC","x":/)
    expect(await opened(answer)).toEqual(utf8(secret))
  })

  it.each(['ECDH-ES+A256KW-P521', 'RSA-OAEP-256'] as const)('does so for a key of kind %s', async (kind) => {
    const kbs = await withSecret()
    const key = generateTeeKeyPair(kind)
    expect(await opened(await kbs.request('GET', path, await passport({ teeKey: key })), key)).toEqual(
      utf8(secret),
    )
  })

  it('gives every byte as it was written, and nothing where nothing was written', async () => {
    const kbs = await openTestKbs()
    const every = Uint8Array.from({ length: 1024 }, (_, index) => index % 256)
    for (const value of [every, new Uint8Array(), new Uint8Array(1_048_576).fill(0xff)]) {
      const written = await kbs.request('POST', path, { 'content-type': 'text/html' }, value)
      expect([written.status, written.headers.get('content-type')]).toEqual([200, 'text/xml'])
      expect(await written.text()).toBe('')
      expect(Buffer.compare(await opened(await kbs.request('GET', path, await passport())), value)).toBe(0)
    }
  })

  it('is 404 for a resource that does not exist, to those whom policy allows to know', async () => {
    const kbs = await withSecret()
    const answer = await kbs.request('GET', `${resource}/a/b/d`, await passport())
    const problem = await expectProblem(answer, 404, 'PluginInternalError', 'Plugin internal error')
    expect(problem.reason).toBe('resource not found')
    const stranger = await kbs.request('GET', `${resource}/a/b/d`)
    await expectProblem(stranger, 401, 'TokenNotFound', 'Attestation Token not found')
  })
})

describe('a path that names no resource', () => {
  it.each([
    '',
    '/a/b',
    '/a/b/c/d',
    '/a//c',
    '//b/c',
    '/a/b/',
    '/a/b%2Fc%2Fd',
    '/..%2F..%2Fkbs',
    '/a/..%2Fb',
    '/a/b/.c',
    '/a/b/c%20d',
    '/a/b/%C3%A7',
    `/a/b/${'c'.repeat(300)}`,
  ])('%s is refused with 400, for guests and administrators', async (tail) => {
    const kbs = await withSecret({ policy: presets.allowAll })
    for (const method of ['GET', 'POST', 'DELETE']) {
      const headers = method === 'GET' ? await passport() : {}
      const body = method === 'POST' ? 'x' : undefined
      const answer = await kbs.request(method, `${resource}${tail}`, headers, body)
      await expectProblem(answer, 400, 'PluginInternalError', 'Plugin internal error')
    }
    expect(await kbs.storage.namespace('repository').list()).toEqual(['a/b/c'])
  })

  it('is refused only after token and policy, so that it tells strangers nothing', async () => {
    const kbs = await withSecret({ policy: presets.denyAll })
    await expectProblem(await kbs.request('GET', `${resource}/a`), 401, 'TokenNotFound')
    await expectProblem(await kbs.request('GET', `${resource}/a`, await passport()), 401, 'PolicyDeny')
  })

  it('that is longer than any store takes is 404 to read and to delete, and refused to write', async () => {
    const kbs = await withSecret()
    const long = `${resource}/${['a', 'b', 'c'].map((letter) => letter.repeat(200)).join('/')}`
    const read = await kbs.request('GET', long, await passport())
    await expectProblem(read, 404, 'PluginInternalError', 'Plugin internal error')
    await expectProblem(
      await kbs.request('DELETE', long),
      404,
      'PluginInternalError',
      'Plugin internal error',
    )
    await expectProblem(
      await kbs.request('POST', long, {}, 'x'),
      400,
      'PluginInternalError',
      'Plugin internal error',
    )
  })

  it('is not made by %2F, which separates segments as / does', async () => {
    const kbs = await withSecret()
    const answer = await kbs.request('GET', `${resource}/a%2Fb%2fc`, await passport())
    expect(await opened(answer)).toEqual(utf8(secret))
  })
})

describe('the passport (spec 01 §4.1, §4.2)', () => {
  const notFound = 'Attestation Token not found'
  const refused = 'Token Verifier error'

  it.each([
    ['no header', {}],
    ['another scheme', { authorization: 'Basic YTpi' }],
    ['a scheme without a token', { authorization: 'Bearer ' }],
    ['two tokens', { authorization: 'Bearer a.b.c a.b.c' }],
    ['characters that no token has', { authorization: 'Bearer a.b.c\u00e9' }],
    ['a cookie, where there are no sessions', { cookie: `kbs-session-id=${'a'.repeat(32)}` }],
  ])('%s is no token', async (_, headers) => {
    const kbs = await withSecret()
    await expectProblem(await kbs.request('GET', path, headers), 401, 'TokenNotFound', notFound)
  })

  it('is found whatever the case of the scheme', async () => {
    const kbs = await withSecret()
    const { authorization } = await passport()
    const headers = { authorization: authorization.replace('Bearer', 'bearer ') }
    expect((await kbs.request('GET', path, headers)).status).toBe(200)
  })

  it('that has expired is 401, so that the guest gets a fresh one', async () => {
    const kbs = await withSecret()
    const answer = await kbs.request('GET', path, await passport({ expiresIn: -3_600 }))
    await expectProblem(answer, 401, 'TokenVerifierError', refused)
    expect(kbs.audits()).toMatchObject([{ event: 'resource-read', decision: 'denied' }])
    expect(kbs.audits()[0]?.reason).toMatch(/^expired: /)
  })

  it('that somebody else has signed is refused', async () => {
    const kbs = await withSecret()
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const answer = await kbs.request('GET', path, await passport({ key: privateKey }))
    await expectProblem(answer, 401, 'TokenVerifierError', refused)
  })

  it('of which one character has changed is refused', async () => {
    const kbs = await withSecret()
    const { authorization } = await passport()
    const at = authorization.indexOf('.') + 20
    const other = authorization[at] === 'A' ? 'B' : 'A'
    const headers = { authorization: authorization.slice(0, at) + other + authorization.slice(at + 1) }
    await expectProblem(await kbs.request('GET', path, headers), 401, 'TokenVerifierError', refused)
  })

  it.each(['a.b.c', 'eyJhbGciOiJub25lIn0.e30.', '....', 'x'])('%s is no passport', async (token) => {
    const kbs = await withSecret()
    const answer = await kbs.request('GET', path, { authorization: `Bearer ${token}` })
    await expectProblem(answer, 401, 'TokenVerifierError', refused)
  })

  it('whose keys cannot be had is 503, since the guest is not to blame', async () => {
    const sources = ['https://127.0.0.1:1/jwks.json']
    const kbs = await withSecret({ attestationToken: { trusted_jwk_sets: sources } })
    const answer = await kbs.request('GET', path, await passport())
    expect(answer.headers.get('retry-after')).toBe('5')
    await expectProblem(answer, 503, 'ServiceUnavailable')
    expect(kbs.audits()).toMatchObject([{ event: 'resource-read', decision: 'failed' }])
  })
})

describe('the TEE key in the claims (spec 01 §4.3)', () => {
  const jwk = teeKey.publicKey.jwk

  it.each([
    ['the EAR claim of cpu0', affirmingClaims()],
    ['the top level', { 'tee-pubkey': jwk }],
    ['the runtime data of Intel Trust Authority', { tdx: { attester_runtime_data: { 'tee-pubkey': jwk } } }],
    ['the old CoCo token', { customized_claims: { runtime_data: { 'tee-pubkey': jwk } } }],
  ])('is found at %s', async (_, claims) => {
    const kbs = await withSecret({ policy: presets.allowAll })
    expect(await opened(await kbs.request('GET', path, await passport({ claims })))).toEqual(utf8(secret))
  })

  it('is found at a configured pointer first', async () => {
    const other = generateTeeKeyPair()
    const claims = { ...affirmingClaims(other.publicKey.jwk), mine: { 'a/b': jwk } }
    const kbs = await withSecret({ attestationToken: { extra_teekey_paths: ['/mine/a~1b'] } })
    expect(await opened(await kbs.request('GET', path, await passport({ claims })))).toEqual(utf8(secret))
  })

  it.each([
    ['null', null],
    ['no object', 'text'],
    ['a point off the curve', { ...jwk, y: jwk.x }],
    ['an RSA key of 1024 bits', rsa1024()],
    ['an RSA1_5 key, unless it is allowed', { kty: 'RSA', alg: 'RSA1_5', n: 'AQAB', e: 'AQAB' }],
  ])('that is %s is 401, and no secret is read', async (_, key) => {
    const kbs = await withSecret()
    const claims = affirmingClaims(key)
    const answer = await kbs.request('GET', path, await passport({ claims }))
    await expectProblem(answer, 401, 'TokenVerifierError', 'Token Verifier error')
    expect(await (await kbs.request('GET', '/metrics')).text()).not.toContain('kbs_resource_reads_total{')
  })

  it('that is missing is 401', async () => {
    const kbs = await withSecret()
    const claims = { submods: { cpu0: { 'ear.status': 'affirming' } } }
    const answer = await kbs.request('GET', path, await passport({ claims }))
    await expectProblem(answer, 401, 'TokenVerifierError')
    expect(kbs.audits()[0]?.reason).toBe('the passport names no TEE key')
  })

  it('that is malformed is not looked for elsewhere', async () => {
    const kbs = await withSecret()
    const claims = { ...affirmingClaims('text'), 'tee-pubkey': jwk }
    const answer = await kbs.request('GET', path, await passport({ claims }))
    await expectProblem(answer, 401, 'TokenVerifierError')
  })

  function rsa1024() {
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 1024 })
    return { ...publicKey.export({ format: 'jwk' }), alg: 'RSA-OAEP-256' }
  }
})

describe('the policy of a request (spec 01 §4.4)', () => {
  const read = async (policy: string, target = path, claims?: Record<string, unknown>) => {
    const kbs = await withSecret({ policy })
    return kbs.request('GET', target, await passport(claims ? { claims } : {}))
  }

  it.each([
    ['the plugin', 'data.plugin == "resource"'],
    ['the path', 'data["resource-path"] == ["a", "b", "c"]'],
    ['the query, decoded, the last of a name', 'data.query == {"who": "me & you", "n": "2"}'],
    ['the method', 'data.method == "GET"'],
    ['the claims', 'input.submods.cpu0["ear.status"] == "affirming"'],
  ])('sees %s', async (_, rule) => {
    const target = `${path}?n=1&who=me+%26%20you&n=2`
    expect((await read(allow(rule), target)).status).toBe(200)
    expect((await read(allow(`not ${rule}`), target)).status).toBe(401)
  })

  it.each([
    ['false', 'package policy\n\nallow := false\n'],
    ['undefined', 'package policy\n\nallow if false\n'],
    ['text', 'package policy\n\nallow := "true"\n'],
    ['a number', 'package policy\n\nallow := 1\n'],
    ['an object', 'package policy\n\nallow := {"a": true}\n'],
    ['not there', 'package policy\n\nallowed := true\n'],
    ['in another package', 'package other\n\nallow := true\n'],
  ])('denies with 401 unless allow is true: it is %s', async (_, policy) => {
    await expectProblem(await read(policy), 401, 'PolicyDeny', 'Access denied by policy')
  })

  it('denies with 403 where the operator has chosen that', async () => {
    const kbs = await withSecret({ policy: presets.denyAll, deps: { denyStatus: 403 } })
    const answer = await kbs.request('GET', path, await passport())
    await expectProblem(answer, 403, 'PolicyDeny', 'Access denied by policy')
  })

  it('denies where there is no policy any more', async () => {
    const kbs = await withSecret({ policy: presets.allowAll })
    await kbs.storage.namespace('kbs').delete('resource-policy.rego')
    await expectProblem(await kbs.request('GET', path, await passport()), 401, 'PolicyDeny')
    expect(kbs.audits().at(-1)?.reason).toBe('there is no resource policy')
  })

  it.each([
    ['contradicts itself', 'package policy\n\nallow := true\n\nallow := false\n'],
    ['does not compile, stored by somebody else', 'package policy\n\nallow {'],
    ['is not text, stored by somebody else', Buffer.of(0xff, 0xfe)],
  ])('that %s is 500, for guests and in the audit record', async (_, policy) => {
    const kbs = await withSecret()
    await kbs.storage.namespace('kbs').set('resource-policy.rego', Buffer.from(policy))
    const answer = await kbs.request('GET', path, await passport())
    await expectProblem(answer, 500, 'PolicyEngineError', /^Policy engine error: /)
    expect(kbs.audits()).toMatchObject([{ event: 'resource-read', decision: 'failed' }])
  })

  it('that computes too long is 500 and does not hold up the server', async () => {
    const policy = `package policy

allow if {
	some a in numbers.range(1, 100000)
	some b in numbers.range(1, 100000)
	a * b == -1
}
`
    const kbs = await withSecret({ policy, policyTimeoutMs: 50 })
    const startedAt = performance.now()
    const answer = await kbs.request('GET', path, await passport())
    await expectProblem(answer, 500, 'PolicyEngineError')
    expect(performance.now() - startedAt).toBeLessThan(3_000)
  })

  it('is what the default is: affirming submods only', async () => {
    const submod = (status: string) => ({
      ...(affirmingClaims().submods as object),
      gpu0: { 'ear.status': status },
    })
    const claims = (status: string) => ({ ...affirmingClaims(), submods: submod(status) })
    expect((await read(presets.affirming, path, claims('affirming'))).status).toBe(200)
    for (const status of ['warning', 'contraindicated', 'none'])
      expect((await read(presets.affirming, path, claims(status))).status).toBe(401)
    const bare = { 'tee-pubkey': teeKey.publicKey.jwk }
    expect((await read(presets.affirming, path, bare)).status).toBe(401)
  })
})

describe('POST, DELETE and PUT', () => {
  it('POST overwrites, DELETE removes, and a second DELETE is 404', async () => {
    const kbs = await withSecret()
    await kbs.request('POST', path, {}, 'another')
    expect(await opened(await kbs.request('GET', path, await passport()))).toEqual(utf8('another'))
    const deleted = await kbs.request('DELETE', path)
    expect([deleted.status, await deleted.text()]).toEqual([200, ''])
    await expectProblem(await kbs.request('DELETE', path), 404, 'PluginInternalError')
    await expectProblem(await kbs.request('GET', path, await passport()), 404, 'PluginInternalError')
  })

  it('PUT is for attested guests, and then an illegal method', async () => {
    const kbs = await withSecret()
    await expectProblem(await kbs.request('PUT', path, {}, 'x'), 401, 'TokenNotFound')
    const answer = await kbs.request('PUT', path, await passport(), 'x')
    await expectProblem(answer, 400, 'PluginInternalError', /illegal method/)
    expect(await opened(await kbs.request('GET', path, await passport()))).toEqual(utf8(secret))
  })

  it('a passport does not make an administrator', async () => {
    const admin = await administration()
    const kbs = await withSecret({ admin: admin.config })
    for (const method of ['POST', 'DELETE']) {
      const body = method === 'POST' ? 'x' : undefined
      const answer = await kbs.request(method, path, await passport(), body)
      await expectProblem(
        answer,
        401,
        'AdminAuthInitialization',
        /Cannot verify token with any of the issuers/,
      )
    }
    expect(await opened(await kbs.request('GET', path, await passport()))).toEqual(utf8(secret))
  })

  it('an administrator has no passport', async () => {
    const admin = await administration()
    const kbs = await withSecret({ admin: admin.config, policy: presets.allowAll })
    await expectProblem(await kbs.request('GET', path, await admin.bearer()), 401, 'TokenVerifierError')
  })
})

describe('who may write and delete (spec 01 §6, appendix C)', () => {
  const denied = 'failed to initialize [admin] configuration: '

  it('nobody in mode DenyAll', async () => {
    const kbs = await withSecret({ admin: { authorization_mode: 'DenyAll' } })
    const text = 'Admin access denied: Admin access denied as DenyAll authorization_mode is enabled'
    for (const method of ['POST', 'DELETE'])
      await expectProblem(await kbs.request(method, path), 401, 'AdminAuthInitialization', denied + text)
  })

  it('not without a token, not with the key of a stranger, not in another role', async () => {
    const admin = await administration()
    const kbs = await withSecret({ admin: admin.config })
    const detail = async (headers: Record<string, string>) =>
      (await expectProblem(await kbs.request('DELETE', path, headers), 401, 'AdminAuthInitialization')).detail
    expect(await detail({})).toBe(`${denied}Failed to parse HTTP Auth Bearer header`)
    const stranger = await detail(await admin.strangerBearer())
    expect(stranger).toBe(`${denied}Admin access denied: Cannot verify token with any of the issuers`)
    const guest = await detail(await admin.bearer('guest'))
    expect(guest).toBe(`${denied}Admin access denied: Role guest not allowed for path ${path}`)
  })

  it('whom the ACL allows for the decoded path that is executed, whatever the query says', async () => {
    const admin = await administration('^/kbs/v0/resource/public/.+$')
    const kbs = await withSecret({ admin: admin.config })
    const headers = await admin.bearer()
    const status = async (target: string) => (await kbs.request('POST', target, headers, 'x')).status
    expect(await status(`${resource}/public/b/c`)).toBe(200)
    expect(await status(`${resource}/public%2Fb/c`)).toBe(200)
    expect(await status(`${resource}/%70ublic/b/d`)).toBe(200)
    expect(await status(path)).toBe(401)
    expect(await status(`${path}?/kbs/v0/resource/public/b/c`)).toBe(401)
    expect(await status(`${resource}/public%2F..%2Fa/b/c`)).toBe(400)
    expect(await kbs.storage.namespace('repository').list()).toEqual(['a/b/c', 'public/b/c', 'public/b/d'])
    expect(await opened(await kbs.request('GET', path, await passport()))).toEqual(utf8(secret))
  })
})

describe('the audit record (spec 01 §11.4 no. 32)', () => {
  it('of a release says who got what under which policy, and holds neither secret nor token', async () => {
    const kbs = await withSecret()
    const { authorization } = await passport()
    await kbs.request('GET', `${path}?code=query-of-guest`, { authorization })
    expect(kbs.audits()).toHaveLength(1)
    expect(kbs.audits()[0]).toMatchObject({
      event: 'resource-read',
      decision: 'allowed',
      resourcePath: 'a/b/c',
      issuer: 'trustee-1',
      jti: 'jti-1',
      teeKeyThumbprint: teeKeyThumbprint(teeKey.publicKey),
    })
    expect(kbs.audits()[0]?.policySha384).toMatch(/^[0-9a-f]{96}$/)
    const parts = authorization.replace('Bearer ', '').split('.')
    for (const text of [secret, Buffer.from(secret).toString('base64url'), 'query-of-guest', ...parts])
      expect(kbs.log()).not.toContain(text)
  })

  it('is one for every decision, with the request id that the client saw', async () => {
    const admin = await administration()
    const kbs = await withSecret({ admin: admin.config, policy: allow('data["resource-path"][0] == "a"') })
    const guest = await passport()
    const boss = await admin.bearer()
    const answers = [
      await kbs.request('GET', path, guest),
      await kbs.request('GET', path),
      await kbs.request('GET', `${resource}/x/b/c`, guest),
      await kbs.request('GET', `${resource}/a/b/missing`, guest),
      await kbs.request('GET', `${resource}/a`, guest),
      await kbs.request('PUT', path, guest),
      await kbs.request('POST', path, boss, 'new-secret'),
      await kbs.request('POST', path, {}, 'new-secret'),
      await kbs.request('POST', `${resource}/a`, boss, 'new-secret'),
      await kbs.request('DELETE', path, boss),
      await kbs.request('DELETE', path, boss),
    ]
    expect(
      kbs
        .audits()
        .map(({ event, decision, resourcePath, reason }) => [event, decision, resourcePath, reason]),
    ).toEqual([
      ['resource-read', 'allowed', 'a/b/c', undefined],
      ['resource-read', 'denied', 'a/b/c', 'Attestation Token not found'],
      ['resource-read', 'denied', 'x/b/c', 'data.policy.allow is false'],
      ['resource-read', 'denied', 'a/b/missing', 'resource not found'],
      ['resource-read', 'denied', 'a', 'the path is not <repository>/<type>/<tag>'],
      ['resource-put', 'denied', 'a/b/c', 'illegal method'],
      ['resource-write', 'allowed', 'a/b/c', undefined],
      ['resource-write', 'denied', undefined, 'no-bearer'],
      ['resource-write', 'denied', 'a', 'the path is not <repository>/<type>/<tag>'],
      ['resource-delete', 'allowed', 'a/b/c', undefined],
      ['resource-delete', 'denied', 'a/b/c', 'resource not found'],
    ])
    const ids = answers.map((answer) => answer.headers.get('x-request-id'))
    expect(kbs.audits().map(({ requestId }) => requestId)).toEqual(ids)
    expect(kbs.audits()[6]).toMatchObject({ subject: 'alice', role: 'admin' })
    expect(kbs.log()).not.toContain('new-secret')
  })

  it('bounds what a client may put on it', async () => {
    const kbs = await withSecret()
    await kbs.request('GET', `${resource}/${'x'.repeat(10_000)}`)
    expect(kbs.audits()[0]?.resourcePath).toHaveLength(512)
  })
})

describe('metrics', () => {
  it('count evaluations and name no resource unless asked to', async () => {
    const kbs = await withSecret()
    await kbs.request('GET', path, await passport())
    await kbs.request('GET', path, await passport({ claims: { 'tee-pubkey': teeKey.publicKey.jwk } }))
    const metrics = await (await kbs.request('GET', '/metrics')).text()
    expect(metrics).toContain('kbs_policy_evaluations_total 2')
    expect(metrics).toContain('kbs_policy_approvals_total 1')
    expect(metrics).toContain('kbs_policy_violations_total 1')
    expect(metrics).toContain('kbs_resource_reads_total{resource_path="*"} 1')
    expect(metrics).not.toContain('a/b/c')
  })

  it.each([
    ['has no rule `allow`', 'package policy\n\nother := true\n', 1],
    ['gives no boolean', 'package policy\n\nallow := "yes"\n', 1],
    ['says no', 'package policy\n\nallow := false\n', 0],
  ])(
    'count the denial of a policy that %s, and whose fault it is (spec 01 §8)',
    async (_, policy, faults) => {
      const kbs = await withSecret({ policy })
      await kbs.request('GET', path, await passport())
      const metrics = await (await kbs.request('GET', '/metrics')).text()
      expect(metrics).toContain('kbs_policy_violations_total 1')
      expect(metrics).toContain(`kbs_policy_errors_total ${faults}`)
    },
  )
})
