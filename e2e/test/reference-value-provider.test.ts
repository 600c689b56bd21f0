import { createGuest, type GuestError, type Passport, sampleAttester } from '@passport-kbs/guest-client'
import { jsonObject } from '@passport-kbs/protocol'
import { makeCertificate, makeServerIdentity } from '@passport-kbs/testing/tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Administration, administer } from '../src/administration.ts'
import { claimsOf } from '../src/handshake.ts'
import { createOrganisation, type Organisation } from '../src/organisation.ts'
import type { Program } from '../src/program.ts'
import { plainHttp } from '../src/trustees.ts'

const policy = `package policy

default executables := 33

executables := 3 if {
	input.sample.svn in query_reference_value("svn")
}

trust_claims := {"executables": executables}
`

describe('a KBS1 that verifies itself, with reference values kept by an attestation service elsewhere', () => {
  let organisation: Organisation
  let provider: Program
  let kbs: Program
  let administration: Administration
  const tls = makeServerIdentity('reference-values')
  const clients = makeCertificate({ name: 'client CA', ca: true })
  let startProvider: () => Promise<Program>

  beforeAll(async () => {
    organisation = await createOrganisation('trustee-1')
    const tlsFiles = {
      private_key: await organisation.write('rvps.key', tls.server.keyPem),
      certificate: await organisation.write('rvps.pem', tls.server.pem),
    }
    const clientCa = await organisation.write('clients.pem', clients.pem)
    let grpc = '127.0.0.1:0'
    startProvider = async () => {
      const started = await organisation.start('attestation-service', {
        profile: 'development',
        http_server: { sockets: ['127.0.0.1:0'], ...tlsFiles },
        attestation_api: {
          grpc_sockets: [grpc],
          client_ca: clientCa,
          clients: [{ name: 'kbs1', certificate_name: 'kbs1.example', scopes: ['administer'] }],
          anonymous: [],
        },
        storage_backend: {
          storage_type: 'LocalFs',
          backends: { local_fs: { dir_path: organisation.path('values') } },
        },
      })
      const line = await started.logged((each) => Array.isArray(each.grpc))
      grpc = new URL((line.grpc as string[])[0] ?? '').host
      return started
    }
    provider = await startProvider()
    const identity = makeCertificate({
      name: 'kbs1',
      issuer: clients,
      clientNames: { dns: ['kbs1.example'] },
    })
    kbs = await organisation.start('kbs-attest', {
      profile: 'development',
      http_server: plainHttp,
      admin: organisation.admin.config,
      attestation_service: {
        rvps_config: {
          type: 'GrpcRemote',
          address: `https://${grpc}`,
          ca: await organisation.write('rvps-ca.pem', tls.ca.pem),
          client_key: await organisation.write('kbs1.key', identity.keyPem),
          client_certificate: await organisation.write('kbs1.pem', identity.pem),
          request_timeout_ms: 2_000,
          cache_ms: 0,
        },
      },
    })
    administration = administer(kbs.url, organisation.admin)
    await administration.setAttestationPolicy('default_cpu', policy)
  }, 60_000)
  afterAll(() => organisation.close())

  const attest = (): Promise<Passport> =>
    createGuest({ kbsUrl: kbs.url, attester: sampleAttester() }).attestOnce()
  const executables = async () => {
    const { submods } = claimsOf((await attest()).token) as {
      submods: { cpu0: Record<string, Record<string, number>> }
    }
    return submods.cpu0['ear.trustworthiness-vector']?.executables
  }
  const readiness = async () => {
    const answer = await fetch(`${kbs.url}/readyz`)
    return { code: answer.status, ...((await answer.json()) as { checks: Record<string, string> }) }
  }

  it('appraises with what an administrator registers here, and it is there', async () => {
    expect(await executables()).toBe(33)
    await administration.setReferenceValues(jsonObject({ svn: ['1'] }))
    expect(await executables()).toBe(3)
    expect(await (await administration.request('GET', 'reference-value/svn')).json()).toEqual(['1'])
    expect((await readiness()).code).toBe(200)
  })

  it('answers 503 and is not ready while the provider is away; recovers without hands', async () => {
    await provider.stop()
    const error: GuestError = await attest().then(
      () => Promise.reject(new Error('the guest was attested')),
      (refusal: GuestError) => refusal,
    )
    expect(error).toMatchObject({ status: 503 })
    const line = await kbs.logged((each) => JSON.stringify(each).includes('the reference value provider'))
    expect(JSON.stringify(line)).toMatch(/cannot be reached|not answer in time/)
    await expect.poll(readiness, { timeout: 5_000 }).toMatchObject({
      code: 503,
      checks: { attestation: 'failing' },
    })
    provider = await startProvider()
    await expect.poll(() => executables().catch(() => undefined), { timeout: 15_000 }).toBe(3)
    await expect.poll(async () => (await readiness()).code, { timeout: 5_000 }).toBe(200)
  }, 60_000)
})
