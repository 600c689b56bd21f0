import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { request } from 'node:https'
import { setTimeout as delay } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import {
  createGuest,
  getResourceWithPassport,
  type Passport,
  sampleAttester,
} from '@passport-kbs/guest-client'
import { generateTeeKeyPair } from '@passport-kbs/protocol'
import { type PostgresServer, postgresAvailable, startPostgres } from '@passport-kbs/testing/postgres'
import { type RedisServer, redisAvailable, redisCommand, startRedis } from '@passport-kbs/testing/redis'
import { SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { makeCertificate, makeServerIdentity, makeTokenIdentity } from '../src/certificates.ts'
import { attestationBody, headerOf, postAttestation, requestChallenge } from '../src/handshake.ts'
import { createOrganisation, type Organisation } from '../src/organisation.ts'
import type { Program } from '../src/program.ts'
import { audience, issuer, plainHttp } from '../src/trustees.ts'

const path = 'default/test/key'
const secret = randomBytes(64)
/** Longer than any program waits between two looks at a file. */
const noticeMs = 12_000
const patience = { timeout: 2 * noticeMs, interval: 250 }

const attestationPolicy = `package policy

trust_claims := {"executables": 3}
`

/** Two of everything that is replaced. */
interface Generation {
  readonly serverCa: ReturnType<typeof makeServerIdentity>
  readonly clientCa: ReturnType<typeof makeCertificate>
  readonly client: ReturnType<typeof makeCertificate>
  readonly signer: ReturnType<typeof makeTokenIdentity>
  readonly sessionKeyPem: string
  readonly bearer: string
  readonly redisPassword: string
  readonly postgresPassword: string
  readonly admin: ReturnType<typeof makeAdmin>
}

function makeAdmin() {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  return { privateKey, publicPem: publicKey.export({ format: 'pem', type: 'spki' }).toString() }
}

function makeGeneration(name: string): Generation {
  const clientCa = makeCertificate({ name: `${name} client CA`, ca: true })
  return {
    serverCa: makeServerIdentity(`${name} attestation service`),
    clientCa,
    client: makeCertificate({ name: 'kbs1', issuer: clientCa, clientNames: { dns: ['kbs1.example'] } }),
    signer: makeTokenIdentity(name),
    sessionKeyPem: makeCertificate({ name: 'session key' }).keyPem,
    bearer: randomBytes(32).toString('base64url'),
    redisPassword: randomBytes(16).toString('hex'),
    postgresPassword: randomBytes(16).toString('hex'),
    admin: makeAdmin(),
  }
}

/** The status of one request over a connection of its own. */
function statusOf(
  url: string,
  {
    body,
    authorization,
    ...options
  }: {
    readonly method: string
    readonly ca: string
    readonly authorization: string
    readonly body: string | Uint8Array | undefined
  },
): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { authorization, 'content-type': 'application/json' }
    const sent = request(url, { ...options, headers, agent: false }, (response) => {
      response.resume().once('end', () => resolve(response.statusCode ?? 0))
    })
    sent.once('error', reject)
    sent.end(body)
  })
}

/** Guests that come one after the other, and what went wrong for them. */
function startTraffic(visit: (count: number) => Promise<void>) {
  const failures: string[] = []
  let visits = 0
  let stopped = false
  const run = async () => {
    while (!stopped) {
      await visit(visits++).catch((error: unknown) => failures.push(String(error)))
      await delay(100)
    }
  }
  const ended = run()
  return {
    failures,
    visits: () => visits,
    async stop() {
      stopped = true
      await ended
    },
  }
}

