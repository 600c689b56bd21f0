import { randomBytes } from 'node:crypto'
import { createGuest, getResourceWithPassport, type Passport } from '@passport-kbs/guest-client'
import type { JsonValue } from '@passport-kbs/protocol'
import { createVirtualIntel, tdEvidence } from '@passport-kbs/testing'
import { startFakeIntelTrustAuthority } from '@passport-kbs/testing/intel-trust-authority'
import { type Administration, administer } from '../administration.ts'
import { type ConfigTable, createOrganisation, type Organisation } from '../organisation.ts'
import type { Program, ProgramOptions } from '../program.ts'
import { plainHttp } from '../trustees.ts'
import type { OpenBackEnd } from './back-end.ts'

const issuer = 'Intel Trust Authority'
const policyId = 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa'

/** Releases to guests that Intel has verified under our policy there. */
const resourcePolicy = `package policy
import rego.v1
default allow := false
allow if {
  input.iss == "${issuer}"
  input.tdx.attester_tcb_status == "UpToDate"
  some policy in input.policy_ids_matched
  policy.id == "${policyId}"
}`

/**
 * Whence guests of all rows have their passports: a KBS1 in the production profile, which has TDs verified by Intel's
 * service, so that every KBS2 is in the production profile as well.
 */
export interface SecretStage {
  attest(): Promise<Passport>
  /** The section `[attestation_token]` of a KBS2 that accepts these passports. */
  trustedBy(organisation: Organisation): Promise<ConfigTable>
  close(): Promise<void>
}

export async function openSecretStage(): Promise<SecretStage> {
  const intel = await startFakeIntelTrustAuthority()
  intel.matchingPolicies.add(policyId)
  const trustee1 = await createOrganisation('trustee-1')
  const platform = createVirtualIntel(new Date()).platform()
  const attester = {
    tee: 'tdx',
    evidence: async (reportData: Uint8Array) => tdEvidence(platform, { reportData }) as JsonValue,
  }
  const kbs1 = await trustee1.start('kbs-attest', {
    http_server: plainHttp,
    admin: trustee1.admin.config,
    attestation_service: {
      type: 'intel_ta',
      base_url: intel.url,
      api_key_file: await trustee1.write('intel.key', intel.apiKey),
      certs_file: `${intel.url}/certs`,
      policy_ids: [policyId],
      ca: await trustee1.write('intel-ca.pem', intel.ca),
    },
  })
  return {
    attest: () => createGuest({ kbsUrl: kbs1.url, attester }).attestOnce(),
    trustedBy: async (organisation) => ({
      issuers: [
        {
          issuer,
          jwk_sets: [`${intel.url}/certs`],
          ca: await organisation.write('intel-ca.pem', intel.ca),
        },
      ],
    }),
    async close() {
      await trustee1.close()
      await intel.close()
    },
  }
}

/** A KBS2 with its organisation, and what a row needs of it. */
export interface Kbs2 {
  readonly organisation: Organisation
  readonly kbs: Program
  readonly administration: Administration
  /** The members of `OpenBackEnd` that are the same for every row. */
  readonly asking: Pick<OpenBackEnd, 'kbs' | 'guest' | 'secret' | 'ask'>
}

/** @param config without the sections that every KBS2 has; what is opened for it is closed by the organisation's owner. */
export async function startKbs2(
  stage: SecretStage,
  organisation: Organisation,
  config: ConfigTable,
  {
    path,
    secret,
    ...options
  }: Omit<ProgramOptions, 'configFile'> & { readonly path: string; readonly secret: Uint8Array },
): Promise<Kbs2> {
  const kbs = await organisation.start(
    'kbs-resource',
    {
      http_server: plainHttp,
      admin: organisation.admin.config,
      attestation_token: await stage.trustedBy(organisation),
      ...config,
    },
    options,
  )
  const administration = administer(kbs.url, organisation.admin)
  await administration.setResourcePolicy(resourcePolicy)
  const asking: Kbs2['asking'] = {
    kbs,
    secret,
    guest: async () => getResourceWithPassport({ kbsUrl: kbs.url, ...(await stage.attest()), path }),
    async ask(on) {
      if (on === 'write') return administration.request('POST', `resource/${path}`, secret)
      const { token } = await stage.attest()
      return fetch(`${kbs.url}/kbs/v0/resource/${path}`, { headers: { authorization: `Bearer ${token}` } })
    },
  }
  return { organisation, kbs, administration, asking }
}

/** A secret that no row shares, some of it no text. */
export function newSecret(): Uint8Array {
  return randomBytes(64)
}
