import { describe, expect, it } from 'vitest'
import { authBody, authenticate, cookieOf, openTestKbs } from '../fixtures.ts'
import { expectProblem } from '../problem.ts'

const authFailed = 'Attestation error: RCAR handshake Auth failed: '

describe('POST /auth (spec 01 §2.2, §2.4)', () => {
  it('answers with a nonce of 32 random bytes in standard base64 and extra-params ""', async () => {
    const kbs = await openTestKbs()
    const answer = await kbs.post('/kbs/v0/auth', authBody())
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-type')).toBe('application/json')
    const body = (await answer.json()) as Record<string, string>
    expect(Object.keys(body).sort()).toEqual(['extra-params', 'nonce'])
    expect(body['extra-params']).toBe('')
    expect(body.nonce).toMatch(/^[A-Za-z0-9+/]{43}=$/)
    expect((await authenticate(kbs)).nonce).not.toBe(body.nonce)
  })

  it('takes the request of a guest, with its list of hash algorithms', async () => {
    const kbs = await openTestKbs()
    const body = `{"version":"0.4.0","tee":"sample","extra-params":{"supported-hash-algorithms":["sha256","sha384","sha512","sm3"]}}`
    const answer = await kbs.post('/kbs/v0/auth', body, { 'content-type': 'application/json' })
    expect(await answer.json()).toMatchObject({ 'extra-params': '' })
  })

  it('takes a request without extra-params and never looks at the content type', async () => {
    const kbs = await openTestKbs()
    const body = '{"version":"0.4.0","tee":"sample"}'
    expect((await kbs.post('/kbs/v0/auth', body, { 'content-type': 'image/png' })).status).toBe(200)
  })

  it('ignores what follows the verb, members it does not know, and build metadata of the version', async () => {
    const kbs = await openTestKbs()
    const body = '{"version":"0.4.0+guest.7","tee":"sample","extra-params":"","more":[1]}'
    expect((await kbs.post('/kbs/v0/auth/x/y?z=1', body)).status).toBe(200)
  })

  it('begins a new session whatever cookie comes along', async () => {
    const kbs = await openTestKbs()
    const { cookie } = await authenticate(kbs)
    const answer = await kbs.post('/kbs/v0/auth', authBody(), { cookie })
    expect(cookieOf(answer)).toMatch(/^kbs-session-id=/)
    expect(cookieOf(answer)).not.toBe(cookie)
  })
})

describe('the session cookie (spec 01 §2.9)', () => {
  it('is 32 hex digits for /kbs/v0 with Expires and Max-Age of the session, HttpOnly and SameSite', async () => {
    const kbs = await openTestKbs()
    kbs.clock.now = new Date('2026-08-21T09:11:50Z')
    const header = (await kbs.post('/kbs/v0/auth', authBody())).headers.get('set-cookie') ?? ''
    const [pair, ...attributes] = header.split('; ')
    expect(pair).toMatch(/^kbs-session-id=[0-9a-f]{32}$/)
    expect(attributes).toEqual([
      'Expires=Fri, 21 Aug 2026 09:16:50 GMT',
      'Max-Age=300',
      'Path=/kbs/v0',
      'HttpOnly',
      'SameSite=Strict',
    ])
  })

  it('is Secure only where the listener speaks TLS', async () => {
    const kbs = await openTestKbs({ deps: { secureCookies: true } })
    const header = (await kbs.post('/kbs/v0/auth', authBody())).headers.get('set-cookie')
    expect(header).toMatch(/; Secure$/)
  })
})

describe('a version of the protocol', () => {
  it.each(['0.1.0', '0.3.9', '0.4.1', '1.0.0', '0.4.0-rc.1'])(
    '%s is refused with 401 and the text that guests look for',
    async (version) => {
      const kbs = await openTestKbs()
      const answer = await kbs.post(
        '/kbs/v0/auth',
        `{"version":"${version}","tee":"sample","extra-params":""}`,
      )
      const mismatch = `KBS Client Protocol Version Mismatch: expect =0.4.0 while the request is ${version}`
      await expectProblem(answer, 401, 'AttestationError', authFailed + mismatch)
    },
  )

  it.each(['', '0.4', 'v0.4.0', '0.04.0', '0.4.0.0'])(
    'that is none, "%s", is refused with 401',
    async (version) => {
      const kbs = await openTestKbs()
      const answer = await kbs.post(
        '/kbs/v0/auth',
        `{"version":"${version}","tee":"sample","extra-params":""}`,
      )
      await expectProblem(answer, 401, 'AttestationError', `${authFailed}failed to parse KBS version`)
    },
  )
})

