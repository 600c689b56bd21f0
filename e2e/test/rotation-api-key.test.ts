import { createGuest, type GuestError } from '@passport-kbs/guest-client'
import type { JsonValue } from '@passport-kbs/protocol'
import { createVirtualIntel, tdEvidence } from '@passport-kbs/testing'
import {
  type FakeIntelTrustAuthority,
  startFakeIntelTrustAuthority,
} from '@passport-kbs/testing/intel-trust-authority'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createOrganisation, type Organisation } from '../src/organisation.ts'
import type { Program } from '../src/program.ts'
import { plainHttp } from '../src/trustees.ts'

describe('Intel Trust Authority’s API key', () => {
  let intel: FakeIntelTrustAuthority
  let organisation: Organisation
  let kbs: Program
  const platform = createVirtualIntel(new Date()).platform()
  const attester = {
    tee: 'tdx',
    evidence: async (reportData: Uint8Array) => tdEvidence(platform, { reportData }) as JsonValue,
  }
  const outcome = () =>
    createGuest({ kbsUrl: kbs.url, attester })
      .attestOnce()
      .then(
        () => 200,
        (error: GuestError) => error.status,
      )

  beforeAll(async () => {
    intel = await startFakeIntelTrustAuthority()
    organisation = await createOrganisation('trustee-1')
    kbs = await organisation.start('kbs-attest', {
      http_server: plainHttp,
      admin: organisation.admin.config,
      attestation_service: {
        type: 'intel_ta',
        base_url: intel.url,
        // one that has been removed at Intel
        api_key_file: await organisation.write('intel.key', 'd'.repeat(intel.apiKey.length)),
        certs_file: `${intel.url}/certs`,
        ca: await organisation.write('intel-ca.pem', intel.ca),
      },
    })
  }, 60_000)
  afterAll(async () => {
    await organisation?.close()
    await intel?.close()
  })

  it('is read again, so that a new one ends the refusals without a restart', async () => {
    expect(await outcome()).toBe(503)
    await organisation.write('intel.key', intel.apiKey)
    await expect.poll(outcome, { timeout: 15_000, interval: 500 }).toBe(200)
    expect(kbs.log().filter(({ msg }) => msg === 'listening')).toHaveLength(1)
  }, 30_000)
})
