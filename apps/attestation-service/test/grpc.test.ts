import { connect as connectHttp2 } from 'node:http2'
import { status } from '@grpc/grpc-js'
import { encodeBase64, encodeBase64Url, runtimeDataDigest } from '@passport-kbs/protocol'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  affirmingPolicy,
  claimsOf,
  deviceData,
  encoded,
  encodedText,
  runtimeData,
  sampleEvidence,
  sampleRequest,
  startAttestationService,
  submodOf,
  type TestService,
  text,
} from './fixtures.ts'
import { attestation, connect, health, reference, type TrusteeKbs } from './trustee-kbs.ts'

let service: TestService
let kbs: TrusteeKbs
beforeAll(async () => {
  service = await startAttestationService()
  kbs = connect(service.grpc)
}, 30_000)
afterAll(async () => {
  kbs?.client.close()
  await service?.close()
})

const evaluate = async (...requests: object[]): Promise<string> => {
  const request = { verification_requests: requests, policy_ids: ['default'] }
  return (await kbs.call<{ attestation_token: string }>(attestation, 'AttestationEvaluate', request))
    .attestation_token
}

describe('AttestationEvaluate, as a KBS of Trustee calls it', () => {
  it('answers a token that verifies with the published keys', async () => {
    const token = await evaluate(sampleRequest())
    const keys = createRemoteJWKSet(new URL(`${service.url}/.well-known/jwks.json`))
    const { payload } = await jwtVerify(token, keys, { issuer: 'CoCo-Attestation-Service' })
    expect(payload.eat_profile).toBe('tag:github.com,2024:confidential-containers/Trustee')
    expect(submodOf(token)).toMatchObject({
      'ear.appraisal-policy-id': 'default',
      'ear.veraison.annotated-evidence': {
        report_data: encodeBase64(runtimeDataDigest(runtimeData, 'sha384')),
        runtime_data_claims: { nonce: runtimeData.nonce, 'tee-pubkey': runtimeData['tee-pubkey'] },
        sample: { svn: '1' },
      },
    })
  })

  it.each(['sha256', 'SHA384', 'sha512', ''])('takes the hash algorithm %j', async (name) => {
    const hash = (name.toLowerCase() || 'sha384') as 'sha256' | 'sha384' | 'sha512'
    const evidence = sampleEvidence(runtimeData, hash)
    await expect(
      evaluate(sampleRequest({ evidence, runtime_data_hash_algorithm: name })),
    ).resolves.toBeTruthy()
  })

  it('takes raw runtime data as they are', async () => {
    const bytes = new Uint8Array([1, 2, 3, 4])
    const evidence = encodedText(JSON.stringify({ svn: '1', report_data: encodeBase64(bytes) }))
    const token = await evaluate({ tee: 'sample', evidence, raw_runtime_data: encodeBase64Url(bytes) })
    expect(submodOf(token)['ear.veraison.annotated-evidence'].runtime_data_claims).toBeNull()
  })

  it('takes init-data as TOML, and as a digest', async () => {
    const toml = 'algorithm = "sha256"\nversion = "0.1.0"\n\n[data]\n"key" = "value"\n'
    const withToml = await evaluate(sampleRequest({ init_data_toml: toml }))
    expect(submodOf(withToml)['ear.veraison.annotated-evidence'].init_data_claims).toEqual({ key: 'value' })
    const withDigest = await evaluate(
      sampleRequest({ init_data_digest: encodeBase64Url(new Uint8Array(32)) }),
    )
    expect(submodOf(withDigest)['ear.veraison.annotated-evidence'].init_data_claims).toBeNull()
  })

  it('appraises the evidence of a device beside that of the processor', async () => {
    const device = {
      tee: 'sampledevice',
      evidence: sampleEvidence(deviceData),
      structured_runtime_data: text(deviceData),
      runtime_data_hash_algorithm: 'sha384',
    }
    const token = await evaluate(sampleRequest(), device)
    expect(Object.keys(claimsOf(token).submods as object)).toEqual(['cpu0', 'gpu0'])
  })

  it('takes no policy id for "default", and looks at the first of several', async () => {
    const request = { verification_requests: [sampleRequest()], policy_ids: [] }
    await kbs.call(attestation, 'AttestationEvaluate', request)
    await expect(
      kbs.call(attestation, 'AttestationEvaluate', { ...request, policy_ids: ['other', 'default'] }),
    ).rejects.toMatchObject({ code: status.FAILED_PRECONDITION })
  })

  it('reads the bytes of the wire by their field numbers', async () => {
    const field = (number: number, content: Uint8Array | string) => {
      const bytes = Buffer.from(content)
      const length = bytes.length < 128 ? [bytes.length] : [(bytes.length & 127) | 128, bytes.length >> 7]
      return Buffer.from([(number << 3) | 2, ...length, ...bytes])
    }
    const individual = Buffer.concat([
      field(1, 'sample'),
      field(3, sampleEvidence()),
      field(5, text(runtimeData)),
      field(8, 'sha384'),
    ])
    const message = Buffer.concat([field(1, individual), field(2, 'default')])
    const answer = await rawCall('/attestation.AttestationService/AttestationEvaluate', message)
    // field 1 of the response, of two length bytes
    expect(answer[0]).toBe(0x0a)
    const token = answer.subarray(3).toString()
    expect(submodOf(token)['ear.veraison.annotated-evidence'].runtime_data_claims.nonce).toBe(
      runtimeData.nonce,
    )
  })

  /** Sends one gRPC frame over a plain HTTP/2 stream; answers the message of the response. */
  async function rawCall(path: string, message: Buffer): Promise<Buffer> {
    const session = connectHttp2(`http://${service.grpc}`)
    try {
      const stream = session.request({
        ':method': 'POST',
        ':path': path,
        'content-type': 'application/grpc',
        te: 'trailers',
      })
      const head = Buffer.alloc(5)
      head.writeUInt32BE(message.length, 1)
      stream.end(Buffer.concat([head, message]))
      const chunks: Buffer[] = []
      for await (const chunk of stream) chunks.push(chunk as Buffer)
      return Buffer.concat(chunks).subarray(5)
    } finally {
      session.close()
    }
  }
})

