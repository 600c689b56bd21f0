import { type AddressInfo, connect, createServer } from 'node:net'
import { Metadata, ServerCredentials, status } from '@grpc/grpc-js'
import { encodeBase64, encodeUtf8, jsonObject } from '@passport-kbs/protocol'
import { EvidenceRejected } from '@passport-kbs/tee-evidence'
import { makeCertificate, makeServerIdentity } from '@passport-kbs/testing/tls'
import { describe, expect, it, onTestFinished } from 'vitest'
import {
  AttestationPolicyError,
  AttestationRefused,
  AttestationUnavailable,
  createTokenSigner,
  type EvaluationItem,
  ReferenceValueError,
  type TokenSigner,
} from '../../src/index.ts'
import {
  createRemoteAttestationService,
  messageLimit,
  type RemoteAttestationOptions,
  type RemoteKeys,
} from '../../src/remote/index.ts'
import {
  answerToken,
  type FakeService,
  type FakeServiceOptions,
  type Method,
  rejectionMetadata,
  silentPort,
  startFakeService,
  unsignedToken,
} from './fake-service.ts'

const item: EvaluationItem = {
  tee: 'sample',
  evidence: jsonObject({ svn: '1' }),
  runtimeData: { kind: 'structured', value: jsonObject({ nonce: 'n', 'tee-pubkey': jsonObject({}) }) },
  runtimeDataHash: 'sha384',
}
const context = () => ({ now: new Date(), requestId: crypto.randomUUID() })

function remoteService(url: URL, options: Partial<RemoteAttestationOptions> = {}) {
  const service = createRemoteAttestationService({
    url,
    maxConnections: 4,
    requestTimeoutMs: 10_000,
    messageLimit: messageLimit(2),
    policyId: 'default',
    ...options,
  })
  onTestFinished(() => service.close())
  return service
}

async function pair(fake: FakeServiceOptions = {}, options: Partial<RemoteAttestationOptions> = {}) {
  const server = await startFakeService(fake)
  return { server, service: remoteService(server.url, options) }
}

/** The published keys of a signer, as a source keeps them. */
async function keysOf(signer: TokenSigner): Promise<RemoteKeys> {
  const { createPublicKey } = await import('node:crypto')
  const keys = signer.jwks().keys.map((jwk) => ({
    kid: jwk.kid as string,
    thumbprint: jwk.kid as string,
    algorithms: ['ES256'],
    key: createPublicKey({ key: { ...jwk } as never, format: 'jwk' }),
  }))
  return {
    keys: () => keys,
    find: async (selector) =>
      keys.filter((key) =>
        'kid' in selector ? key.kid === selector.kid : key.thumbprint === selector.thumbprint,
      ),
  }
}

describe('an evaluation elsewhere', () => {
  it('sends what KBS sends, and reads the token', async () => {
    const { server, service } = await pair()
    const device: EvaluationItem = { ...item, tee: 'sampledevice' }
    const primary: EvaluationItem = { ...item, initData: { kind: 'toml', text: '[data]\n' } }
    const asked = context()
    const evaluation = await service.evaluate([primary, device], asked)
    expect(server.evaluations[0]?.request).toEqual({
      verification_requests: [
        {
          tee: 'sample',
          evidence: 'eyJzdm4iOiIxIn0',
          structured_runtime_data: '{"nonce":"n","tee-pubkey":{}}',
          init_data_toml: '[data]\n',
          runtime_data_hash_algorithm: 'sha384',
        },
        {
          tee: 'sampledevice',
          evidence: 'eyJzdm4iOiIxIn0',
          structured_runtime_data: '{"nonce":"n","tee-pubkey":{}}',
          runtime_data_hash_algorithm: 'sha384',
        },
      ],
      policy_ids: ['default'],
    })
    expect(server.evaluations[0]?.metadata.get('x-request-id')).toEqual([asked.requestId])
    expect(evaluation.submods).toEqual([
      { name: 'cpu0', tee: 'sample', status: 'affirming', policyId: 'default', policySha384: '' },
    ])
    // a token without jti is known by its hash
    expect(evaluation.jti).toMatch(/^sha256:[0-9a-f]{64}$/)
    expect(evaluation.expiresAt.getTime()).toBeGreaterThan(Date.now())
  })

  it('sends raw runtime data and digests as bytes', async () => {
    const { server, service } = await pair({
      evaluate: (_, signer) => answerToken({ verification_requests: [], policy_ids: [] }, signer),
    })
    const bytes = new Uint8Array([255, 255])
    await service.evaluate(
      [{ ...item, runtimeData: { kind: 'raw', bytes }, initData: { kind: 'digest', bytes } }],
      context(),
    )
    expect(server.evaluations[0]?.request.verification_requests[0]).toMatchObject({
      raw_runtime_data: '__8',
      init_data_digest: '__8',
    })
  })

  it('asks for the configured policy, and shows its token', async () => {
    const token = { token: async () => 'secret-token' }
    const { server, service } = await pair({}, { policyId: 'strict', token })
    await service.evaluate([item], context())
    expect(server.evaluations[0]?.request.policy_ids).toEqual(['strict'])
    expect(server.evaluations[0]?.metadata.get('authorization')).toEqual(['Bearer secret-token'])
  })
})

