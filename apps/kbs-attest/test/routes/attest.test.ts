import { generateKeyPairSync } from 'node:crypto'
import { createAttestationService } from '@passport-kbs/attestation-service'
import { type JsonObject, jsonObject, parseJson, teeKeyThumbprint } from '@passport-kbs/protocol'
import { openStorage } from '@passport-kbs/storage'
import { createSampleVerifier, type Verifier } from '@passport-kbs/tee-evidence'
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose'
import { beforeEach, describe, expect, it } from 'vitest'
import {
  attestation,
  authBody,
  authenticate,
  claimsOf,
  cookieOf,
  openTestKbs,
  smallPolicy,
  type TestKbs,
  teeKey,
  text,
  tokenOf,
} from '../fixtures.ts'
import { expectProblem } from '../problem.ts'

const attest = '/kbs/v0/attest'
const refused = 'Attestation error: RCAR handshake Attest failed'

let kbs: TestKbs
beforeEach(async () => {
  kbs = await openTestKbs()
  await kbs.deps.attestation.setPolicy('default_cpu', smallPolicy)
  await kbs.deps.attestation.setPolicy('default_gpu', smallPolicy)
})

/** Posts a good attestation for a new session, changed by `change`. */
async function attestWith(change: (body: JsonObject, nonce: string) => JsonObject | string) {
  const { nonce, cookie } = await authenticate(kbs)
  const body = change(attestation({ nonce }), nonce)
  return kbs.post(attest, typeof body === 'string' ? body : text(body), { cookie })
}

async function expectUsable(session: { readonly nonce: string; readonly cookie: string }, yes: boolean) {
  const answer = await kbs.post(attest, text(attestation(session)), { cookie: session.cookie })
  expect(answer.status).toBe(yes ? 200 : 401)
}

describe('POST /attest (spec 01 §2.4)', () => {
  it('answers good evidence with a token signed by a published key, and the cookie again with the same expiry', async () => {
    const first = await kbs.post('/kbs/v0/auth', authBody())
    const { nonce } = (await first.json()) as { nonce: string }
    const cookie = cookieOf(first)
    const answer = await kbs.post(attest, text(attestation({ nonce })), { cookie })
    expect(cookieOf(answer)).toBe(cookie)
    const expires = /Expires=[^;]+/
    const ofAuth = expires.exec(first.headers.get('set-cookie') ?? '')?.[0]
    expect(expires.exec(answer.headers.get('set-cookie') ?? '')?.[0]).toBe(ofAuth)
    expect(answer.headers.get('content-type')).toBe('application/json')
    expect(answer.headers.get('cache-control')).toBe('no-store')

    const token = await tokenOf(answer)
    const keys = (await (await kbs.get('/.well-known/jwks.json')).json()) as JSONWebKeySet
    await jwtVerify(token, createLocalJWKSet(keys), { algorithms: ['ES256'] })
  })

  it('binds the token to the TEE key and the status of the appraisal', async () => {
    const token = await tokenOf(await attestWith((body) => body))
    const cpu0 = (claimsOf(token).submods as JsonObject).cpu0 as JsonObject
    expect(cpu0['ear.status']).toBe('affirming')
    const evidence = cpu0['ear.veraison.annotated-evidence'] as JsonObject
    expect((evidence.runtime_data_claims as JsonObject)['tee-pubkey']).toEqual(teeKey.publicKey.jwk)
  })

  it('drops unknown members of the TEE key before hashing, as the guest does', async () => {
    const answer = await attestWith((body) => {
      const runtimeData = body['runtime-data'] as JsonObject
      const key = jsonObject({ ...(runtimeData['tee-pubkey'] as JsonObject), kid: 'mine', use: 'enc' })
      return jsonObject({ ...body, 'runtime-data': jsonObject({ ...runtimeData, 'tee-pubkey': key }) })
    })
    expect(answer.status).toBe(200)
  })

  it('takes evidence with integers beyond 2^53, which firmware versions and policies may be', async () => {
    const { nonce, cookie } = await authenticate(kbs)
    const body = text(attestation({ nonce })).replace('"svn"', '"flags":18446744073709551615,"svn"')
    expect((await kbs.post(attest, body, { cookie })).status).toBe(200)
  })
})

