import { existsSync } from 'node:fs'
import { type PostgresServer, startPostgres } from '@passport-kbs/testing/postgres'
import type { RedisServer } from '@passport-kbs/testing/redis'
import { makeTokenIdentity } from '../certificates.ts'
import {
  type Administrator,
  type ConfigTable,
  createOrganisation,
  type Organisation,
  type OrganisationRedis,
} from '../organisation.ts'
import { audience, issuer } from '../trustees.ts'
import { type Balancer, startBalancer } from './balancer.ts'
import { type Link, startLink } from './link.ts'
import { type Pair, preparePair, type Replica, startAll } from './replicas.ts'

/** An installation with two replicas of each program, every pair behind a plain TCP balancer. */
export interface Replicated {
  /** What guests attest with, and where reference values and attestation policies are set. */
  readonly attestation: Entrance
  /** What guests read secrets from. In background check the same. */
  readonly resources: Entrance
  /** The attestation service, where it is a program of its own. */
  readonly services: readonly Replica[]
  /** Sessions are here. */
  readonly redis: RedisServer
  readonly balancers: readonly Balancer[]
  /** How a guest shows who it is. */
  credentials(session: { readonly cookie: string }, token: string): Readonly<Record<string, string>>
  close(): Promise<void>
}

/** One side of an installation, as its clients know it. */
export interface Entrance {
  /** Address of the balancer. */
  readonly url: string
  readonly replicas: Pair
  readonly admin: Administrator
  /** Policies, reference values or secrets are here. */
  readonly postgres: PostgresServer
}

/** Of two organisations; KBS2 knows KBS1's keys by their address, and reaches it through a line that can be cut. */
export interface ReplicatedPassportMode extends Replicated {
  readonly link: Link
}

/**
 * Where files are in memory: here processes end, not the machine, and somebody else may keep its disk busy for seconds,
 * for which an append-only file that is synchronised with each write would wait.
 */
const memoryFolder = existsSync('/dev/shm') ? '/dev/shm' : undefined

/** For the stores: short, so that one that is silent does not cost the test much time, and longer than a busy disk takes. */
export const commandTimeoutMs = 2_500
/** For a call of the attestation service. */
export const evaluationTimeoutMs = 5_000

/**
 * Passport mode. Trustee 1: KBS1 with sessions in Redis, and an attestation service over gRPC with policies and reference
 * values in PostgreSQL. Trustee 2: KBS2 with secrets and policy in a PostgreSQL of its own.
 */
export async function startReplicatedPassportMode(): Promise<ReplicatedPassportMode> {
  await using open = new AsyncDisposableStack()
  const trustee1 = open.use(await createOrganisation('trustee-1'))
  const trustee2 = open.use(await createOrganisation('trustee-2'))
  const redis = await trustee1.startRedis(memoryFolder)
  const postgres1 = open.adopt(await startPostgres(), (server) => server.stop())
  const postgres2 = open.adopt(await startPostgres(), (server) => server.stop())
  const balancer = async (addresses: readonly string[]) =>
    open.adopt(await startBalancer(addresses), (each) => each.stop())
  const services = await prepareServices(trustee1, postgres1)
  const http = await balancer(services.map(({ addresses }) => addresses[0]))
  const grpc = await balancer(services.map(({ addresses }) => addresses[1] ?? ''))
  const kbs1 = await prepareKbs1(trustee1, redis, { grpc, http })
  const toKbs1 = await balancer(kbs1.map(({ addresses }) => addresses[0]))
  const link = open.adopt(await startLink(toKbs1.address), (line) => line.close())
  const kbs2 = await prepareKbs2(trustee2, postgres2, link)
  const toKbs2 = await balancer(kbs2.map(({ addresses }) => addresses[0]))
  // the wrong way round, as may happen after a power cut: nobody may count on somebody else being there
  await startAll([...kbs2, ...kbs1, ...services])
  const balancers = [http, grpc, toKbs1, toKbs2]
  const opened = open.move()
  return {
    attestation: { url: toKbs1.url, replicas: kbs1, admin: trustee1.admin, postgres: postgres1 },
    resources: { url: toKbs2.url, replicas: kbs2, admin: trustee2.admin, postgres: postgres2 },
    services,
    redis: redis.server,
    balancers,
    link,
    credentials: (_, token) => ({ authorization: `Bearer ${token}` }),
    close: () => opened.disposeAsync(),
  }
}