describe('a token is passed on only', () => {
  const evaluate = async (
    fake: FakeServiceOptions,
    options: (server: FakeService) => Promise<Partial<RemoteAttestationOptions>>,
  ) => {
    const server = await startFakeService(fake)
    return await remoteService(server.url, await options(server)).evaluate([item], context())
  }

  it('when one of the service’s keys has signed it', async () => {
    const evaluation = await evaluate({}, async ({ signer }) => ({ keys: await keysOf(signer) }))
    expect(evaluation.token.split('.')).toHaveLength(3)
  })

  it.each([
    ['another key', async () => ({ keys: await keysOf(await createTokenSigner()) })],
    ['no key at hand', async () => ({ keys: { keys: () => [], find: async () => [] } })],
  ])('and not when there is %s', async (_, options) => {
    await expect(evaluate({}, options)).rejects.toThrow(/signed with none of its keys/)
  })

  it('and not unsigned', async () => {
    const fake = {
      evaluate: async () => ({
        attestation_token: unsignedToken(jsonObject({ submods: jsonObject({}), exp: 1 })),
      }),
    }
    await expect(evaluate(fake, async ({ signer }) => ({ keys: await keysOf(signer) }))).rejects.toThrow(
      AttestationUnavailable,
    )
  })

  it.each([
    [
      'is about another nonce',
      {
        submods: jsonObject({
          cpu0: jsonObject({
            'ear.veraison.annotated-evidence': jsonObject({
              runtime_data_claims: jsonObject({ nonce: 'other' }),
            }),
          }),
        }),
      },
      /another handshake/,
    ],
    ['has another issuer', { iss: 'other' }, /another issuer/],
    ['has no submods', { submods: null }, /no EAR token/],
    ['has no end', { exp: null }, /no EAR token/],
  ])('and not when it %s', async (_, claims, message) => {
    const fake: FakeServiceOptions = {
      evaluate: (request, signer) => answerToken(request, signer, jsonObject(claims)),
    }
    await expect(evaluate(fake, async () => ({ issuer: 'CoCo-Attestation-Service' }))).rejects.toThrow(
      message,
    )
  })

  it.each(['', 'no.token', '{}', 'a.b.c'])('and not when it is %j', async (token) => {
    const fake = { evaluate: async () => ({ attestation_token: token }) }
    await expect(evaluate(fake, async () => ({}))).rejects.toThrow(/no EAR token/)
  })
})