describe('a session (spec 01 §2.9)', () => {
  it.each([
    ['none', {}],
    ['another cookie', { cookie: 'session=1' }],
    ['an id in upper case', { cookie: `kbs-session-id=${'A'.repeat(32)}` }],
    ['an id that climbs', { cookie: 'kbs-session-id=../../../repository/a/b/c' }],
    ['an empty id', { cookie: 'kbs-session-id=' }],
    ['an id that is too long', { cookie: `kbs-session-id=${'a'.repeat(4_000)}` }],
    ['an id in quotes', { cookie: `kbs-session-id="${'a'.repeat(32)}"` }],
  ])('is required: %s is refused with 401', async (_, headers) => {
    const answer = await kbs.post(attest, text(attestation({ nonce: 'AA==' })), headers)
    await expectProblem(answer, 401, 'AttestationError', `${refused}`)
    expect(answer.headers.get('set-cookie')).toBeNull()
  })

  it('that nobody knows is refused with 401', async () => {
    const headers = { cookie: `kbs-session-id=${'a'.repeat(32)}` }
    const answer = await kbs.post(attest, text(attestation({ nonce: 'AA==' })), headers)
    await expectProblem(answer, 401, 'AttestationError', /session unknown or expired/)
  })

  it('that has expired is refused with 401', async () => {
    const session = await authenticate(kbs)
    kbs.clock.now = new Date(kbs.clock.now.getTime() + 5 * 60_000)
    const answer = await kbs.post(attest, text(attestation(session)), { cookie: session.cookie })
    await expectProblem(answer, 401, 'AttestationError', /session unknown or expired/)
  })

  it('is found among other cookies', async () => {
    const { nonce, cookie } = await authenticate(kbs)
    const headers = { cookie: `a=b; ${cookie} ; kbs=1` }
    expect((await kbs.post(attest, text(attestation({ nonce })), headers)).status).toBe(200)
  })

  it('takes only its own nonce, and another one does not spend it', async () => {
    const session = await authenticate(kbs)
    const other = await authenticate(kbs)
    const answer = await kbs.post(attest, text(attestation(other)), { cookie: session.cookie })
    await expectProblem(answer, 401, 'AttestationError', /nonce is not the one/)
    await expectUsable(session, true)
  })

  it('gives the same token for the very same attestation again, whatever happened to the evidence since', async () => {
    const { nonce, cookie } = await authenticate(kbs)
    const body = text(attestation({ nonce }))
    const token = await tokenOf(await kbs.post(attest, body, { cookie }))
    expect(await tokenOf(await kbs.post(attest, body, { cookie }))).toBe(token)
  })

  it('gives nothing for another attestation once it is attested', async () => {
    const { nonce, cookie } = await authenticate(kbs)
    await tokenOf(await kbs.post(attest, text(attestation({ nonce })), { cookie }))
    const initData = { format: 'toml', body: 'algorithm = "sha384"\nversion = "0.1.0"\n[data]\n' }
    const answer = await kbs.post(attest, text(attestation({ nonce, initData })), { cookie })
    await expectProblem(answer, 401, 'AttestationError', /attested already/)
  })

  it('is spent by evidence that fails, even for good evidence that comes after', async () => {
    const session = await authenticate(kbs)
    const bad = text(attestation({ nonce: session.nonce, reportData: 'AAAA' }))
    const answer = await kbs.post(attest, bad, { cookie: session.cookie })
    await expectProblem(answer, 401, 'AttestationError', /evidence rejected: REPORT_DATA_MISMATCH/)
    await expectUsable(session, false)
  })

  it('is attested once by guests that race with the same nonce', async () => {
    const { nonce, cookie } = await authenticate(kbs)
    const bodies = ['1', '2', '3', '4', '5'].map(
      (n) => `${text(attestation({ nonce }))}${' '.repeat(Number(n))}`,
    )
    const answers = await Promise.all(bodies.map((body) => kbs.post(attest, body, { cookie })))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 401, 401, 401, 401])
  })
})

