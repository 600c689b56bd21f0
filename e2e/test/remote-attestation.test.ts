import { randomBytes } from 'node:crypto'
import { createServer } from 'node:net'
import {
  createGuest,
  type GuestError,
  getResourceWithPassport,
  type Passport,
  sampleAttester,
} from '@passport-kbs/guest-client'
import { presets } from '@passport-kbs/policy'
import { makeCertificate, makeServerIdentity } from '@passport-kbs/testing/tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Administration, administer } from '../src/administration.ts'
import { attestationBody, claimsOf, postAttestation, requestChallenge } from '../src/handshake.ts'
import { type ConfigTable, createOrganisation, type Organisation } from '../src/organisation.ts'
import type { Program } from '../src/program.ts'
import { plainHttp, publishedKeysOf } from '../src/trustees.ts'

const affirming = `package policy

default executables := 33

executables := 3 if {
	input.sample.svn in query_reference_value("svn")
}

trust_claims := {"executables": executables}
`

/** Where the gRPC services of a running attestation service are. */
const grpcUrl = async (program: Program): Promise<string> => {
  const line = await program.logged((each) => Array.isArray(each.grpc))
  return (line.grpc as string[])[0] ?? ''
}

const attest = (kbs: Program): Promise<Passport> =>
  createGuest({ kbsUrl: kbs.url, attester: sampleAttester() }).attestOnce()
const refusalOf = (kbs: Program): Promise<GuestError> =>
  attest(kbs).then(
    () => Promise.reject(new Error('the guest was attested')),
    (error: GuestError) => error,
  )

describe('two replicas of KBS1 that share one attestation service', () => {
  let trustee1: Organisation
  let trustee2: Organisation
  let service: Program
  let replicas: Program[]
  let kbs2: Program
  let administration: Administration
  const tls = makeServerIdentity('attestation-service')
  const clients = makeCertificate({ name: 'client CA', ca: true })

  const remoteConfig = async (more: ConfigTable = {}): Promise<ConfigTable> => {
    const identity = makeCertificate({
      name: 'kbs1',
      issuer: clients,
      clientNames: { uris: ['spiffe://trustee-1.example/kbs1'] },
    })
    return {
      profile: 'development',
      http_server: plainHttp,
      admin: trustee1.admin.config,
      attestation_service: {
        type: 'coco_as_grpc',
        as_addr: await grpcUrl(service),
        ca: await trustee1.write('as-ca.pem', tls.ca.pem),
        client_key: await trustee1.write('kbs1.key', identity.keyPem),
        client_certificate: await trustee1.write('kbs1.pem', identity.pem),
        jwk_set_uri: `${service.url}/.well-known/jwks.json`,
        ...more,
      },
    }
  }

  beforeAll(async () => {
    trustee1 = await createOrganisation('trustee-1')
    trustee2 = await createOrganisation('trustee-2')
    service = await trustee1.start('attestation-service', {
      profile: 'development',
      http_server: {
        sockets: ['127.0.0.1:0'],
        private_key: await trustee1.write('as.key', tls.server.keyPem),
        certificate: await trustee1.write('as.pem', tls.server.pem),
      },
      attestation_api: {
        grpc_sockets: ['127.0.0.1:0'],
        client_ca: await trustee1.write('clients.pem', clients.pem),
        clients: [
          {
            name: 'kbs1',
            certificate_name: 'spiffe://trustee-1.example/kbs1',
            scopes: ['attest', 'administer'],
          },
        ],
        anonymous: [],
      },
    })
    replicas = [
      await trustee1.start('kbs-attest', await remoteConfig()),
      await trustee1.start('kbs-attest', await remoteConfig()),
    ]
    const [first] = replicas as [Program, Program]
    administration = administer(first.url, trustee1.admin)
    const keys = await publishedKeysOf(first)(trustee2)
    const jwkSets = (keys.issuers as { jwk_sets: string[] }[])[0]?.jwk_sets
    kbs2 = await trustee2.start('kbs-resource', {
      profile: 'development',
      http_server: plainHttp,
      admin: trustee2.admin.config,
      attestation_token: { issuers: [{ issuer: 'CoCo-Attestation-Service', jwk_sets: jwkSets }] },
      plugins: [{ name: 'resource', storage_backend_type: 'KvStorage' }],
    })
  }, 60_000)
  afterAll(async () => {
    await trustee2?.close()
    await trustee1?.close()
  })

  it('KBS2 releases a secret for a token of either, once policy and reference values are set through one', async () => {
    const secret = randomBytes(100)
    const resources = administer(kbs2.url, trustee2.admin)
    await resources.setResourcePolicy(presets.affirming)
    await resources.setResource('default/key/1', secret)
    await administration.setAttestationPolicy('default_cpu', affirming)
    await administration.setReferenceValues({ svn: ['1'] })
    for (const replica of replicas) {
      const passport = await attest(replica)
      const released = await getResourceWithPassport({ kbsUrl: kbs2.url, ...passport, path: 'default/key/1' })
      expect(Buffer.from(released)).toEqual(secret)
    }
  })

  it('the request id of KBS1 is in the audit trail of the attestation service', async () => {
    const { token } = await attest(replicas[0] as Program)
    const { jti } = claimsOf(token)
    const isThis = (line: Record<string, unknown>) => line.audit === true && line.jti === jti
    const mine = await (replicas[0] as Program).logged(isThis)
    const theirs = await service.logged(isThis)
    expect(theirs.requestId).toBe(mine.requestId)
    expect(theirs.subject).toBe('kbs1')
  })

  it('a KBS that does both halves accepts the tokens of the service by its keys', async () => {
    const kbs = await trustee1.start('kbs', {
      ...(await remoteConfig()),
      plugins: [{ name: 'resource', storage_backend_type: 'KvStorage' }],
    })
    const both = administer(kbs.url, trustee1.admin)
    await both.setAttestationPolicy('default_cpu', affirming)
    await both.setReferenceValues({ svn: ['1'] })
    await both.setResourcePolicy(presets.affirming)
    await both.setResource('default/key/2', 'secret')
    const guest = createGuest({ kbsUrl: kbs.url, attester: sampleAttester() })
    expect(Buffer.from(await guest.getResource('default/key/2')).toString()).toBe('secret')
  })

  it('a guest whose evidence does not hold learns the rule, and the operators of both the check', async () => {
    const kbs = replicas[0] as Program
    const { cookie, nonce } = await requestChallenge(kbs.url, 'sample')
    const other = { ...sampleAttester(), evidence: () => sampleAttester().evidence(randomBytes(48)) }
    const answer = await postAttestation(kbs.url, cookie, await attestationBody(other, nonce))
    expect(answer.status).toBe(401)
    expect(answer.text).toContain('evidence rejected: REPORT_DATA_MISMATCH')
    await kbs.logged((line) => /REPORT_DATA_MISMATCH/.test(String(line.reason)) && line.decision === 'denied')
  })

  it('a policy that does not compile is the administrator’s fault, with line and column', async () => {
    await expect(
      administration.setAttestationPolicy('default_cpu', 'package policy\n\nx := {'),
    ).rejects.toThrow(/400/)
  })

  it('without a certificate of the CA, KBS1 is told apart: 503, and the log says why', async () => {
    const stranger = makeServerIdentity('stranger').server
    const kbs = await trustee1.start(
      'kbs-attest',
      await remoteConfig({
        client_key: await trustee1.write('stranger.key', stranger.keyPem),
        client_certificate: await trustee1.write('stranger.pem', stranger.pem),
      }),
    )
    expect(await refusalOf(kbs)).toMatchObject({ status: 503 })
    expect(kbs.output()).toMatch(/does not let this KBS do that: UNAUTHENTICATED/)
  })

  it('with the wrong CA, KBS1 sends nothing: 503, and the log says why', async () => {
    const kbs = await trustee1.start(
      'kbs-attest',
      await remoteConfig({
        ca: await trustee1.write('other-ca.pem', clients.pem),
        request_timeout_ms: 3_000,
      }),
    )
    expect(await refusalOf(kbs)).toMatchObject({ status: 503 })
    expect(kbs.output()).toMatch(/unable to verify the first certificate/)
    expect((await fetch(`${kbs.url}/readyz`)).status).toBe(503)
  })
})

