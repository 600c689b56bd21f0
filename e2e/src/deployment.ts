import {
  type Attester,
  createGuest,
  type Fetch,
  getResourceWithPassport,
  type Passport,
} from '@passport-kbs/guest-client'
import { type Administration, administer } from './administration.ts'
import { makeTokenIdentity } from './certificates.ts'
import { type ConfigTable, createOrganisation, type Organisation } from './organisation.ts'
import { audience, issuer, plainHttp, publishedKeysOf } from './trustees.ts'

/** What a guest and its administrators see of an installation, whether it is one program or two. */
export interface Deployment {
  /** Where reference values and attestation policies are set. */
  readonly attestation: Administration
  /** Where secrets and resource policies are set. */
  readonly resources: Administration
  /** One handshake. */
  attest(attester: Attester, fetch?: Fetch): Promise<Passport>
  /** A handshake and the secret, as the guest of this mode asks for it. */
  readSecret(attester: Attester, path: string): Promise<Uint8Array>
  close(): Promise<void>
}

/** How the installation's verifiers are configured; files go to the organisation's folder. */
export type VerifierConfigOf = (organisation: Organisation) => Promise<ConfigTable>

/** Stores are in memory, for nothing here outlives a process. */
export const deployments = {
  'passport mode': startPassportMode,
  'background check': startBackgroundCheckMode,
} as const satisfies Readonly<Record<string, (verifiers: VerifierConfigOf) => Promise<Deployment>>>

/** KBS1 and KBS2 as processes of two organisations; KBS2 knows KBS1's published keys and nothing else. */
async function startPassportMode(verifiers: VerifierConfigOf): Promise<Deployment> {
  const trustee1 = await createOrganisation('trustee-1')
  const trustee2 = await createOrganisation('trustee-2')
  const kbs1 = await trustee1.start('kbs-attest', {
    ...(await basics(trustee1)),
    attestation_service: await attestationService(trustee1, verifiers),
  })
  const kbs2 = await trustee2.start('kbs-resource', {
    ...(await basics(trustee2)),
    attestation_token: await publishedKeysOf(kbs1)(trustee2),
    plugins: [{ name: 'resource', storage_backend_type: 'KvStorage' }],
  })
  const attest: Deployment['attest'] = (attester, fetch) =>
    createGuest({ kbsUrl: kbs1.url, attester, ...(fetch === undefined ? {} : { fetch }) }).attestOnce()
  return {
    attestation: administer(kbs1.url, trustee1.admin),
    resources: administer(kbs2.url, trustee2.admin),
    attest,
    readSecret: async (attester, path) =>
      getResourceWithPassport({ kbsUrl: kbs2.url, ...(await attest(attester)), path }),
    close: async () => {
      await trustee2.close()
      await trustee1.close()
    },
  }
}

/** Both halves in one process, with the session in a cookie. */
async function startBackgroundCheckMode(verifiers: VerifierConfigOf): Promise<Deployment> {
  const organisation = await createOrganisation('background-check')
  const kbs = await organisation.start('kbs', {
    ...(await basics(organisation)),
    attestation_service: await attestationService(organisation, verifiers),
    plugins: [{ name: 'resource', storage_backend_type: 'KvStorage' }],
  })
  const administration = administer(kbs.url, organisation.admin)
  const guest = (attester: Attester, fetch?: Fetch) =>
    createGuest({ kbsUrl: kbs.url, attester, ...(fetch === undefined ? {} : { fetch }) })
  return {
    attestation: administration,
    resources: administration,
    attest: (attester, fetch) => guest(attester, fetch).attestOnce(),
    readSecret: (attester, path) => guest(attester).getResource(path),
    close: () => organisation.close(),
  }
}

/** The development profile, for the production profile knows the vendors' own roots only. */
async function basics(organisation: Organisation): Promise<ConfigTable> {
  return { profile: 'development', http_server: plainHttp, admin: organisation.admin.config }
}

async function attestationService(
  organisation: Organisation,
  verifiers: VerifierConfigOf,
): Promise<ConfigTable> {
  const signer = makeTokenIdentity(organisation.name)
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
    verifier_config: await verifiers(organisation),
  }
}