describe('what a refusal means', () => {
  const refusalOf = async (code: status, details = 'because', metadata = new Metadata()) => {
    const { service } = await pair({ evaluate: async () => ({ code, details, metadata }) })
    return await service.evaluate([item], context()).catch((error: Error) => error)
  }

  it('a rule that the service names is the guest’s fault, and keeps its name', async () => {
    const error = await refusalOf(
      status.INVALID_ARGUMENT,
      'evidence rejected',
      rejectionMetadata('REPORT_DATA_MISMATCH', 'report-data'),
    )
    expect(error).toBeInstanceOf(EvidenceRejected)
    expect(error).toMatchObject({ code: 'REPORT_DATA_MISMATCH', check: 'report-data' })
  })

  it('a rule that the service cannot apply now is no fault of the guest, keeps its name, and is not asked again', async () => {
    const metadata = rejectionMetadata('VEK_UNAVAILABLE', 'endorsement-key')
    metadata.set('grpc-retry-pushback-ms', '-1')
    const { server, service } = await pair({
      evaluate: async () => ({ code: status.UNAVAILABLE, details: 'later', metadata }),
    })
    const error = await service.evaluate([item], context()).catch((reason: Error) => reason)
    expect(error).toBeInstanceOf(AttestationUnavailable)
    expect(error).toMatchObject({
      unmade: { code: 'VEK_UNAVAILABLE', check: 'endorsement-key', outage: true },
    })
    expect(server.evaluations).toHaveLength(1)
  })

  it('a rule that nobody knows is not believed', async () => {
    const error = await refusalOf(status.INVALID_ARGUMENT, 'x', rejectionMetadata('MADE_UP', 'x'))
    expect(error).toBeInstanceOf(AttestationRefused)
  })

  it('ABORTED, Trustee’s only code, is a refusal with its text', async () => {
    const error = await refusalOf(status.ABORTED, '0: verifier failed\n1: bad signature')
    expect(error).toBeInstanceOf(AttestationRefused)
    expect((error as Error).message).toBe('0: verifier failed\n1: bad signature')
  })

  it('a policy that fails is FAILED_PRECONDITION', async () => {
    expect(await refusalOf(status.FAILED_PRECONDITION)).toBeInstanceOf(AttestationPolicyError)
  })

  it.each([
    [status.UNAUTHENTICATED, /does not let this KBS/],
    [status.PERMISSION_DENIED, /does not let this KBS/],
    [status.UNIMPLEMENTED, /does not know the call/],
    [status.RESOURCE_EXHAUSTED, /too much to do/],
    [status.INTERNAL, /failed: INTERNAL: because/],
    [status.UNKNOWN, /failed/],
    [status.UNAVAILABLE, /cannot be reached/],
  ])('%s is no fault of the guest', async (code, message) => {
    const error = await refusalOf(code)
    expect(error).toBeInstanceOf(AttestationUnavailable)
    expect((error as Error).message).toMatch(message)
  })

  it('UNAVAILABLE is asked again', async () => {
    let calls = 0
    const { service } = await pair({
      evaluate: async (request, signer) => {
        calls++
        return calls < 3
          ? { code: status.UNAVAILABLE, details: 'not yet' }
          : await answerToken(request, signer)
      },
    })
    await expect(service.evaluate([item], context())).resolves.toBeTruthy()
    expect(calls).toBe(3)
  })

  it('a write is sent once: the second sending could undo what somebody else has written meanwhile', async () => {
    const busy: Method = (_call, callback) => callback({ code: status.UNAVAILABLE, details: 'not yet' })
    const { server, service } = await pair({
      methods: { SetAttestationPolicy: busy, RegisterReferenceValue: busy },
    })
    await expect(service.setPolicy('default', 'package policy')).rejects.toThrow(/cannot be reached/)
    await expect(service.registerReferenceValues(jsonObject({}), new Date())).rejects.toThrow(
      /cannot be reached/,
    )
    expect(server.calls).toHaveLength(2)
  })

  it.each([
    [status.RESOURCE_EXHAUSTED, 'Received message larger than max (9 vs 4)'],
    [status.OUT_OF_RANGE, 'Error, decoded message length too large: found 9 bytes, the limit is: 4 bytes'],
  ])('%s is evidence that is too large: %s', async (code, details) => {
    const error = await refusalOf(code, details)
    expect(error).toBeInstanceOf(AttestationRefused)
    expect((error as Error).message).toMatch(/larger than/)
  })

  it('a message above the service’s limit is refused as such', async () => {
    const { service } = await pair({ maxMessage: 1_000 })
    const large = { ...item, evidence: 'x'.repeat(2_000) }
    await expect(service.evaluate([large], context())).rejects.toThrow(/larger than a message/)
  })

  it('an answer above our limit is no fault of the evidence', async () => {
    const { service } = await pair(
      { evaluate: async () => ({ attestation_token: 'x'.repeat(5_000) }) },
      { messageLimit: 1_000 },
    )
    await expect(service.evaluate([item], context())).rejects.toThrow(AttestationUnavailable)
  })
})