describe('a body that is no request is refused with 400', () => {
  it.each([
    ['nothing', ''],
    ['text', 'hello'],
    ['cut off', '{"version":"0.4.0","tee":"sample"'],
    ['not UTF-8', new Uint8Array([0x7b, 0xff, 0x7d])],
    ['with a byte order mark', `\uFEFF${authBody()}`],
    ['with content behind it', `${authBody()} {}`],
    ['with a member twice', '{"version":"0.4.0","tee":"snp","tee":"sample","extra-params":""}'],
    ['nested twenty thousand deep', '['.repeat(20_000)],
    [
      'nested too deep in extra-params',
      `{"version":"0.4.0","tee":"sample","extra-params":${'['.repeat(40)}${']'.repeat(40)}}`,
    ],
    ['with a lone surrogate', '{"version":"0.4.0","tee":"sample","extra-params":"\\ud800"}'],
  ])('%s', async (_, body) => {
    const kbs = await openTestKbs()
    const answer = await kbs.post('/kbs/v0/auth', body)
    await expectProblem(answer, 400, 'AttestationError', `${authFailed}deserialize Request: not JSON`)
  })

  it.each([
    ['an array', '[]'],
    ['null', 'null'],
    ['a number for the version', '{"version":4,"tee":"sample","extra-params":""}'],
    ['no version', '{"tee":"sample","extra-params":""}'],
    ['no TEE', '{"version":"0.4.0","extra-params":""}'],
    ['a list of TEEs', '{"version":"0.4.0","tee":["sample"],"extra-params":""}'],
    ['an unknown TEE', authBody('sev')],
    ['a TEE named as a member of every object', authBody('__proto__')],
    ['a TEE name of 30 000 characters', authBody('x'.repeat(30_000))],
    [
      'extra-params of 20 000 characters',
      `{"version":"0.4.0","tee":"sample","extra-params":"${'x'.repeat(20_000)}"}`,
    ],
  ])('%s', async (_, body) => {
    const kbs = await openTestKbs()
    const answer = await kbs.post('/kbs/v0/auth', body)
    const problem = await expectProblem(answer, 400, 'AttestationError', /deserialize Request: /)
    expect(problem.detail).not.toContain('xxx')
    expect(answer.headers.get('set-cookie')).toBeNull()
  })

  it('with 413 above 32 KiB, since it makes the server keep state for anyone', async () => {
    const kbs = await openTestKbs()
    const answer = await kbs.post('/kbs/v0/auth', authBody() + ' '.repeat(32_768))
    await expectProblem(answer, 413, 'PayloadTooLarge', 'payload reached size limit')
  })
})

describe('a TEE that is not verified here', () => {
  it('sample in the production profile is refused before a session is made', async () => {
    const kbs = await openTestKbs({ profile: 'production' })
    const answer = await kbs.post('/kbs/v0/auth', authBody())
    await expectProblem(
      answer,
      401,
      'AttestationError',
      /Attestation Service generate challenge failed: TEE_NOT_ENABLED/,
    )
    expect(answer.headers.get('set-cookie')).toBeNull()
  })

  it('is refused before a session is made', async () => {
    const kbs = await openTestKbs()
    await expectProblem(
      await kbs.post('/kbs/v0/auth', authBody('tdx')),
      401,
      'AttestationError',
      /TEE_NOT_ENABLED/,
    )
  })
})

describe('when no session can be kept', () => {
  it('all places taken is 503 with Retry-After, and a place is free again after the lifetime', async () => {
    const kbs = await openTestKbs({ sessions: { type: 'Memory', maxSessions: 2 } })
    await authenticate(kbs)
    await authenticate(kbs)
    const answer = await kbs.post('/kbs/v0/auth', authBody())
    expect(answer.headers.get('retry-after')).toBe('30')
    await expectProblem(answer, 503, 'ServiceUnavailable')
    kbs.clock.now = new Date(kbs.clock.now.getTime() + 5 * 60_000 + 1)
    await authenticate(kbs)
  })
})

describe('metrics of /auth', () => {
  it('count requests, sessions and refusals', async () => {
    const kbs = await openTestKbs()
    await authenticate(kbs)
    await kbs.post('/kbs/v0/auth', 'x')
    const metrics = await (await kbs.get('/metrics')).text()
    expect(metrics).toContain('kbs_auth_requests_total 2')
    expect(metrics).toContain('kbs_auth_successes_total 1')
    expect(metrics).toContain('kbs_auth_errors_total 1')
  })
})
