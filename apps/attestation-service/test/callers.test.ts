import { connect as connectHttp2 } from 'node:http2'
import { ChannelCredentials, status } from '@grpc/grpc-js'
import { makeCertificate, makeServerIdentity, type TestIdentity } from '@passport-kbs/testing/tls'
import { Agent, fetch as undiciFetch } from 'undici'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  affirmingPolicy,
  encodedText,
  openFolder,
  sampleRequest,
  startAttestationService,
  type TestService,
} from './fixtures.ts'
import { attestation, connect, health, reference, type TrusteeKbs } from './trustee-kbs.ts'

const attestToken = `attest-${'a'.repeat(40)}`
const formerToken = `former-${'c'.repeat(40)}`
const adminToken = `admin-${'b'.repeat(40)}`
const spiffe = 'spiffe://trustee-1.example/kbs1'

const tls = makeServerIdentity('attestation-service')
const clientCa = makeCertificate({ name: 'client CA', ca: true })
const client = (clientNames: { dns?: string[]; uris?: string[] }, issuer = clientCa) =>
  makeCertificate({ name: 'client', issuer, clientNames })

let folder: Awaited<ReturnType<typeof openFolder>>
let service: TestService
const open: TrusteeKbs[] = []
beforeAll(async () => {
  folder = await openFolder()
  service = await startAttestationService({
    http_server: {
      sockets: ['127.0.0.1:0'],
      insecure_http: false,
      private_key: await folder.write('tls.key', tls.server.keyPem),
      certificate: await folder.write('tls.pem', tls.server.pem),
    },
    attestation_api: {
      // anything but loopback: strangers have no scope unless the configuration gives them one
      grpc_sockets: ['0.0.0.0:0'],
      client_ca: await folder.write('client-ca.pem', clientCa.pem),
      clients: [
        { name: 'kbs1', certificate_name: 'kbs1.example', scopes: ['attest', 'administer'] },
        { name: 'mesh', certificate_name: spiffe },
        {
          name: 'attester',
          token_file: await folder.write('attest.token', `${attestToken}\n\n${formerToken}\n`),
        },
        {
          name: 'administrator',
          token_file: await folder.write('admin.token', adminToken),
          scopes: ['administer'],
        },
      ],
    },
  })
}, 30_000)
afterAll(async () => {
  for (const { client: channel } of open) channel.close()
  await service?.close()
  await folder?.close()
})