describe('a body that is no attestation is refused with 400 and spends no nonce', () => {
  it.each([
    ['nothing', ''],
    ['text', 'hello'],
    ['not UTF-8', new Uint8Array([0x22, 0xc3, 0x28, 0x22])],
    ['a member twice', '{"runtime-data":{},"runtime-data":{}}'],
    ['nested a hundred thousand deep', `{"tee-evidence":${'{"a":'.repeat(100_000)}`],
  ])('%s: not JSON', async (_, body) => {
    const session = await authenticate(kbs)
    const answer = await kbs.post(attest, body, { cookie: session.cookie })
    await expectProblem(answer, 400, 'AttestationError', /not JSON/)
    await expectUsable(session, true)
  })

  const without = (body: JsonObject, ...path: string[]): JsonObject => {
    const copy = parseJson(text(body)) as JsonObject
    const parent = path.slice(0, -1).reduce((value, name) => value[name] as JsonObject, copy)
    delete parent[path.at(-1) ?? '']
    return copy
  }

  it.each([
    ['runtime-data', ['runtime-data']],
    ['the nonce', ['runtime-data', 'nonce']],
    ['the TEE key', ['runtime-data', 'tee-pubkey']],
    ['tee-evidence', ['tee-evidence']],
    ['primary evidence', ['tee-evidence', 'primary_evidence']],
    ['additional evidence, which is "" where there is none', ['tee-evidence', 'additional_evidence']],
  ])('without %s', async (_, path) => {
    const answer = await attestWith((body) => without(body, ...path))
    await expectProblem(answer, 400, 'AttestationError', new RegExp(path.at(-1) ?? ''))
  })

  it.each([
    ['a nonce that is a number', (nonce: string) => [`"nonce":"${nonce}"`, '"nonce":1']],
    ['additional evidence that is an object', () => ['"additional_evidence":""', '"additional_evidence":{}']],
    ['init-data that is text', () => ['"init-data":null', '"init-data":"x"']],
    ['init-data without a body', () => ['"init-data":null', '"init-data":{"format":"toml"}']],
  ])('with %s', async (_, replacement) => {
    const answer = await attestWith((body, nonce) => {
      const [from = '', to = ''] = replacement(nonce)
      expect(text(body)).toContain(from)
      return text(body).replace(from, to)
    })
    await expectProblem(answer, 400, 'AttestationError', /expected/)
  })
})

describe('a TEE key to which nothing can be encrypted is refused with 400 (spec 01 §3.1)', () => {
  const good = teeKey.publicKey.jwk as Record<string, string>
  const rsa = (bits: number, alg: string) => {
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: bits })
    const { n = '', e = '' } = publicKey.export({ format: 'jwk' })
    return { kty: 'RSA', alg, n, e }
  }

  it.each([
    ['a point off the curve', { ...good, y: good.x }, /no such key/],
    ['a coordinate that is too short', { ...good, x: 'AAAA' }, /width/],
    ['padding in a coordinate', { ...good, x: `${good.x}=` }, /base64url/],
    ['P-384', { ...good, crv: 'P-384' }, /crv/],
    ['ECDH-ES without key wrap', { ...good, alg: 'ECDH-ES' }, /alg/],
    ['RSA of 1024 bits', rsa(1024, 'RSA-OAEP-256'), /2048/],
    ['RSA1_5, unless it is allowed', rsa(2048, 'RSA1_5'), /RSA1_5 is not allowed/],
    ['ML-KEM, unless it is allowed', { kty: 'AKP', alg: 'ML-KEM-768+A192KW', pub: 'AA' }, /not allowed/],
    ['a symmetric key', { kty: 'oct', k: 'AAAA' }, /kty/],
    ['a member that is no string', { ...good, x: 1 }, /x is not a string/],
    ['a list', [], /not an object/],
  ])('%s', async (_, key, reason) => {
    const session = await authenticate(kbs)
    const body = attestation(session)
    const posted = { ...body, 'runtime-data': { nonce: session.nonce, 'tee-pubkey': key } }
    const answer = await kbs.post(attest, JSON.stringify(posted), { cookie: session.cookie })
    await expectProblem(answer, 400, 'AttestationError', reason)
    await expectUsable(session, true)
  })

  it('RSA of 2048 bits with OAEP is taken', async () => {
    const { nonce, cookie } = await authenticate(kbs)
    const key = jsonObject(rsa(2048, 'RSA-OAEP-256'))
    const body = text(attestation({ nonce, teePublicKey: key }))
    expect((await kbs.post(attest, body, { cookie })).status).toBe(200)
  })
})

