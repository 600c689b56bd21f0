import { randomBytes } from 'node:crypto'
import { createGuest, type GuestError, getResourceWithPassport } from '@passport-kbs/guest-client'
import { presets } from '@passport-kbs/policy'
import { type JsonObject, type JsonValue, jsonObject } from '@passport-kbs/protocol'
import {
  createVirtualAzureTdxVm,
  createVirtualIntel,
  enclaveEvidence,
  tdEvidence,
} from '@passport-kbs/testing'
import {
  type FakeIntelTrustAuthority,
  makeSigningAuthorities,
  makeSigningKey,
  signIntelToken,
  startFakeIntelTrustAuthority,
} from '@passport-kbs/testing/intel-trust-authority'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { administer } from '../src/administration.ts'
import { claimsOf, headerOf } from '../src/handshake.ts'
import { type ConfigTable, createOrganisation, type Organisation } from '../src/organisation.ts'
import type { Program } from '../src/program.ts'
import { plainHttp } from '../src/trustees.ts'

const policyId = 'aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa'
const issuer = 'Intel Trust Authority'
const path = 'default/intel/key'
const secret = randomBytes(2048)
const platform = createVirtualIntel(new Date()).platform()
const tdx = {
  tee: 'tdx',
  evidence: async (reportData: Uint8Array) => tdEvidence(platform, { reportData }) as JsonValue,
}

const azure = createVirtualAzureTdxVm(platform)
const otherGuests = {
  sgx: (reportData: Uint8Array) => enclaveEvidence(platform, { reportData }) as JsonValue,
  'az-tdx-vtpm': (reportData: Uint8Array) => azure.evidence({ reportData }),
} as const

/** Affirming tiers are not in Intel's tokens, so the resource policy reads what is. */
const resourcePolicy = `package policy
import rego.v1
default allow := false
allow if {
  input.iss == "${issuer}"
  some tee in ["tdx", "sgx"]
  input[tee].attester_tcb_status == "UpToDate"
  some policy in input.policy_ids_matched
  policy.id == "${policyId}"
}`