/** Connects over TLS, with or without a certificate. */
function dial(identity?: TestIdentity): TrusteeKbs {
  const [key, cert] =
    identity === undefined ? [null, null] : [identity.keyPem, identity.pem].map((pem) => Buffer.from(pem))
  const credentials = ChannelCredentials.createSsl(Buffer.from(tls.ca.pem), key ?? null, cert ?? null)
  const kbs = connect(service.grpc.replace('0.0.0.0', 'localhost'), credentials)
  open.push(kbs)
  return kbs
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const evaluation = { verification_requests: [sampleRequest()], policy_ids: ['default'] }
const policy = { policy_id: 'callers_cpu', policy: encodedText(affirmingPolicy) }

const calls = {
  evaluate: (kbs: TrusteeKbs, headers = {}) =>
    kbs.call(attestation, 'AttestationEvaluate', evaluation, headers),
  challenge: (kbs: TrusteeKbs, headers = {}) =>
    kbs.call(attestation, 'GetAttestationChallenge', { inner: { tee: 'sample', tee_params: '' } }, headers),
  setPolicy: (kbs: TrusteeKbs, headers = {}) =>
    kbs.call(attestation, 'SetAttestationPolicy', policy, headers),
  query: (kbs: TrusteeKbs, headers = {}) =>
    kbs.call(reference, 'QueryReferenceValue', { reference_value_id: 'x' }, headers),
  register: (kbs: TrusteeKbs, headers = {}) =>
    kbs.call(
      reference,
      'RegisterReferenceValue',
      { message: JSON.stringify({ type: 'sample', payload: Buffer.from('{"x":1}').toString('base64') }) },
      headers,
    ),
}
type CallName = keyof typeof calls
const attestCalls: CallName[] = ['evaluate', 'challenge']
const adminCalls: CallName[] = ['setPolicy', 'query', 'register']

async function outcome(work: Promise<unknown>): Promise<string> {
  return await work.then(
    () => 'OK',
    (error: { code: number }) => status[error.code] ?? 'unknown',
  )
}

describe('over gRPC, off loopback', () => {
  it.each([...attestCalls, ...adminCalls])('%s needs credentials', async (name) => {
    expect(await outcome(calls[name](dial()))).toBe('UNAUTHENTICATED')
  })

  it('everybody may ask for the health', async () => {
    expect(await dial().call(health, 'Check', { service: '' })).toEqual({ status: 'SERVING' })
  })

  it.each([...attestCalls, ...adminCalls])(
    'a client with both scopes may %s by its certificate',
    async (name) => {
      expect(await outcome(calls[name](dial(client({ dns: ['kbs1.example'] }))))).toBe('OK')
    },
  )

  it('a URI names a client, too', async () => {
    const kbs = dial(client({ uris: [spiffe] }))
    expect(await outcome(calls.evaluate(kbs))).toBe('OK')
    expect(await outcome(calls.setPolicy(kbs))).toBe('PERMISSION_DENIED')
  })

  it.each([
    ['of another name', client({ dns: ['kbs2.example'] })],
    ['whose name only ends like it', client({ dns: ['evil-kbs1.example'] })],
    ['with the name of the right kind of another client', client({ uris: ['kbs1.example/'] })],
    ['of another CA', client({ dns: ['kbs1.example'] }, makeCertificate({ name: 'other CA', ca: true }))],
    [
      'that has expired',
      makeCertificate({
        name: 'client',
        issuer: clientCa,
        clientNames: { dns: ['kbs1.example'] },
        notBefore: new Date(Date.now() - 2_000_000),
        notAfter: new Date(Date.now() - 1_000_000),
      }),
    ],
    ['with a name in quotes', client({ uris: ['x", DNS:kbs1.example, "y'] })],
  ])('a certificate %s is a stranger’s', async (_, identity) => {
    expect(await outcome(calls.evaluate(dial(identity)))).toBe('UNAUTHENTICATED')
  })

  it('a certificate that the CA has not signed ends the connection', async () => {
    const forger = makeCertificate({ name: clientCa.name, ca: true })
    expect(await outcome(calls.evaluate(dial(client({ dns: ['kbs1.example'] }, forger))))).toBe('UNAVAILABLE')
  })

  it('a bearer token stands for its client, with its scopes only', async () => {
    const kbs = dial()
    for (const name of attestCalls) expect(await outcome(calls[name](kbs, bearer(attestToken)))).toBe('OK')
    for (const name of adminCalls)
      expect(await outcome(calls[name](kbs, bearer(attestToken)))).toBe('PERMISSION_DENIED')
    for (const name of adminCalls) expect(await outcome(calls[name](kbs, bearer(adminToken)))).toBe('OK')
    expect(await outcome(calls.evaluate(kbs, bearer(adminToken)))).toBe('PERMISSION_DENIED')
  })

  it('each line of the file is a token of its client: the new, and the former for a while', async () => {
    expect(await outcome(calls.evaluate(dial(), bearer(formerToken)))).toBe('OK')
    expect(await outcome(calls.setPolicy(dial(), bearer(formerToken)))).toBe('PERMISSION_DENIED')
  })

  it('a wrong token is refused, whatever the certificate', async () => {
    const kbs = dial(client({ dns: ['kbs1.example'] }))
    expect(await outcome(calls.evaluate(kbs, bearer(`${attestToken}x`)))).toBe('UNAUTHENTICATED')
    expect(await outcome(calls.evaluate(kbs, { authorization: 'Basic YTpi' }))).toBe('UNAUTHENTICATED')
  })

  it('the audit trail names the client', async () => {
    await calls.setPolicy(dial(), bearer(adminToken))
    const records = service.log().filter((line) => line.audit === true && line.event === 'attestation-policy')
    expect(records.at(-1)).toMatchObject({ subject: 'administrator', policyId: 'callers_cpu' })
  })

  it('a known client may name the request', async () => {
    const requestId = crypto.randomUUID()
    await calls.evaluate(dial(), { ...bearer(attestToken), 'x-request-id': requestId })
    expect(service.log().some((line) => line.requestId === requestId && line.audit === true)).toBe(true)
  })

  it('refuses a client that does not speak TLS', async () => {
    const plain = connect(service.grpc.replace('0.0.0.0', 'localhost'))
    open.push(plain)
    expect(await outcome(calls.evaluate(plain))).toBe('UNAVAILABLE')
  })

  it('no token is in the log', () => {
    const log = JSON.stringify(service.log())
    expect(log).not.toContain(attestToken)
    expect(log).not.toContain(adminToken)
  })
})

describe('over REST', () => {
  const rest = async (path: string, options: { identity?: TestIdentity; token?: string } = {}) => {
    const { identity, token } = options
    const dispatcher = new Agent({
      connect: { ca: tls.ca.pem, ...(identity ? { key: identity.keyPem, cert: identity.pem } : {}) },
    })
    try {
      const headers = token === undefined ? {} : bearer(token)
      const answer = await undiciFetch(`${service.url}${path}`, { dispatcher, headers })
      await answer.text()
      return answer.status
    } finally {
      await dispatcher.close()
    }
  }

  it('policies need the scope "administer"', async () => {
    expect(await rest('/policy')).toBe(401)
    expect(await rest('/policy', { token: attestToken })).toBe(403)
    expect(await rest('/policy', { token: adminToken })).toBe(200)
    expect(await rest('/policy', { token: 'x'.repeat(40) })).toBe(401)
    expect(await rest('/policy', { identity: client({ dns: ['kbs1.example'] }) })).toBe(200)
    expect(await rest('/policy', { identity: client({ dns: ['kbs2.example'] }) })).toBe(401)
  })

  it('keys and health are public', async () => {
    expect(await rest('/.well-known/jwks.json')).toBe(200)
    expect(await rest('/readyz')).toBe(200)
  })
})

describe('what the configuration says of strangers', () => {
  const withAnonymous = async (anonymous: string[]) =>
    await startAttestationService({ attestation_api: { grpc_sockets: ['127.0.0.1:0'], anonymous } })

  it('may take every scope from them, on loopback too', async () => {
    const closed = await withAnonymous([])
    const kbs = connect(closed.grpc)
    expect(await outcome(calls.evaluate(kbs))).toBe('UNAUTHENTICATED')
    kbs.client.close()
    await closed.close()
  })

  it('a stranger is refused before the message is read', async () => {
    const closed = await withAnonymous([])
    const session = connectHttp2(`http://${closed.grpc}`)
    const stream = session.request({
      ':method': 'POST',
      ':path': '/attestation.AttestationService/AttestationEvaluate',
      'content-type': 'application/grpc',
      te: 'trailers',
    })
    // announces a message of a mebibyte and sends nothing of it
    stream.write(Buffer.from('0000100000', 'hex'))
    const fields = await new Promise<Record<string, unknown>>((resolve) => {
      stream.on('response', (headers) => 'grpc-status' in headers && resolve(headers))
      stream.on('trailers', resolve)
    })
    expect(Number(fields['grpc-status'])).toBe(status.UNAUTHENTICATED)
    session.destroy()
    await closed.close()
  })

  it('may let them have evidence evaluated, but not administrate', async () => {
    const half = await withAnonymous(['attest'])
    const kbs = connect(half.grpc)
    expect(await outcome(calls.evaluate(kbs))).toBe('OK')
    expect(await outcome(calls.setPolicy(kbs))).toBe('UNAUTHENTICATED')
    kbs.client.close()
    await half.close()
  })
})

describe('a configuration that cannot be meant does not start', () => {
  it.each([
    ['a client without credentials', { clients: [{ name: 'x' }] }, /exactly one of/],
    ['a certificate without CA', { clients: [{ name: 'x', certificate_name: 'x' }] }, /client_ca/],
    ['a certificate without TLS', { clients: [{ name: 'x', certificate_name: 'x' }] }, /insecure_http/],
    ['a missing token file', { clients: [{ name: 'x', token_file: '/nowhere/token' }] }, /cannot be read/],
    ['a missing CA file', { client_ca: '/nowhere/ca.pem' }, /client_ca/],
    [
      'tokens over plain HTTP off loopback',
      { grpc_sockets: ['0.0.0.0:0'], clients: [{ name: 'x', token_file: '/nowhere/token' }] },
      /unencrypted/,
    ],
  ])('%s', async (_, api, message) => {
    await expect(startAttestationService({ attestation_api: api })).rejects.toThrow(message)
  })

  it('a token that could be guessed', async () => {
    const file = await folder.write('short.token', 'short')
    const api = { clients: [{ name: 'x', token_file: file }] }
    await expect(startAttestationService({ attestation_api: api })).rejects.toThrow(/holds no bearer token/)
  })

  it('strangers as administrators, off loopback in production', async () => {
    const api = { grpc_sockets: ['0.0.0.0:0'], anonymous: ['administer'] }
    await expect(startAttestationService({ profile: 'production', attestation_api: api })).rejects.toThrow(
      /lets anyone/,
    )
  })
})