describe('evidence', () => {
  it.each([
    ['for another nonce', jsonObject({ svn: '1', report_data: 'AAAA' }), 'REPORT_DATA_MISMATCH'],
    ['of another shape', 'text', 'EVIDENCE_MALFORMED'],
    ['that is null', null, 'EVIDENCE_MALFORMED'],
    ['with a member of another type', jsonObject({ svn: 1, report_data: 'AAAA' }), 'EVIDENCE_MALFORMED'],
    ['without report data', jsonObject({ svn: '1' }), 'REPORT_DATA_MISMATCH'],
  ])('%s is refused with the code, and not with what was expected', async (_, evidence, code) => {
    const answer = await attestWith((body) =>
      jsonObject({
        ...body,
        'tee-evidence': jsonObject({ primary_evidence: evidence, additional_evidence: '' }),
      }),
    )
    const problem = await expectProblem(answer, 401, 'AttestationError', refused)
    expect(problem.reason).toBe(`evidence rejected: ${code}`)
  })

  it('without an attestation policy gives no token', async () => {
    const storage = await openStorage({ type: 'Memory' })
    const deps = { attestation: await sampleService(storage) }
    await storage.namespace('attestation_service_policy').delete('default_cpu.rego')
    kbs = await openTestKbs({ deps })
    await expectProblem(await attestWith((body) => body), 401, 'AttestationError', /policy failed/)
  })

  it('that nobody could verify in time is 503, and the nonce is spent', async () => {
    const verifiers: Verifier[] = [{ tee: 'sample', checks: [], verify: () => new Promise(() => {}) }]
    kbs = await openTestKbs({ verifiers, attestTimeoutMs: 50 })
    const session = await authenticate(kbs)
    const answer = await kbs.post(attest, text(attestation(session)), { cookie: session.cookie })
    expect(answer.headers.get('retry-after')).toBe('5')
    await expectProblem(answer, 503, 'ServiceUnavailable')
    expect(kbs.audits().at(-1)).toMatchObject({ decision: 'failed', tee: 'sample' })
    await expectUsable(session, false)
  })

  it('that breaks a verifier is 500 without a word of the cause', async () => {
    const verify = () => Promise.reject(new Error('internal matter'))
    kbs = await openTestKbs({ verifiers: [{ tee: 'sample', checks: [], verify }] })
    const problem = await expectProblem(await attestWith((body) => body), 500, 'InternalError')
    expect(JSON.stringify(problem)).not.toContain('internal matter')
    expect(kbs.log()).toContain('internal matter')
  })

  it('that arrives when the session has just expired gives no token', async () => {
    const sample = createSampleVerifier({ enabled: true })
    const verify: Verifier['verify'] = (evidence, request) => {
      kbs.clock.now = new Date(kbs.clock.now.getTime() + 6 * 60_000)
      return sample.verify(evidence, request)
    }
    kbs = await openTestKbs({ verifiers: [{ ...sample, verify }] })
    await kbs.deps.attestation.setPolicy('default_cpu', smallPolicy)
    await expectProblem(await attestWith((body) => body), 401, 'AttestationError', /expired during/)
  })

  function sampleService(storage: Awaited<ReturnType<typeof openStorage>>) {
    const verifiers = new Map([['sample', createSampleVerifier({ enabled: true })]] as const)
    return createAttestationService({ verifiers, storage, profile: 'development' })
  }
})