describe('a service that cannot be reached', () => {
  it('is told so', async () => {
    const { port, server } = await silentPort()
    server.close()
    const service = remoteService(new URL(`http://127.0.0.1:${port}`))
    await expect(service.evaluate([item], context())).rejects.toThrow(/cannot be reached: UNAVAILABLE/)
    await expect(service.ping()).rejects.toThrow(AttestationUnavailable)
  })

  it('holds nobody up beyond the deadline when it is slow', async () => {
    const { service } = await pair({ evaluate: async () => undefined }, { requestTimeoutMs: 300 })
    const started = performance.now()
    await expect(service.evaluate([item], context())).rejects.toThrow(
      /did not answer in time: DEADLINE_EXCEEDED/,
    )
    expect(performance.now() - started).toBeLessThan(3_000)
  })

  it('holds nobody up when it takes connections and says nothing', async () => {
    const { port } = await silentPort()
    const service = remoteService(new URL(`http://127.0.0.1:${port}`), { requestTimeoutMs: 300 })
    await expect(service.evaluate([item], context())).rejects.toThrow(AttestationUnavailable)
  })

  it('is given up where it stays silent: the next call takes another connection', async () => {
    const server = await startFakeService()
    let connections = 0
    const balancer = createServer((client) => {
      connections++
      if (connections === 1) return
      client.pipe(connect(Number(server.url.port), '127.0.0.1')).pipe(client)
    })
    await new Promise<void>((resolve) => balancer.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void balancer.close())
    const { port } = balancer.address() as AddressInfo
    const service = remoteService(new URL(`http://127.0.0.1:${port}`), { requestTimeoutMs: 1_000 })
    await expect(service.evaluate([item], context())).rejects.toThrow(/DEADLINE_EXCEEDED/)
    await expect(service.evaluate([item], context())).resolves.toBeTruthy()
  })

  it('is found again when it comes back', async () => {
    const { server, service } = await pair()
    await service.evaluate([item], context())
    server.stop()
    await expect(service.evaluate([item], context())).rejects.toThrow(AttestationUnavailable)
    await startFakeService({ port: Number(server.url.port) })
    await expect
      .poll(() => service.evaluate([item], context()).then(() => 'ok', String), { timeout: 8_000 })
      .toBe('ok')
  }, 15_000)
})

describe('TLS', () => {
  const tls = makeServerIdentity('as')
  const clientCa = makeCertificate({ name: 'client CA', ca: true })
  const client = makeCertificate({ name: 'kbs1', issuer: clientCa })
  const pem = (text: string) => Buffer.from(text)
  const serverCredentials = (mutual: boolean) =>
    ServerCredentials.createSsl(
      mutual ? pem(clientCa.pem) : null,
      [{ private_key: pem(tls.server.keyPem), cert_chain: pem(tls.server.pem) }],
      mutual,
    )

  it('checks the certificate against the configured CA', async () => {
    const { server } = await pair({ credentials: serverCredentials(false) })
    await expect(remoteService(server.url, { ca: tls.ca.pem }).ping()).resolves.toBeUndefined()
  })

  it('refuses a certificate of another CA, and says why', async () => {
    const { server } = await pair({ credentials: serverCredentials(false) })
    const stranger = remoteService(server.url, { ca: clientCa.pem })
    await expect(stranger.evaluate([item], context())).rejects.toThrow(
      /unable to verify the first certificate/,
    )
    expect(server.calls).toEqual([])
  })

  it('shows its own certificate to a service that asks for one', async () => {
    const { server } = await pair({ credentials: serverCredentials(true) })
    const identity = { key: client.keyPem, certificate: client.pem }
    await expect(remoteService(server.url, { ca: tls.ca.pem, identity }).ping()).resolves.toBeUndefined()
    await expect(remoteService(server.url, { ca: tls.ca.pem }).ping()).rejects.toThrow(AttestationUnavailable)
  })
})