describe('a refused evaluation has a code that says whose fault it is', () => {
  const other = encoded({ ...runtimeData, nonce: 'other' })
  it.each([
    ['an unknown TEE', { tee: 'vax' }, /verification_requests\[0\]\.tee/],
    ['evidence that is not base64url', { evidence: 'a+b/' }, /evidence: not base64url/],
    ['evidence that is not JSON', { evidence: encodedText('{') }, /evidence: not JSON/],
    ['runtime data that are not JSON', { structured_runtime_data: '{' }, /structured_runtime_data: not JSON/],
    ['an unknown hash', { runtime_data_hash_algorithm: 'sha-384' }, /runtime_data_hash_algorithm/],
    ['init-data that are not TOML', { init_data_toml: '=' }, /evidence rejected: INPUT_INVALID/],
    ['a TEE that is not verified here', { tee: 'cca' }, /evidence rejected: TEE_NOT_ENABLED/],
    ['evidence of another shape', { evidence: other }, /evidence rejected: EVIDENCE_MALFORMED/],
  ])('%s: INVALID_ARGUMENT', async (_, fields, details) => {
    await expect(evaluate(sampleRequest(fields))).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringMatching(details),
    })
  })

  it('no evidence at all: INVALID_ARGUMENT', async () => {
    await expect(evaluate()).rejects.toMatchObject({ code: status.INVALID_ARGUMENT })
  })

  it('names the broken rule in the trailers, and a request id that the log and the audit have', async () => {
    const error = await evaluate(sampleRequest({ evidence: sampleEvidence(deviceData) })).catch((e) => e)
    expect(error).toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: 'evidence rejected: REPORT_DATA_MISMATCH',
    })
    expect(error.metadata.get('attestation-rejection')).toEqual(['REPORT_DATA_MISMATCH'])
    const [requestId] = error.metadata.get('x-request-id')
    const lines = service.log().filter((line) => line.requestId === requestId)
    expect(lines.find((line) => line.audit === true)).toMatchObject({ decision: 'denied', tee: 'sample' })
    expect(lines.length).toBeGreaterThan(1)
  })

  it('refuses a message above the limit before it is read', async () => {
    await expect(evaluate(sampleRequest({ evidence: 'A'.repeat(7 * 1_048_576 + 1) }))).rejects.toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: expect.stringContaining('larger than max'),
    })
    // 6 MiB pass: evidence of a body of 2 MiB fits, twice and encoded
    await expect(evaluate(sampleRequest({ evidence: 'A'.repeat(6 * 1_048_576) }))).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    })
  })
})