describe('additional evidence (spec 01 §2.4, §2.6)', () => {
  const device = (name: string) => (reportData: string) =>
    `"${name}":{"svn":"2","report_data":"${reportData}"}`

  async function withDevices(devices: (reportData: string) => string): Promise<Response> {
    const { nonce, cookie } = await authenticate(kbs)
    return kbs.post(attest, text(attestation({ nonce, devices })), { cookie })
  }

  it('of a device gives a submod of its own beside cpu0', async () => {
    const token = await tokenOf(await withDevices((data) => `{${device('sampledevice')(data)}}`))
    expect(Object.keys(claimsOf(token).submods as JsonObject).sort()).toEqual(['cpu0', 'gpu0'])
  })

  it('is numbered by the names of the TEEs, whatever order the guest sends', async () => {
    const two = [device('sampledevice'), device('sample')]
    const statuses = []
    for (const order of [two, [...two].reverse()]) {
      const token = await tokenOf(await withDevices((data) => `{${order.map((one) => one(data)).join()}}`))
      const submods = claimsOf(token).submods as Record<string, JsonObject>
      const names = (submod = '') => Object.keys(submods[submod]?.['ear.veraison.annotated-evidence'] ?? {})
      statuses.push([Object.keys(submods).sort(), names('cpu1'), names('gpu0')])
    }
    expect(statuses[0]).toEqual(statuses[1])
    expect(statuses[0]?.[0]).toEqual(['cpu0', 'cpu1', 'gpu0'])
  })

  it('that was not made for this key and nonce is refused', async () => {
    const answer = await withDevices(() => '{"sampledevice":{"svn":"2","report_data":"AAAA"}}')
    await expectProblem(answer, 401, 'AttestationError', /REPORT_DATA_MISMATCH/)
  })

  it('that was swapped after the primary evidence was made is refused', async () => {
    const session = await authenticate(kbs)
    const body = text(attestation({ ...session, devices: (data) => `{${device('sampledevice')(data)}}` }))
    const answer = await kbs.post(attest, body.replace('\\"2\\"', '\\"3\\"'), { cookie: session.cookie })
    await expectProblem(answer, 401, 'AttestationError', /REPORT_DATA_MISMATCH/)
  })

  it.each([
    ['not JSON', '{', /not JSON text/],
    ['a list', '[]', /not the text of a JSON object/],
    ['null', 'null', /not the text of a JSON object/],
    ['of an unknown TEE', '{"gameboy":{}}', /unknown TEE/],
    ['of a TEE twice', '{"sampledevice":{},"sampledevice":{}}', /not JSON text/],
    ['of a TEE twice under two names', '{"az-snp-vtpm":{},"azsnpvtpm":{}}', /a TEE twice/],
    ['nested too deep', `{"sampledevice":${'['.repeat(1_000)}${']'.repeat(1_000)}}`, /not JSON text/],
  ])('%s is refused with 400 and spends no nonce', async (_, devices, reason) => {
    const session = await authenticate(kbs)
    const body = text(attestation({ ...session, devices: () => devices }))
    const answer = await kbs.post(attest, body, { cookie: session.cookie })
    await expectProblem(answer, 400, 'AttestationError', reason)
    await expectUsable(session, true)
  })
})