describe('readiness', () => {
  it.each([
    ['SERVING', undefined],
    ['none', undefined],
    ['NOT_SERVING', /not serving/],
  ] as const)('with health %s', async (health, failure) => {
    const { service } = await pair({ health })
    if (failure === undefined) await expect(service.ping()).resolves.toBeUndefined()
    else await expect(service.ping()).rejects.toThrow(failure)
  })

  it('needs the keys, where tokens are verified', async () => {
    const { service } = await pair({}, { keys: { keys: () => [], find: async () => [] } })
    await expect(service.ping()).rejects.toThrow(/keys .* not at hand/)
  })
})

describe('administration', () => {
  it('sets a policy, and passes the refusal on', async () => {
    const seen: object[] = []
    const { service } = await pair({
      methods: {
        SetAttestationPolicy: (call, callback) => {
          seen.push(call.request)
          if (seen.length === 1) callback(null, {})
          else callback({ code: status.ABORTED, details: 'line 1: no' })
        },
      },
    })
    await service.setPolicy('default_cpu', 'package policy')
    expect(seen).toEqual([{ policy_id: 'default_cpu', policy: 'cGFja2FnZSBwb2xpY3k' }])
    await expect(service.setPolicy('default_cpu', 'x')).rejects.toThrow(new AttestationRefused('line 1: no'))
  })

  it('registers reference values and knows the names of a sample', async () => {
    const messages: unknown[] = []
    const { service } = await pair({
      methods: {
        RegisterReferenceValue: (call, callback) => {
          messages.push((call.request as { message: string }).message)
          callback(null, {})
        },
      },
    })
    const payload = encodeBase64(encodeUtf8('{"a":1,"b":2}'))
    const envelope = jsonObject({ version: '0.1.0', type: 'sample', payload })
    expect(await service.registerReferenceValues(envelope, new Date())).toEqual(['a', 'b'])
    expect(messages).toEqual([`{"version":"0.1.0","type":"sample","payload":"${payload}"}`])
  })

  it('refused reference values are the administrator’s fault', async () => {
    const { service } = await pair()
    await expect(service.registerReferenceValues(jsonObject({ type: 'fancy' }), new Date())).rejects.toThrow(
      new ReferenceValueError('refused'),
    )
  })

  it.each([
    [{}, undefined],
    [{ reference_value_results: '["1"]' }, ['1']],
    [{ reference_value_results: 'null' }, null],
  ])('reads the answer %j', async (answer, value) => {
    const { service } = await pair({
      methods: { QueryReferenceValue: (_, callback) => callback(null, answer) },
    })
    expect(await service.queryReferenceValue('x', new Date())).toEqual(value)
  })

  it('an empty answer is no JSON', async () => {
    const { service } = await pair({
      methods: { QueryReferenceValue: (_, callback) => callback(null, { reference_value_results: '' }) },
    })
    await expect(service.queryReferenceValue('x', new Date())).rejects.toThrow(AttestationUnavailable)
  })

  it('policies can neither be read nor listed', async () => {
    const { service } = await pair()
    await expect(service.getPolicy('default_cpu')).rejects.toThrow(AttestationRefused)
    await expect(service.listPolicies()).rejects.toThrow(AttestationRefused)
  })
})

it('se, whose nonce its verifier makes, cannot be negotiated', async () => {
  const { service } = await pair()
  expect(() => service.negotiate('se', undefined)).toThrow(EvidenceRejected)
  expect(service.negotiate('tdx', ['sha512'])).toEqual({ hash: 'sha384', announce: false })
})

it('publishes the keys that it verifies with', async () => {
  const signer = await createTokenSigner()
  const { service } = await pair({}, { keys: await keysOf(signer) })
  expect(service.jwks().keys).toEqual([
    expect.objectContaining({ kid: signer.kid, alg: 'ES256', use: 'sig', crv: 'P-256' }),
  ])
})

it('many calls at once share few connections', async () => {
  const { server, service } = await pair()
  await Promise.all(Array.from({ length: 150 }, () => service.evaluate([item], context())))
  expect(server.evaluations).toHaveLength(150)
})