describe('evidence verified by Intel Trust Authority', () => {
  let intel: FakeIntelTrustAuthority
  let trustee1: Organisation
  let trustee2: Organisation
  let kbs1: Program
  let kbs2: Program

  beforeAll(async () => {
    intel = await startFakeIntelTrustAuthority()
    intel.matchingPolicies.add(policyId)
    trustee1 = await createOrganisation('trustee-1')
    trustee2 = await createOrganisation('trustee-2')
    kbs1 = await trustee1.start('kbs-attest', {
      ...basics(trustee1),
      attestation_service: await intelSection(trustee1, intel),
    })
    const ca = await trustee2.write('intel-ca.pem', intel.ca)
    kbs2 = await trustee2.start('kbs-resource', {
      ...basics(trustee2),
      attestation_token: { issuers: [{ issuer, jwk_sets: [`${intel.url}/certs`], ca }] },
      plugins: [{ name: 'resource', storage_backend_type: 'KvStorage' }],
    })
    const administration = administer(kbs2.url, trustee2.admin)
    await administration.setResourcePolicy(resourcePolicy)
    await administration.setResource(path, secret)
  }, 60_000)
  afterAll(async () => {
    await trustee2?.close()
    await trustee1?.close()
    await intel?.close()
  })
  afterEach(() => {
    intel.fail(undefined)
    intel.tamper(undefined)
  })

  const attest = () => createGuest({ kbsUrl: kbs1.url, attester: tdx }).attestOnce()
  const refusal = () => attest().catch((error: GuestError) => error)

  it('is ready, in the production profile', async () => {
    for (const kbs of [kbs1, kbs2]) expect((await fetch(`${kbs.url}/readyz`)).status).toBe(200)
  })

  it('gives the guest Intel’s own token, for which KBS2 releases the secret, byte for byte', async () => {
    const passport = await attest()
    expect(headerOf(passport.token)).toMatchObject({ alg: 'PS384' })
    expect(claimsOf(passport.token)).toMatchObject({
      iss: issuer,
      tdx: { attester_runtime_data: { 'tee-pubkey': passport.teeKey.publicKey.jwk } },
    })
    const released = await getResourceWithPassport({ kbsUrl: kbs2.url, ...passport, path })
    expect(Buffer.from(released)).toEqual(secret)
  })

  it.each(['sgx', 'az-tdx-vtpm'] as const)('does the same for a guest of %s', async (tee) => {
    const attester = {
      tee,
      evidence: async (reportData: Uint8Array) => otherGuests[tee](reportData),
    }
    const passport = await createGuest({ kbsUrl: kbs1.url, attester }).attestOnce()
    const released = await getResourceWithPassport({ kbsUrl: kbs2.url, ...passport, path })
    expect(Buffer.from(released)).toEqual(secret)
  })

  it('releases nothing by a policy for tokens of another kind', async () => {
    const administration = administer(kbs2.url, trustee2.admin)
    await administration.setResourcePolicy(presets.affirming)
    const released = getResourceWithPassport({ kbsUrl: kbs2.url, ...(await attest()), path })
    await expect(released).rejects.toMatchObject({ code: 'unauthorized' })
    await administration.setResourcePolicy(resourcePolicy)
  })

  it('refuses at KBS2 a token that only claims to be Intel’s', async () => {
    const { privateKey, kid } = makeSigningKey(makeSigningAuthorities())
    const { token, teeKey } = await attest()
    const claims = jsonObject({ ...(claimsOf(token) as JsonObject) })
    for (const forged of [{ kid }, { kid: String(headerOf(token).kid) }]) {
      const header = { alg: 'PS384', ...forged }
      const passport = { token: await signIntelToken({ header, claims, key: privateKey }), teeKey }
      const released = getResourceWithPassport({ kbsUrl: kbs2.url, ...passport, path })
      await expect(released).rejects.toMatchObject({ code: 'unauthorized', status: 401 })
    }
  })

  it('serves background check as well: one program, with the session in a cookie', async () => {
    const ca = trustee1.path('intel-ca.pem')
    const kbs = await trustee1.start('kbs', {
      ...basics(trustee1),
      attestation_service: await intelSection(trustee1, intel),
      attestation_token: { issuers: [{ issuer, jwk_sets: [`${intel.url}/certs`], ca }] },
      plugins: [{ name: 'resource', storage_backend_type: 'KvStorage' }],
    })
    const administration = administer(kbs.url, trustee1.admin)
    await administration.setResourcePolicy(resourcePolicy)
    await administration.setResource(path, secret)
    const guest = createGuest({ kbsUrl: kbs.url, attester: tdx })
    expect(Buffer.from(await guest.getResource(path))).toEqual(secret)
  })

  it('publishes no keys of Intel’s as its own', async () => {
    for (const document of ['jwks.json', 'openid-configuration'])
      expect((await fetch(`${kbs1.url}/.well-known/${document}`)).status).toBe(404)
  })

  it('refuses a guest whose quote is for another session', async () => {
    const other = { ...tdx, evidence: () => tdx.evidence(randomBytes(64)) }
    const answer = createGuest({ kbsUrl: kbs1.url, attester: other }).attestOnce()
    await expect(answer).rejects.toMatchObject({ code: 'handshake-failed', status: 401 })
  })

  it('refuses a TEE that Intel does not verify at once', async () => {
    const snp = { ...tdx, tee: 'snp' }
    const answer = createGuest({ kbsUrl: kbs1.url, attester: snp }).attestOnce()
    await expect(answer).rejects.toMatchObject({ code: 'handshake-failed', status: 401 })
  })

  it('answers 503 while Intel refuses the API key, and says so in the log, without the key', async () => {
    intel.fail({ kind: 'status', status: 401, error: 'Invalid API key' })
    expect(await refusal()).toMatchObject({ code: 'handshake-failed', status: 503 })
    await kbs1.logged((line) => JSON.stringify(line).includes('the API key is refused'))
    expect(kbs1.output()).not.toContain(intel.apiKey)
  })

  it('answers 503 for a token that brings its own key', async () => {
    intel.tamper((draft) => {
      draft.header.jwk = { kty: 'RSA', n: 'AQAB', e: 'AQAB' }
    })
    expect(await refusal()).toMatchObject({ code: 'handshake-failed', status: 503 })
  })

  it('takes no policies and no reference values', async () => {
    const administration = administer(kbs1.url, trustee1.admin)
    await expect(administration.setAttestationPolicy('default_cpu', presets.affirming)).rejects.toThrow(
      /managed at Intel Trust Authority/,
    )
  })
})

async function intelSection(
  organisation: Organisation,
  intel: FakeIntelTrustAuthority,
): Promise<ConfigTable> {
  return {
    type: 'intel_ta',
    base_url: intel.url,
    api_key_file: await organisation.write('intel.key', intel.apiKey),
    certs_file: `${intel.url}/certs`,
    policy_ids: [policyId],
    ca: await organisation.write('intel-ca.pem', intel.ca),
  }
}

function basics(organisation: Organisation): ConfigTable {
  return { http_server: plainHttp, admin: organisation.admin.config }
}