describe('init-data (spec 01 §2.8)', () => {
  const toml = 'algorithm = "sha384"\nversion = "0.1.0"\n\n[data]\n"key1" = "value1"\n'

  async function withInitData(format: string, body: string): Promise<Response> {
    const { nonce, cookie } = await authenticate(kbs)
    return kbs.post(attest, text(attestation({ nonce, initData: { format, body } })), { cookie })
  }

  it('in TOML puts its digest and its data into the claims', async () => {
    const token = await tokenOf(await withInitData('toml', toml))
    const cpu0 = (claimsOf(token).submods as JsonObject).cpu0 as JsonObject
    const evidence = cpu0['ear.veraison.annotated-evidence'] as JsonObject
    expect(evidence.init_data_claims).toEqual({ key1: 'value1' })
    const digest =
      'ad344b89d2a0c99aad897d9b86bb5d3e47a81d10a68ff85d050dfac2463a542023b209996e7f8ff001e588df394d1d09'
    expect(evidence.init_data).toBe(Buffer.from(digest, 'hex').toString('base64'))
  })

  it.each(['json', 'TOML', '', 'yaml'])('in format "%s" is refused with 400', async (format) => {
    await expectProblem(await withInitData(format, toml), 400, 'AttestationError', /only "toml"/)
  })

  it.each([
    ['no TOML', '{"version":"0.1.0"}'],
    ['of another version', toml.replace('0.1.0', '1.0.0')],
    ['with an algorithm spelled with a hyphen', toml.replace('sha384', 'sha-384')],
    ['without data', 'algorithm = "sha384"\nversion = "0.1.0"\n'],
    ['larger than 1 MiB', `${toml}"k" = "${'v'.repeat(1_048_576)}"\n`],
  ])('that is %s is refused', async (_, body) => {
    await expectProblem(await withInitData('toml', body), 401, 'AttestationError', /INPUT_INVALID/)
  })
})

describe('the audit record of an attestation (spec 01 §11.2)', () => {
  it('says who was attested and how, and holds neither token, session, nonce nor evidence', async () => {
    const session = await authenticate(kbs)
    const token = await tokenOf(
      await kbs.post(attest, text(attestation(session)), { cookie: session.cookie }),
    )
    const { jti } = claimsOf(token)
    expect(kbs.audits()).toHaveLength(1)
    expect(kbs.audits()[0]).toMatchObject({
      event: 'attestation',
      decision: 'allowed',
      tee: 'sample',
      teeKeyThumbprint: teeKeyThumbprint(teeKey.publicKey),
      jti,
      submods: [{ name: 'cpu0', status: 'affirming', policyId: 'default_cpu' }],
    })
    const id = session.cookie.split('=')[1] ?? ''
    for (const secret of [token, token.split('.')[2] ?? '', id, session.nonce, 'report_data']) {
      expect(kbs.log()).not.toContain(secret)
    }
  })

  it('names the check that failed, to the operator only', async () => {
    const session = await authenticate(kbs)
    const body = text(attestation({ ...session, reportData: 'c2VjcmV0' }))
    const answer = await kbs.post(attest, body, { cookie: session.cookie })
    const requestId = answer.headers.get('x-request-id')
    expect(kbs.audits()[0]).toMatchObject({ decision: 'denied', requestId })
    expect(kbs.audits()[0]?.reason).toMatch(/^report-data: REPORT_DATA_MISMATCH: /)
    expect(await answer.text()).not.toContain('report-data:')
    expect(kbs.log()).not.toContain('c2VjcmV0')
  })

  it('is there for requests that never reach a verifier, too', async () => {
    await kbs.post(attest, 'x')
    await attestWith(() => 'x')
    const session = await authenticate(kbs)
    await kbs.post(attest, text(attestation({ nonce: 'AA==' })), { cookie: session.cookie })
    expect(kbs.audits().map(({ decision, reason }) => `${decision}: ${reason}`)).toEqual([
      'denied: no session cookie',
      'denied: the body is not JSON',
      'denied: the nonce is not the one of this session',
    ])
    const metrics = await (await kbs.get('/metrics')).text()
    expect(metrics).toContain('kbs_attestation_requests_total 3')
    expect(metrics).toContain('kbs_attestation_errors_total 3')
  })
})
