import { generateTeeKeyPair, jsonObject, problems, teeKeyKinds } from '@passport-kbs/protocol'
import { afterEach, describe, expect, it } from 'vitest'
import {
  createGuest,
  GuestError,
  type GuestOptions,
  getResourceWithPassport,
  sampleAttester,
} from '../src/index.ts'
import {
  type Bends,
  json,
  refuse,
  secret,
  startTranscriptServer,
  type TranscriptServer,
  tokenFor,
} from './transcript-server.ts'

const servers: TranscriptServer[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close()
})

async function scene(bends: Bends = {}, options: Partial<GuestOptions> = {}) {
  const server = await startTranscriptServer(bends)
  servers.push(server)
  const guest = createGuest({
    kbsUrl: server.url,
    attester: sampleAttester(),
    attemptIntervalMs: 1,
    ...options,
  })
  const paths = () => server.seen.map(({ method, path }) => `${method} ${path.replace('/kbs/v0/', '')}`)
  return { server, guest, paths }
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)
const plain = (status: number, body: string) => () => new Response(body, { status })

/** Spec 01 §2.1, §2.10. */
describe('the handshake', () => {
  it('gives a token for the key that the guest holds', async () => {
    const { server, guest, paths } = await scene()
    const { token, teeKey } = await guest.attest()
    expect(token).toMatch(/^eyJ/)
    expect(teeKey).toBe(guest.teeKey)
    expect(paths()).toEqual(['POST auth', 'POST attest'])
    expect(server.seen[0]).toMatchObject({
      userAgent: 'attestation-agent-kbs-client/0.1.0',
      cookie: undefined,
    })
    expect(server.seen[1]?.cookie).toMatch(/^kbs-session-id=[0-9a-f]{32}$/)
    expect(server.attestations[0]?.initData).toBeUndefined()
  })

  it.each(['sha256', 'sha512', 'sm3'] as const)(
    'hashes with %s if the challenge selects it',
    async (selectedHash) => {
      const { guest } = await scene({ selectedHash })
      await expect(guest.attestOnce()).resolves.toBeDefined()
    },
  )

  it('binds the evidence of devices, and sends init-data', async () => {
    const initData = { format: 'toml', body: 'version = "0.1.0"\n' }
    const { server, guest } = await scene({}, { attester: sampleAttester({ device: true }), initData })
    await guest.attestOnce()
    expect(server.attestations[0]?.additionalEvidence).toMatch(
      /^\{"sampledevice":\{"svn":"2","report_data":"/,
    )
    expect(server.attestations[0]?.initData).toEqual(initData)
  })

  it('is tried five times', async () => {
    const { guest, paths } = await scene({ onAttest: () => refuse(problems.attestFailed()) })
    const error = await failure(guest.attest())
    expect(error).toMatchObject({ code: 'handshake-failed', status: 401 })
    expect(error.information?.detail).toBe('Attestation error: RCAR handshake Attest failed')
    expect(paths().filter((path) => path === 'POST attest')).toHaveLength(5)
  })

  it('succeeds in the last attempt too', async () => {
    const { guest } = await scene({
      onAuth: (count) => (count < 5 ? refuse(problems.serviceUnavailable()) : undefined),
    })
    await expect(guest.attest()).resolves.toBeDefined()
  })

  it('shows the text of an answer that is no error body', async () => {
    const { guest } = await scene({ onAuth: plain(502, 'Bad Gateway') }, { attempts: 1 })
    expect(await failure(guest.attest())).toMatchObject({
      code: 'handshake-failed',
      status: 502,
      message: expect.stringContaining('Bad Gateway'),
    })
  })

  it.each([
    ['401 without an error body', plain(401, 'no')],
    ['a challenge without extra-params', () => json(jsonObject({ nonce: 'x' }))],
    ['a challenge with duplicate members', plain(200, '{"nonce":"a","nonce":"b","extra-params":""}')],
    [
      'a hash that it does not know',
      plain(200, '{"nonce":"a","extra-params":{"selected-hash-algorithm":"md5"}}'),
    ],
  ])('fails to read %s', async (_name, onAuth) => {
    const { guest } = await scene({ onAuth })
    expect(await failure(guest.attestOnce())).toMatchObject({ code: 'malformed-answer' })
  })

  it('reports a server that is not there, or does not answer in time', async () => {
    const closed = await startTranscriptServer()
    await closed.close()
    const gone = createGuest({ kbsUrl: closed.url, attester: sampleAttester(), attempts: 1 })
    expect(await failure(gone.attest())).toMatchObject({
      code: 'unreachable',
      message: expect.stringContaining('ECONNREFUSED'),
    })
    const silent = createGuest({
      kbsUrl: 'http://kbs.test',
      attester: sampleAttester(),
      attempts: 1,
      timeoutMs: 20,
      fetch: (_url, { signal }) =>
        new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    })
    const alive = setTimeout(() => {}, 1000) // the time-out itself does not keep a process alive
    expect(await failure(silent.attest())).toMatchObject({ code: 'unreachable' })
    clearTimeout(alive)
  })

  it('refuses an answer beyond its size limit', async () => {
    const { guest } = await scene({ onAuth: plain(200, 'x'.repeat(2000)) }, { maxAnswerBytes: 1000 })
    expect(await failure(guest.attestOnce())).toMatchObject({ code: 'malformed-answer' })
  })
})

describe('passport()', () => {
  it('keeps the token while it is valid', async () => {
    const { guest, paths } = await scene()
    const first = await guest.passport()
    expect(await guest.passport()).toEqual(first)
    expect(paths()).toHaveLength(2)
  })

  it.each([
    ['expired', { exp: 1 }],
    ['not valid yet', { nbf: 99_999_999_999 }],
    ['unreadable', { exp: null }],
  ])('attests again when it is %s', async (_name, claims) => {
    const { guest, paths } = await scene({
      onAttest: () => json(jsonObject({ token: tokenFor('x', jsonObject(claims)) })),
    })
    await guest.passport()
    await guest.passport()
    expect(paths()).toHaveLength(4)
  })
})

/** Spec 01 §9.2. */
describe('getResource', () => {
  it('asks, attests after the 401, and asks again', async () => {
    const { guest, paths } = await scene()
    expect(text(await guest.getResource('one/two/three'))).toBe(`${secret}: /kbs/v0/resource/one/two/three`)
    expect(paths()).toEqual([
      'GET resource/one/two/three',
      'POST auth',
      'POST attest',
      'GET resource/one/two/three',
    ])
    expect(text(await guest.getResource('kbs:///one/two/four'))).toContain('four')
    expect(paths()).toHaveLength(5)
  })

  it.each(teeKeyKinds)('opens answers to a key of kind %s', async (kind) => {
    const { guest } = await scene({}, { teeKey: generateTeeKeyPair(kind) })
    expect(text(await guest.getResource('a/b/c'))).toContain(secret)
  })

  it('gives up after three rounds of GET and handshake, in the words that scripts search for', async () => {
    const { guest, paths } = await scene({ onResource: () => refuse(problems.policyDenied()) })
    const error = await failure(guest.getResource('a/b/c'))
    expect(error).toMatchObject({
      code: 'unauthorized',
      status: 401,
      message: expect.stringMatching('request unauthorized'),
    })
    expect(error.information?.detail).toBe('Access denied by policy')
    expect(paths().filter((path) => path.startsWith('GET'))).toHaveLength(3)
    expect(paths().filter((path) => path === 'POST attest')).toHaveLength(3)
  })

  it.each([
    [404, 'resource-not-found', problems.resourceNotFound()],
    [403, 'server-error', problems.policyDenied(403)],
    [503, 'server-error', problems.serviceUnavailable()],
  ] as const)('stops at %i', async (status, code, problem) => {
    const { guest, paths } = await scene({ onResource: () => refuse(problem) })
    expect(await failure(guest.getResource('a/b/c'))).toMatchObject({ code, status })
    expect(paths()).toHaveLength(1)
  })

  it.each([401, 404, 413, 500])('stops at %i without an error body', async (status) => {
    const { guest, paths } = await scene({ onResource: plain(status, 'payload reached size limit') })
    expect(await failure(guest.getResource('a/b/c'))).toMatchObject({ code: 'malformed-answer', status })
    expect(paths()).toHaveLength(1)
  })

  it('ends when the handshake fails, after one attempt', async () => {
    const { guest, paths } = await scene({ onAuth: () => refuse(problems.authFailed('deserialize Request')) })
    expect(await failure(guest.getResource('a/b/c'))).toMatchObject({ code: 'handshake-failed' })
    expect(paths()).toEqual(['GET resource/a/b/c', 'POST auth'])
  })

  it('cannot read an answer that is not encrypted, or not to its key', async () => {
    const { guest } = await scene({ onResource: plain(200, 'plain bytes') })
    expect(await failure(guest.getResource('a/b/c'))).toMatchObject({ code: 'malformed-answer' })
    const other = await scene({
      onResource: () =>
        json(jsonObject({ protected: 'e30', encrypted_key: '', iv: '', ciphertext: '', tag: '' })),
    })
    expect(await failure(other.guest.getResource('a/b/c'))).toMatchObject({ code: 'undecryptable' })
  })

  it('cannot keep a session whose cookie its clock takes for expired, unless Max-Age says otherwise', async () => {
    const later = () => new Date(Date.now() + 3_600_000)
    const skewed = await scene({}, { now: later })
    expect(await failure(skewed.guest.getResource('a/b/c'))).toMatchObject({ code: 'handshake-failed' })
    const cookieAttributes = `Max-Age=300; Expires=${new Date(Date.now() + 300_000).toUTCString()}; Path=/kbs/v0; HttpOnly; SameSite=Strict`
    const saved = await scene({ cookieAttributes }, { now: later })
    expect(text(await saved.guest.getResource('a/b/c'))).toContain(secret)
  })

  it('sends no Secure cookie over plain HTTP', async () => {
    const { guest } = await scene({ cookieAttributes: 'Max-Age=300; Secure' })
    expect(await failure(guest.getResource('a/b/c'))).toMatchObject({ code: 'handshake-failed' })
  })
})

/** Spec 01 §9.3. */
describe('getResourceWithPassport', () => {
  it('shows the token of the other server', async () => {
    const { server, guest, paths } = await scene()
    const passport = await guest.attest()
    const request = {
      kbsUrl: `${server.url}//`,
      ...passport,
      path: 'kbs+plugin://ignored:1/x/y?z=1',
      userAgent: 'cdh',
    }
    expect(text(await getResourceWithPassport(request))).toBe(`${secret}: /kbs/v0/plugin/x/y`)
    expect(paths().at(-1)).toBe('GET plugin/x/y')
    expect(server.seen.at(-1)).toMatchObject({ cookie: undefined, userAgent: 'cdh' })
  })

  it('stops at the first 401 when it cannot get another token', async () => {
    const { server, paths } = await scene()
    const request = {
      kbsUrl: server.url,
      token: tokenFor('unknown'),
      teeKey: generateTeeKeyPair(),
      path: 'a/b/c',
    }
    expect(await failure(getResourceWithPassport(request))).toMatchObject({ code: 'unauthorized' })
    expect(paths()).toHaveLength(1)
  })

  it('uses a new token and its new key after a 401', async () => {
    const { server } = await scene()
    const request = {
      kbsUrl: server.url,
      token: tokenFor('unknown'),
      teeKey: generateTeeKeyPair(),
      path: 'a/b/c',
    }
    const refreshToken = () => createGuest({ kbsUrl: server.url, attester: sampleAttester() }).attest()
    expect(text(await getResourceWithPassport({ ...request, refreshToken }))).toContain(secret)
  })

  it('gives up after three rounds', async () => {
    const { server, guest } = await scene({ onResource: () => refuse(problems.tokenRefused()) })
    let refreshed = 0
    const refreshToken = () => {
      refreshed++
      return guest.attest()
    }
    const request = { kbsUrl: server.url, ...(await guest.attest()), path: 'a/b/c', refreshToken }
    expect(await failure(getResourceWithPassport(request))).toMatchObject({ code: 'unauthorized' })
    expect(refreshed).toBe(3)
  })

  it('never puts a token or a key into its errors', async () => {
    const { server } = await scene()
    const token = tokenFor('unknown')
    const request = { kbsUrl: server.url, token, teeKey: generateTeeKeyPair(), path: 'a/b/c' }
    const error = await failure(getResourceWithPassport(request))
    expect(JSON.stringify({ ...error, message: error.message, stack: error.stack })).not.toContain(token)
  })
})

async function failure(promise: Promise<unknown>): Promise<GuestError> {
  const outcome = await promise.then(
    () => new Error('it succeeded'),
    (error: unknown) => error,
  )
  expect(outcome).toBeInstanceOf(GuestError)
  return outcome as GuestError
}