describe('a remote attestation service that is not well', () => {
  let organisation: Organisation
  beforeAll(async () => {
    organisation = await createOrganisation('unwell')
  })
  afterAll(() => organisation?.close())

  const service = (grpcSocket = '127.0.0.1:0', httpServer: ConfigTable = {}) =>
    organisation.start('attestation-service', {
      profile: 'development',
      state_dir: organisation.path('state'),
      http_server: { ...plainHttp, ...httpServer },
      attestation_api: { grpc_sockets: [grpcSocket] },
    })
  const kbsFor = (address: string, more: ConfigTable = {}, httpServer: ConfigTable = {}) =>
    organisation.start('kbs-attest', {
      profile: 'development',
      http_server: { ...plainHttp, ...httpServer },
      attestation_service: { type: 'coco_as_grpc', as_addr: address, ...more },
    })

  it('503 while it is down, and again a token when it is back', async () => {
    const first = await service()
    const address = await grpcUrl(first)
    const kbs = await kbsFor(address)
    await attest(kbs)
    expect((await fetch(`${kbs.url}/readyz`)).status).toBe(200)

    await first.kill()
    expect(await refusalOf(kbs)).toMatchObject({ status: 503 })
    expect(kbs.output()).toMatch(/cannot be reached: UNAVAILABLE/)
    await expect.poll(async () => (await fetch(`${kbs.url}/readyz`)).status, { timeout: 5_000 }).toBe(503)

    await service(new URL(address).host)
    await expect.poll(() => attest(kbs).then(() => 'attested', String), { timeout: 15_000 }).toBe('attested')
  }, 60_000)

  it('503 within the deadline when it does not answer', async () => {
    const silent = createServer(() => {})
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    const { port } = silent.address() as { port: number }
    const kbs = await kbsFor(`http://127.0.0.1:${port}`, { request_timeout_ms: 500 })
    const started = performance.now()
    expect(await refusalOf(kbs)).toMatchObject({ status: 503 })
    expect(performance.now() - started).toBeLessThan(5_000)
    silent.close()
  })

  it('401 for evidence that is larger than it takes; raising payload_request_size on both sides raises it', async () => {
    const large = {
      ...sampleAttester(),
      evidence: async () => ({ svn: '1', report_data: 'A'.repeat(6_000_000) }),
    }
    const post = async (kbs: Program) => {
      const { cookie, nonce } = await requestChallenge(kbs.url, 'sample')
      return await postAttestation(kbs.url, cookie, await attestationBody(large as never, nonce))
    }
    const small = await service()
    const kbs = await kbsFor(await grpcUrl(small), {}, { payload_request_size: 8 })
    const refused = await post(kbs)
    expect(refused.status).toBe(401)
    expect(kbs.output()).toMatch(/larger than a message/)

    const wide = await service('127.0.0.1:0', { payload_request_size: 8 })
    const answer = await post(await kbsFor(await grpcUrl(wide), {}, { payload_request_size: 8 }))
    // it was read, all of it: its content is what is refused
    expect(answer.text).toMatch(/evidence rejected: [A-Z_]+/)
  }, 60_000)
})
