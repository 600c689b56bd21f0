import { problemTypePrefix } from '@passport-kbs/protocol'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  affirmingPolicy,
  encodedText,
  runtimeData,
  sampleEvidence,
  startAttestationService,
  submodOf,
  type TestService,
  text,
} from './fixtures.ts'

let service: TestService
beforeAll(async () => {
  service = await startAttestationService()
}, 30_000)
afterAll(() => service?.close())

const json = { 'content-type': 'application/json' }
const post = (path: string, body: unknown, headers: Record<string, string> = json) =>
  fetch(`${service.url}${path}`, {
    method: 'POST',
    headers,
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
const get = (path: string) => fetch(`${service.url}${path}`)

const verificationRequest = (fields: object = {}) => ({
  tee: 'sample',
  evidence: sampleEvidence(),
  runtime_data: { structured: JSON.parse(text(runtimeData)) },
  runtime_data_hash_algorithm: 'sha384',
  ...fields,
})
const attestation = (fields: object = {}) => ({
  verification_requests: [verificationRequest(fields)],
  policy_ids: ['default'],
})

async function expectProblem(answer: Response, status: number, detail?: string | RegExp) {
  const body = (await answer.json()) as Record<string, string>
  expect(answer.status).toBe(status)
  expect(body.type?.startsWith(problemTypePrefix)).toBe(true)
  expect(body.instance).toBe(`urn:uuid:${answer.headers.get('x-request-id')}`)
  if (detail !== undefined) expect(body.detail).toMatch(detail)
}

describe('POST /attestation', () => {
  it('answers the token as text, signed with a published key', async () => {
    const answer = await post('/attestation', attestation())
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-type')).toMatch(/^text\/plain/)
    const token = await answer.text()
    await jwtVerify(token, createRemoteJWKSet(new URL(`${service.url}/.well-known/jwks.json`)))
    expect(submodOf(token)['ear.veraison.annotated-evidence'].runtime_data_claims.nonce).toBe(
      runtimeData.nonce,
    )
  })

  it('takes no policy ids for "default", and members that it does not know', async () => {
    const body = { ...attestation({ init_data_hash_algorithm: 'sha384' }), policy_ids: [] }
    expect((await post('/attestation', body)).status).toBe(200)
  })

  it('takes raw runtime data and both kinds of init-data', async () => {
    const evidence = encodedText(JSON.stringify({ svn: '1', report_data: 'AQID' }))
    const raw = attestation({ evidence, runtime_data: { raw: 'AQID' } })
    expect((await post('/attestation', raw)).status).toBe(200)
    const toml = { init_data_toml: 'algorithm = "sha256"\nversion = "0.1.0"\n[data]\n' }
    expect((await post('/attestation', attestation({ init_data: toml }))).status).toBe(200)
    const digest = { init_data_digest: encodedText('0123456789abcdef0123456789abcdef') }
    expect((await post('/attestation', attestation({ init_data: digest }))).status).toBe(200)
  })

  it.each([
    ['no JSON', '{', /not JSON/],
    ['no policy_ids', { verification_requests: [] }, /policy_ids/],
    ['no evidence', { verification_requests: [], policy_ids: [] }, /verification_requests: empty/],
    [
      'two kinds of runtime data',
      attestation({ runtime_data: { raw: 'AQID', structured: {} } }),
      /verification_requests\.0\.runtime_data: not an object with either/,
    ],
    ['two kinds of init-data', attestation({ init_data: {} }), /init_data/],
    ['an empty hash algorithm', attestation({ runtime_data_hash_algorithm: '' }), /hash_algorithm/],
    ['an unknown TEE', attestation({ tee: 'vax' }), /tee: unknown/],
  ])('400 for %s', async (_, body, detail) => {
    await expectProblem(await post('/attestation', body), 400, detail)
  })

  it('400 for another Content-Type, which a web page could send unasked', async () => {
    await expectProblem(await post('/attestation', attestation(), { 'content-type': 'text/plain' }), 400)
  })

  it('422 for evidence that does not hold, and what rule it broke', async () => {
    const answer = await post('/attestation', attestation({ runtime_data: { structured: {} } }))
    await expectProblem(answer, 422, /evidence rejected: REPORT_DATA_MISMATCH/)
  })

  it('409 where there is no such policy', async () => {
    await expectProblem(await post('/attestation', { ...attestation(), policy_ids: ['none'] }), 409)
  })

  it('413 for a body above the limit', async () => {
    await expectProblem(await post('/attestation', 'x'.repeat(2_097_153)), 413)
  })
})

describe('policies', () => {
  it('are set, listed and read', async () => {
    const body = { type: 'rego', policy_id: 'mine_cpu', policy: encodedText(affirmingPolicy) }
    const answer = await post('/policy', body)
    expect([answer.status, await answer.text()]).toEqual([200, ''])
    const list = JSON.parse(await (await get('/policy')).text()) as object[]
    expect(list).toContainEqual({ 'policy-id': 'mine_cpu' })
    expect(list).toContainEqual({ 'policy-id': 'default_cpu' })
    expect(await (await get('/policy/mine_cpu')).text()).toBe(affirmingPolicy)
  })

  it('404 for an unknown one, 400 for one that does not compile or a wrong id', async () => {
    await expectProblem(await get('/policy/none_cpu'), 404)
    const broken = { policy_id: 'x_cpu', policy: encodedText('package policy\n}') }
    await expectProblem(await post('/policy', broken), 400)
    const wrong = { policy_id: 'a/b', policy: encodedText(affirmingPolicy) }
    await expectProblem(await post('/policy', wrong), 400)
  })
})

describe('POST /challenge', () => {
  it('answers an empty text', async () => {
    const answer = await post('/challenge', { tee: 'sample', tee_params: '' })
    expect([answer.status, await answer.text()]).toEqual([200, ''])
  })

  it.each([{ tee: 'sample' }, { tee: 'sample', tee_params: { a: 1 } }])('400 for %j', async (body) => {
    await expectProblem(await post('/challenge', body), 400)
  })
})

it('publishes keys with kid and use, cacheable, and a discovery document', async () => {
  const answer = await get('/.well-known/jwks.json')
  expect(answer.headers.get('cache-control')).toMatch(/max-age/)
  const { keys } = (await answer.json()) as { keys: Record<string, string>[] }
  expect(keys[0]).toMatchObject({
    kty: 'EC',
    crv: 'P-256',
    alg: 'ES256',
    use: 'sig',
    kid: expect.any(String),
  })
  expect(await (await get('/.well-known/openid-configuration')).json()).toMatchObject({
    issuer: 'CoCo-Attestation-Service',
    jwks_uri: `${service.url}/.well-known/jwks.json`,
  })
})

it('tells its health', async () => {
  expect((await get('/healthz')).status).toBe(200)
  expect(await (await get('/readyz')).json()).toMatchObject({ status: 'ready' })
})

it('405 or 404 for what is not there', async () => {
  expect((await get('/attestation')).status).toBe(404)
  await expectProblem(await get('/other'), 404)
})