describe('SetAttestationPolicy', () => {
  const set = (policyId: string, policy: string) =>
    kbs.call(attestation, 'SetAttestationPolicy', { policy_id: policyId, policy: encodedText(policy) })

  it('sets a policy that the next evaluation applies', async () => {
    await expect(set('strict_cpu', affirmingPolicy)).resolves.toEqual({})
    const request = { verification_requests: [sampleRequest()], policy_ids: ['strict'] }
    const { attestation_token: token } = await kbs.call<{ attestation_token: string }>(
      attestation,
      'AttestationEvaluate',
      request,
    )
    expect(submodOf(token)).toMatchObject({ 'ear.status': 'affirming', 'ear.appraisal-policy-id': 'strict' })
  })

  it.each([
    ['Rego that does not compile', 'default_cpu', 'package policy\n\ntrust_claims := {'],
    ['an id with a path', '../default_cpu', affirmingPolicy],
  ])('refuses %s', async (_, id, policy) => {
    await expect(set(id, policy)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT })
  })

  it('refuses what is not base64url', async () => {
    const request = { policy_id: 'default_cpu', policy: 'package policy' }
    await expect(kbs.call(attestation, 'SetAttestationPolicy', request)).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: 'policy: not base64url',
    })
  })
})

describe('GetAttestationChallenge', () => {
  const challenge = (inner: Record<string, string>) =>
    kbs.call<{ attestation_challenge: string }>(attestation, 'GetAttestationChallenge', { inner })

  it('answers nothing for a TEE whose nonce the KBS makes', async () => {
    expect((await challenge({ tee: 'sample', tee_params: '""' })).attestation_challenge ?? '').toBe('')
  })

  it('refuses IBM Secure Execution, which is not verified here', async () => {
    await expect(challenge({ tee: 'se', tee_params: '{}' })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    })
  })

  it.each([{ tee: 'sample' }, { tee_params: '' }, {}])('needs both keys: %j', async (inner) => {
    await expect(challenge(inner as Record<string, string>)).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringContaining('missing'),
    })
  })
})

describe('ReferenceValueProviderService', () => {
  const register = (message: string) => kbs.call(reference, 'RegisterReferenceValue', { message })
  const query = (id: string) =>
    kbs.call<{ reference_value_results?: string }>(reference, 'QueryReferenceValue', {
      reference_value_id: id,
    })
  const sample = (values: object) =>
    JSON.stringify({
      version: '0.1.0',
      type: 'sample',
      payload: Buffer.from(JSON.stringify(values)).toString('base64'),
    })

  it('answers the JSON text of what was registered', async () => {
    await expect(register(sample({ svn: ['1', 2], flag: true, 'a/b': { c: null } }))).resolves.toEqual({})
    expect(await query('svn')).toEqual({ reference_value_results: '["1",2]' })
    expect(await query('flag')).toEqual({ reference_value_results: 'true' })
    expect(await query('a/b')).toEqual({ reference_value_results: '{"c":null}' })
  })

  it('leaves the field out for an unknown id, which an empty text would not be', async () => {
    expect('reference_value_results' in (await query('unknown'))).toBe(false)
  })

  it.each([
    ['no JSON', '{'],
    ['another version', JSON.stringify({ version: '9', type: 'sample', payload: '' })],
    ['an unknown type', JSON.stringify({ type: 'fancy', payload: '' })],
    ['no values', sample({})],
  ])('refuses %s', async (_, message) => {
    await expect(register(message)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT })
  })
})

describe('health', () => {
  const check = (name: string) => kbs.call<{ status: string }>(health, 'Check', { service: name })

  it.each(['', attestation, reference])('%j is SERVING', async (name) => {
    expect(await check(name)).toEqual({ status: 'SERVING' })
  })

  it('knows no other service', async () => {
    await expect(check('other')).rejects.toMatchObject({ code: status.NOT_FOUND })
  })
})

it('methods that the interface has not are UNIMPLEMENTED', async () => {
  const error = await rejection('/attestation.AttestationService/DeletePolicy')
  expect(error).toMatchObject({ code: status.UNIMPLEMENTED })

  function rejection(path: string): Promise<unknown> {
    const empty = () => Buffer.alloc(0)
    return new Promise((resolve) =>
      kbs.client.makeUnaryRequest(path, empty, empty, {}, (error) => resolve(error)),
    )
  }
})

it('logs neither evidence nor tokens, at level debug', async () => {
  const token = await evaluate(sampleRequest())
  const log = JSON.stringify(service.log())
  expect(log).not.toContain(sampleEvidence())
  expect(log).not.toContain(token.slice(-40))
})
