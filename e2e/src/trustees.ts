import { type Administration, administer } from './administration.ts'
import { makeTokenIdentity, type TestIdentity, type TokenIdentity } from './certificates.ts'
import {
  type ConfigTable,
  createOrganisation,
  type Organisation,
  type OrganisationRedis,
} from './organisation.ts'
import type { Program } from './program.ts'
import { rootFiles } from './virtual-tees.ts'

/** What the two organisations have agreed on. */
export const issuer = 'https://attest.trustee-1.example'
export const audience = 'https://secrets.trustee-2.example'

/** Plain HTTP on a loopback port that the system chooses. */
export const plainHttp: ConfigTable = { sockets: ['127.0.0.1:0'], insecure_http: true }

/** An attestation provider with one KBS1. */
export interface Trustee1 {
  readonly organisation: Organisation
  readonly redis: OrganisationRedis
  /** Its token key with CA. */
  readonly signer: TokenIdentity
  readonly kbs: Program
  readonly administration: Administration
  /** The configuration, for a further replica. */
  readonly config: ConfigTable
}

/** A secret owner with one KBS2. */
export interface Trustee2 {
  readonly organisation: Organisation
  readonly redis: OrganisationRedis
  readonly kbs: Program
  readonly administration: Administration
  readonly config: ConfigTable
}

/**
 * Sets up an attestation provider: Redis, a token key under a CA of its own, and a KBS1 that trusts the virtual AMD. It
 * runs in the development profile, for the production profile knows AMD's own roots only.
 * @param options.tls certificate of its listener.
 */
export function startTrustee1(options: { readonly tls?: TestIdentity } = {}): Promise<Trustee1> {
  return opened('trustee-1', (organisation) => openTrustee1(organisation, options.tls))
}

async function openTrustee1(organisation: Organisation, tls: TestIdentity | undefined): Promise<Trustee1> {
  const redis = await organisation.startRedis()
  const signer = makeTokenIdentity('trustee-1')
  const config: ConfigTable = {
    profile: 'development',
    state_dir: organisation.path('state'),
    http_server: await listener(organisation, tls),
    admin: organisation.admin.config,
    attestation_service: await attestationService(organisation, signer),
    storage_backend: redis.config,
  }
  const kbs = await organisation.start('kbs-attest', config)
  return { organisation, redis, signer, kbs, config, administration: administer(kbs.url, organisation.admin) }
}

/**
 * Sets up a secret owner: Redis, and a KBS2.
 * @param attestationToken the section `[attestation_token]`: whose passports it accepts.
 */
export function startTrustee2(
  attestationToken: (organisation: Organisation) => Promise<ConfigTable>,
  options: { readonly profile?: 'production' | 'development' } = {},
): Promise<Trustee2> {
  return opened('trustee-2', async (organisation) => {
    const redis = await organisation.startRedis()
    const config: ConfigTable = {
      // a production KBS2 refuses what a development KBS1 has minted
      profile: options.profile ?? 'development',
      http_server: plainHttp,
      admin: organisation.admin.config,
      attestation_token: await attestationToken(organisation),
      storage_backend: redis.config,
      plugins: [{ name: 'resource', storage_backend_type: 'KvStorage' }],
    }
    const kbs = await organisation.start('kbs-resource', config)
    return { organisation, redis, kbs, config, administration: administer(kbs.url, organisation.admin) }
  })
}

/** Trusts the keys that a KBS1 publishes, handed over as a file: all that goes from Trustee 1 to Trustee 2. */
export function publishedKeysOf(kbs: Program): (organisation: Organisation) => Promise<ConfigTable> {
  return async (organisation) => {
    const keys = await (await fetch(`${kbs.url}/.well-known/jwks.json`)).text()
    const file = await organisation.write('trustee-1-keys.json', keys)
    return { issuers: [{ issuer, audience, jwk_sets: [file] }] }
  }
}

/** Background check: both halves in one process of one organisation. */
export function startBackgroundCheck(): Promise<Trustee2> {
  return opened('background-check', async (organisation) => {
    const redis = await organisation.startRedis()
    const config: ConfigTable = {
      profile: 'development',
      http_server: plainHttp,
      admin: organisation.admin.config,
      attestation_service: await attestationService(organisation, makeTokenIdentity('background-check')),
      storage_backend: redis.config,
      plugins: [{ name: 'resource', storage_backend_type: 'KvStorage' }],
    }
    const kbs = await organisation.start('kbs', config)
    return { organisation, redis, kbs, config, administration: administer(kbs.url, organisation.admin) }
  })
}

/** Makes an organisation and opens something in it; what is not opened in full is closed. */
async function opened<T>(name: string, open: (organisation: Organisation) => Promise<T>): Promise<T> {
  const organisation = await createOrganisation(name)
  try {
    return await open(organisation)
  } catch (error) {
    await organisation.close()
    throw error
  }
}

async function attestationService(organisation: Organisation, signer: TokenIdentity): Promise<ConfigTable> {
  for (const [name, bundle] of rootFiles()) await organisation.write(`roots/${name}`, bundle)
  return {
    type: 'coco_as_builtin',
    attestation_token_broker: {
      issuer_name: issuer,
      audience,
      signer: {
        key_path: await organisation.write('token.key', signer.keyPem),
        cert_path: await organisation.write('token-cert-chain.pem', signer.chainPem),
      },
    },
    verifier_config: {
      snp_verifier: {
        trusted_roots: organisation.path('roots'),
        // all certificates come with the evidence; nothing is fetched from the network
        vcek_sources: [{ type: 'OfflineStore', path: organisation.path('vcek') }],
        crl_policy: 'off',
      },
    },
  }
}

async function listener(organisation: Organisation, tls: TestIdentity | undefined): Promise<ConfigTable> {
  if (tls === undefined) return plainHttp
  return {
    sockets: ['127.0.0.1:0'],
    private_key: await organisation.write('tls.key', tls.keyPem),
    certificate: await organisation.write('tls.pem', tls.pem),
  }
}