describe.skipIf(!redisAvailable() || !postgresAvailable())(
  'every key is replaced while guests come and go',
  () => {
    const old = makeGeneration('old')
    const next = makeGeneration('next')
    const kbs2Tls = makeServerIdentity('kbs2')
    let redis: RedisServer
    let postgres: PostgresServer
    let trustee1: Organisation
    let trustee2: Organisation
    let service: Program
    let byCertificate: Program
    let byToken: Program
    let kbs2: Program
    let traffic: ReturnType<typeof startTraffic>
    /** Minted before anything was replaced. */
    let first: Passport

    const attest = (kbs: Program) => createGuest({ kbsUrl: kbs.url, attester: sampleAttester() }).attestOnce()
    const read = async (passport: Passport) =>
      Buffer.from(await getResourceWithPassport({ kbsUrl: kbs2.url, ca: kbs2Tls.ca.pem, ...passport, path }))
    const visit = async (count: number) => {
      const [challenger, attester] = count % 2 === 0 ? [byToken, byCertificate] : [byCertificate, byToken]
      const { cookie, nonce } = await requestChallenge(challenger.url, 'sample')
      const teeKey = generateTeeKeyPair()
      const { status, token, text } = await postAttestation(
        attester.url,
        cookie,
        await attestationBody(sampleAttester(), nonce, teeKey),
      )
      if (token === undefined) throw new Error(`attest: ${status} ${text}`)
      if (!(await read({ token, teeKey })).equals(secret)) throw new Error('another secret')
    }
    const adminToken = (organisation: Organisation, { admin }: Generation) =>
      new SignJWT({ iss: `${organisation.name} operator`, aud: ['KBS'], role: 'admin' })
        .setProtectedHeader({ alg: 'EdDSA' })
        .setExpirationTime('10m')
        .sign(admin.privateKey)
    /** What an administrator of KBS2 gets. */
    const administrate = async (
      generation: Generation,
      method = 'GET',
      route = 'resource-policy',
      body?: string | Uint8Array,
    ) =>
      statusOf(`${kbs2.url}/kbs/v0/${route}`, {
        method,
        ca: kbs2Tls.ca.pem,
        authorization: `Bearer ${await adminToken(trustee2, generation)}`,
        body,
      })
    /** Fingerprint of the certificate that is served there now. */
    const served = (url: string, ca: string) =>
      new Promise<string>((resolve, reject) => {
        const { hostname, port } = new URL(url)
        const socket = connectTls(
          { host: hostname, port: Number(port), ca, ALPNProtocols: ['h2', 'http/1.1'] },
          () => {
            resolve(socket.getPeerX509Certificate()?.fingerprint256 ?? '')
            socket.destroy()
          },
        )
        socket.once('error', reject)
      })
    const grpcUrl = async () =>
      String(((await service.logged((line) => Array.isArray(line.grpc))).grpc as string[])[0])

    beforeAll(async () => {
      trustee1 = await createOrganisation('trustee-1')
      trustee2 = await createOrganisation('trustee-2')
      redis = await startRedis({ directives: [`user kbs on >${old.redisPassword} ~* +@all`] })
      postgres = await startPostgres()
      await postgres.sql(`CREATE ROLE kbs LOGIN PASSWORD '${old.postgresPassword}'`)
      await postgres.sql('CREATE DATABASE kbs OWNER kbs')

      service = await trustee1.start('attestation-service', {
        profile: 'development',
        state_dir: trustee1.path('as-state'),
        http_server: {
          sockets: ['127.0.0.1:0'],
          private_key: await trustee1.write('as.key', old.serverCa.server.keyPem),
          certificate: await trustee1.write('as.pem', old.serverCa.server.pem),
        },
        attestation_api: {
          grpc_sockets: ['127.0.0.1:0'],
          client_ca: await trustee1.write('clients.pem', old.clientCa.pem),
          clients: [
            { name: 'by certificate', certificate_name: 'kbs1.example', scopes: ['attest', 'administer'] },
            { name: 'by token', token_file: await trustee1.write('accepted.token', old.bearer) },
          ],
          anonymous: [],
        },
        attestation_service: {
          type: 'coco_as_builtin',
          attestation_token_broker: {
            issuer_name: issuer,
            audience,
            signer: {
              key_path: await trustee1.write('token.key', old.signer.keyPem),
              cert_path: await trustee1.write('token-chain.pem', old.signer.chainPem),
            },
          },
        },
      })
      const remote = {
        type: 'coco_as_grpc',
        as_addr: await grpcUrl(),
        ca: await trustee1.write('as-ca.pem', old.serverCa.ca.pem),
        issuer,
        jwk_set_uri: `${service.url}/.well-known/jwks.json`,
        session_key_path: await trustee1.write('session.key', old.sessionKeyPem),
      }
      const common = {
        profile: 'development',
        http_server: plainHttp,
        admin: trustee1.admin.config,
        storage_backend: {
          storage_type: 'Redis',
          backends: {
            redis: {
              url: `redis://127.0.0.1:${redis.port}`,
              username: 'kbs',
              password_file: await trustee1.write('redis.password', old.redisPassword),
            },
          },
        },
      }
      byCertificate = await trustee1.start('kbs-attest', {
        ...common,
        attestation_service: {
          ...remote,
          client_key: await trustee1.write('client.key', old.client.keyPem),
          client_certificate: await trustee1.write('client.pem', old.client.pem),
        },
      })
      byToken = await trustee1.start('kbs-attest', {
        ...common,
        attestation_service: { ...remote, token_file: await trustee1.write('client.token', old.bearer) },
      })
      await trustee2.write('admin.pub', old.admin.publicPem)
      kbs2 = await trustee2.start('kbs-resource', {
        profile: 'development',
        http_server: {
          sockets: ['127.0.0.1:0'],
          private_key: await trustee2.write('tls.key', kbs2Tls.server.keyPem),
          certificate: await trustee2.write('tls.pem', kbs2Tls.server.pem),
        },
        admin: trustee2.admin.config,
        attestation_token: {
          issuers: [
            { issuer, audience, certs: [await trustee2.write('trustee1-ca.pem', old.signer.ca.pem)] },
          ],
        },
        storage_backend: {
          storage_type: 'Postgres',
          backends: {
            postgres: {
              host: postgres.host,
              port: postgres.port,
              db: 'kbs',
              username: 'kbs',
              password_file: await trustee2.write('postgres.password', old.postgresPassword),
            },
          },
        },
        plugins: [{ name: 'resource', storage_backend_type: 'KvStorage' }],
      })
      const base64url = (text: string) => Buffer.from(text).toString('base64url')
      const allow = 'package policy\n\ndefault allow := true\n'
      expect(
        await administrate(old, 'POST', 'resource-policy', JSON.stringify({ policy: base64url(allow) })),
      ).toBe(200)
      expect(await administrate(old, 'POST', `resource/${path}`, secret)).toBe(200)
      const policy = await fetch(`${byCertificate.url}/kbs/v0/attestation-policy`, {
        method: 'POST',
        headers: { authorization: `Bearer ${await trustee1.admin.token()}` },
        body: JSON.stringify({
          type: 'rego',
          policy_id: 'default_cpu',
          policy: base64url(attestationPolicy),
        }),
      })
      expect(policy.status).toBe(200)
      first = await attest(byToken)
      expect(await read(first)).toEqual(secret)
      traffic = startTraffic(visit)
    }, 90_000)
    afterAll(async () => {
      await traffic?.stop()
      await trustee2?.close()
      await trustee1?.close()
      await postgres?.stop()
      await redis?.stop()
    })

    it('first what checks takes both, the old and the new', async () => {
      await trustee2.write('trustee1-ca.pem', old.signer.ca.pem + next.signer.ca.pem)
      await trustee2.write('admin.pub', old.admin.publicPem + next.admin.publicPem)
      await trustee1.write('clients.pem', old.clientCa.pem + next.clientCa.pem)
      await trustee1.write('accepted.token', `${next.bearer}\n${old.bearer}\n`)
      await trustee1.write('as-ca.pem', old.serverCa.ca.pem + next.serverCa.ca.pem)
      await redisCommand(redis.port, 'acl', 'setuser', 'kbs', `>${next.redisPassword}`)
      await delay(noticeMs)
      expect(await administrate(old)).toBe(200)
      expect(await administrate(next)).toBe(200)
    }, 30_000)

    it('then what shows itself shows the new', async () => {
      const start = performance.now()
      const kbs2Next = makeCertificate({ name: 'kbs2', issuer: kbs2Tls.ca, addresses: ['127.0.0.1'] })
      await trustee2.write('tls.pem', kbs2Next.pem)
      await trustee2.write('tls.key', kbs2Next.keyPem)
      await trustee1.write('as.pem', next.serverCa.server.pem)
      await trustee1.write('as.key', next.serverCa.server.keyPem)
      await trustee1.write('token-chain.pem', next.signer.chainPem)
      await trustee1.write('token.key', next.signer.keyPem)
      await trustee1.write('client.pem', next.client.pem)
      await trustee1.write('client.key', next.client.keyPem)
      await trustee1.write('client.token', next.bearer)
      await trustee1.write('session.key', next.sessionKeyPem)
      await trustee1.write('redis.password', next.redisPassword)
      await postgres.sql(`ALTER ROLE kbs PASSWORD '${next.postgresPassword}'`)
      await trustee2.write('postgres.password', next.postgresPassword)

      const servedBefore = await served(kbs2.url, kbs2Tls.ca.pem)
      await expect.poll(() => served(kbs2.url, kbs2Tls.ca.pem), patience).not.toBe(servedBefore)
      await expect
        .poll(async () => served(await grpcUrl(), next.serverCa.ca.pem).catch(() => 'old'), patience)
        .not.toBe('old')
      // HTTP and gRPC look at the files by themselves
      await expect
        .poll(async () => served(service.url, next.serverCa.ca.pem).catch(() => 'old'), patience)
        .not.toBe('old')
      await expect
        .poll(async () => headerOf((await attest(byCertificate)).token).kid, patience)
        .not.toBe(headerOf(first.token).kid)
      await delay(Math.max(0, noticeMs - (performance.now() - start)))
    }, 60_000)

    it('passports of the former key are good as long as its CA is trusted', async () => {
      expect(await read(first)).toEqual(secret)
    })

    it('at last what checks takes the new only', async () => {
      await trustee2.write('trustee1-ca.pem', next.signer.ca.pem)
      await trustee2.write('admin.pub', next.admin.publicPem)
      await trustee1.write('clients.pem', next.clientCa.pem)
      await trustee1.write('accepted.token', next.bearer)
      await trustee1.write('as-ca.pem', next.serverCa.ca.pem)
      await redisCommand(redis.port, 'acl', 'setuser', 'kbs', `<${old.redisPassword}`)

      await expect.poll(() => administrate(old), patience).toBe(401)
      expect(await administrate(next)).toBe(200)
      await expect
        .poll(
          () =>
            read(first).then(
              () => 'released',
              () => 'refused',
            ),
          patience,
        )
        .toBe('refused')
      const challenge = (bearer: string) =>
        statusOf(`${service.url}/challenge`, {
          method: 'POST',
          ca: next.serverCa.ca.pem,
          authorization: `Bearer ${bearer}`,
          body: JSON.stringify({ tee: 'sample', tee_params: '' }),
        })
      await expect.poll(() => challenge(old.bearer), patience).toBe(401)
      expect(await challenge(next.bearer)).not.toBe(401)
    }, 60_000)

    it('no guest has noticed', async () => {
      await traffic.stop()
      expect(traffic.failures).toEqual([])
      expect(traffic.visits()).toBeGreaterThan(20)
    })

    it('no process was started again', () => {
      for (const program of [service, byCertificate, byToken, kbs2]) {
        expect(program.running()).toBe(true)
        expect(program.log().filter(({ msg }) => msg === 'listening')).toHaveLength(1)
      }
    })

    it('stores whose connections are cut are met again with the new passwords', async () => {
      await redisCommand(redis.port, 'client', 'kill', 'user', 'kbs')
      await postgres.sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'kbs'`)
      await expect.poll(() => visit(0).then(() => 'served', String), patience).toBe('served')
      await visit(1)
    }, 30_000)
  },
)