async function prepareServices(trustee1: Organisation, postgres: PostgresServer): Promise<Pair> {
  const signer = await writeSigner(trustee1)
  const store = await databaseOf(postgres)
  return preparePair(trustee1, 'attestation-service', {
    listeners: 2,
    config: ([, grpc]) => ({
      profile: 'development',
      attestation_api: { grpc_sockets: [grpc] },
      attestation_service: {
        type: 'coco_as_builtin',
        attestation_token_broker: { issuer_name: issuer, audience, signer },
      },
      storage_backend: { storage_type: 'Postgres', backends: { postgres: store } },
    }),
  })
}

async function prepareKbs1(
  trustee1: Organisation,
  redis: OrganisationRedis,
  service: { readonly grpc: Balancer; readonly http: Balancer },
): Promise<Pair> {
  const sessionKey = await trustee1.write('session.key', makeTokenIdentity('session').keyPem)
  return preparePair(trustee1, 'kbs-attest', {
    config: () => ({
      profile: 'development',
      admin: trustee1.admin.config,
      attestation_service: {
        type: 'coco_as_grpc',
        as_addr: service.grpc.url,
        jwk_set_uri: `${service.http.url}/.well-known/jwks.json`,
        issuer,
        session_key_path: sessionKey,
        request_timeout_ms: evaluationTimeoutMs,
      },
      storage_backend: { storage_type: 'Redis', backends: sessionsIn(redis) },
    }),
  })
}

async function prepareKbs2(trustee2: Organisation, postgres: PostgresServer, link: Link): Promise<Pair> {
  const store = await databaseOf(postgres)
  return preparePair(trustee2, 'kbs-resource', {
    config: () => ({
      profile: 'development',
      admin: trustee2.admin.config,
      attestation_token: {
        issuers: [{ issuer, audience, jwk_sets: [`${link.url}/.well-known/jwks.json`] }],
      },
      storage_backend: { storage_type: 'Postgres', backends: { postgres: store } },
      plugins: [{ name: 'resource', storage_backend_type: 'KvStorage' }],
    }),
  })
}

/** Background check: one organisation, sessions in Redis, everything else in PostgreSQL. */
export async function startReplicatedBackgroundCheck(): Promise<Replicated> {
  await using open = new AsyncDisposableStack()
  const organisation = open.use(await createOrganisation('background-check'))
  const redis = await organisation.startRedis(memoryFolder)
  const postgres = open.adopt(await startPostgres(), (server) => server.stop())
  const signer = await writeSigner(organisation)
  const store = await databaseOf(postgres)
  const replicas = await preparePair(organisation, 'kbs', {
    config: () => ({
      profile: 'development',
      admin: organisation.admin.config,
      attestation_service: {
        type: 'coco_as_builtin',
        attestation_token_broker: { issuer_name: issuer, audience, signer },
      },
      storage_backend: { storage_type: 'Postgres', backends: { ...sessionsIn(redis), postgres: store } },
      session_storage_type: 'Redis',
      plugins: [{ name: 'resource', storage_backend_type: 'KvStorage' }],
    }),
  })
  const addresses = replicas.map((replica) => replica.addresses[0])
  const balancer = open.adopt(await startBalancer(addresses), (each) => each.stop())
  await startAll(replicas)
  const opened = open.move()
  const entrance = { url: balancer.url, replicas, admin: organisation.admin, postgres }
  return {
    attestation: entrance,
    resources: entrance,
    services: [],
    redis: redis.server,
    balancers: [balancer],
    credentials: ({ cookie }) => ({ cookie }),
    close: () => opened.disposeAsync(),
  }
}

function sessionsIn({ config }: OrganisationRedis): ConfigTable {
  const { backends } = config as { readonly backends: { readonly redis: ConfigTable } }
  return { redis: { ...backends.redis, command_timeout_ms: commandTimeoutMs } }
}

async function writeSigner(organisation: Organisation): Promise<ConfigTable> {
  const signer = makeTokenIdentity(organisation.name)
  return {
    key_path: await organisation.write('token.key', signer.keyPem),
    cert_path: await organisation.write('token-cert-chain.pem', signer.chainPem),
  }
}

async function databaseOf(server: PostgresServer): Promise<ConfigTable> {
  const { host, port, username, password } = server
  return {
    host,
    port,
    username,
    password,
    db: await server.createDatabase(),
    command_timeout_ms: commandTimeoutMs,
  }
}
