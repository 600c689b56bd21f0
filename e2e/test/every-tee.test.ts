import { randomBytes } from 'node:crypto'
import {
  type Attester,
  type Fetch,
  type GuestError,
  type Passport,
  sampleAttester,
} from '@passport-kbs/guest-client'
import { presets } from '@passport-kbs/policy'
import { encodeHex, jsonObject } from '@passport-kbs/protocol'
import { createVirtualSnpMachine } from '@passport-kbs/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Deployment, deployments } from '../src/deployment.ts'
import { type HardwareTee, hardwareGuests, hardwareTees, joinReferenceValues } from '../src/every-tee.ts'
import { claimsOf } from '../src/handshake.ts'
import { type VirtualTee, virtualTees } from '../src/virtual-tees.ts'
import { startVirtualVendors, type VirtualVendors } from '../src/virtual-vendors.ts'

const modes = Object.keys(deployments) as (keyof typeof deployments)[]

/** Both the processor and the device have to be affirming. */
const bothDemanded = `package policy

default allow := false

allow if {
	data.plugin == "resource"
	input.submods.cpu0["ear.status"] == "affirming"
	input.submods.gpu0["ear.status"] == "affirming"
}
`

/** The default policy judges a sample device by its hardware only; this operator also vouches for what runs on it. */
const deviceVouchedFor = `package policy

default hardware := 97

trust_claims := {"executables": 3, "hardware": hardware, "configuration": 2}

hardware := 2 if input.sampledevice.svn in query_reference_value("device_svn")
`

describe.each(modes)('%s', (mode) => {
  let vendors: VirtualVendors
  let guests: Readonly<Record<HardwareTee, VirtualTee>>
  let deployment: Deployment
  const secret = randomBytes(512)

  beforeAll(async () => {
    vendors = await startVirtualVendors()
    guests = hardwareGuests(vendors)
    deployment = await deployments[mode](vendors.trustedBy)
    await deployment.resources.setResourcePolicy(presets.affirming)
    await deployment.resources.setResource('default/every/key', secret)
  }, 60_000)
  afterAll(async () => {
    await deployment?.close()
    await vendors?.close()
  })

  const read = (attester: Attester) => deployment.readSecret(attester, 'default/every/key')
  const refusalOf = (attempt: Promise<unknown>): Promise<GuestError> =>
    attempt.then(
      () => Promise.reject(new Error('nothing was refused')),
      (error: GuestError) => error,
    )

  describe('before reference values are registered', () => {
    // Intel alone judges the hardware of an enclave, so that only what runs in it is unrecognised
    const standing = (tee: HardwareTee) => (tee === 'sgx' ? 'warning' : 'contraindicated')

    it.each(hardwareTees)('%s is genuine, but not affirming and given nothing', async (tee) => {
      const passport = await deployment.attest(guests[tee].attester)
      expect(submodsOf(passport)).toMatchObject({
        cpu0: { 'ear.status': standing(tee), 'ear.veraison.annotated-evidence': { [tee]: {} } },
      })
      expect(await refusalOf(read(guests[tee].attester))).toMatchObject({
        status: 401,
        information: { detail: 'Access denied by policy' },
      })
    })
  })

  describe('once reference values are registered', () => {
    beforeAll(() => deployment.attestation.setReferenceValues(joinReferenceValues(Object.values(guests))))

    it.each(hardwareTees)('%s is affirming and decrypts the secret', async (tee) => {
      const passport = await deployment.attest(guests[tee].attester)
      expect(submodsOf(passport)).toMatchObject({ cpu0: { 'ear.status': 'affirming' } })
      expect(Buffer.from(await read(guests[tee].attester))).toEqual(secret)
    })

    it.each(hardwareTees)('%s evidence for another nonce is refused', async (tee) => {
      const { attester } = guests[tee]
      const replaying = { ...attester, evidence: () => attester.evidence(randomBytes(48)) }
      expect(await refusalOf(deployment.attest(replaying))).toMatchObject({
        code: 'handshake-failed',
        status: 401,
      })
    })

    it.each(hardwareTees)('%s evidence by the name of another TEE is refused', async (tee) => {
      const other = hardwareTees[(hardwareTees.indexOf(tee) + 1) % hardwareTees.length] ?? 'snp'
      expect(await refusalOf(deployment.attest({ ...guests[tee].attester, tee: other }))).toMatchObject({
        code: 'handshake-failed',
        status: 401,
      })
    })

    it('machines of vendors that are not trusted here are refused', async () => {
      await using strangers = await startVirtualVendors()
      const foreign = hardwareGuests(strangers)
      for (const tee of ['tdx', 'az-tdx-vtpm', 'sgx', 'csv'] as const) {
        const refusal = await refusalOf(deployment.attest(foreign[tee].attester))
        expect(refusal, tee).toMatchObject({ code: 'handshake-failed', status: 401 })
      }
    })

    it('a guest whose host may debug it stays contraindicated, measured as expected or not', async () => {
      const machine = createVirtualSnpMachine()
      await deployment.attestation.setReferenceValues(
        jsonObject({ snp_launch_measurement: [encodeHex(machine.measurement)] }),
      )
      const attester: Attester = {
        tee: 'snp',
        evidence: async (reportData) => machine.evidence({ reportData, defect: 'debug-allowed' }),
      }
      expect(submodsOf(await deployment.attest(attester))).toMatchObject({
        cpu0: {
          'ear.status': 'contraindicated',
          'ear.trustworthiness-vector': { executables: 3, hardware: 2, configuration: 96 },
        },
      })
    })
  })

  describe('composite evidence: a processor with a device', () => {
    const processorWithDevice = sampleAttester({ device: true })

    beforeAll(async () => {
      await deployment.attestation.setReferenceValues(
        jsonObject({ ...virtualTees.sample().referenceValues, device_svn: ['2'] }),
      )
      await deployment.attestation.setAttestationPolicy('default_gpu', deviceVouchedFor)
      await deployment.resources.setResourcePolicy(bothDemanded)
    })

    it('makes one passport with a submodule each, and releases the secret to both together', async () => {
      const passport = await deployment.attest(processorWithDevice)
      expect(submodsOf(passport)).toMatchObject({
        cpu0: { 'ear.status': 'affirming', 'ear.veraison.annotated-evidence': { sample: {} } },
        gpu0: { 'ear.status': 'affirming', 'ear.veraison.annotated-evidence': { sampledevice: {} } },
      })
      expect(Object.keys(submodsOf(passport))).toEqual(['cpu0', 'gpu0'])
      expect(Buffer.from(await read(processorWithDevice))).toEqual(secret)
    })

    it('denies the secret to the processor alone', async () => {
      const passport = await deployment.attest(sampleAttester())
      expect(Object.keys(submodsOf(passport))).toEqual(['cpu0'])
      expect(await refusalOf(read(sampleAttester()))).toMatchObject({
        status: 401,
        information: { detail: 'Access denied by policy' },
      })
    })

    it('denies the secret while the device is another than expected', async () => {
      const otherDevice: Attester = {
        ...processorWithDevice,
        additional: async (reportData) => deviceEvidence('9', reportData),
      }
      expect(submodsOf(await deployment.attest(otherDevice))).toMatchObject({
        cpu0: { 'ear.status': 'affirming' },
        gpu0: { 'ear.status': 'contraindicated' },
      })
      expect(await refusalOf(read(otherDevice))).toMatchObject({ status: 401 })
    })

    const refused = { code: 'handshake-failed', status: 401 }

    it('refuses device evidence that was made for another nonce', async () => {
      const replaying: Attester = {
        ...processorWithDevice,
        additional: async () => deviceEvidence('2', randomBytes(48)),
      }
      expect(await refusalOf(deployment.attest(replaying))).toMatchObject(refused)
    })

    it('refuses device evidence put in place of that which the processor has bound', async () => {
      // the device itself is right about nonce and key; only the processor's evidence names another text
      const poorDevice: Attester = {
        ...processorWithDevice,
        additional: async (reportData) => deviceEvidence('1', reportData),
      }
      const swap = changedAttestation((body) => body.replaceAll('{\\"svn\\":\\"1\\"', '{\\"svn\\":\\"2\\"'))
      expect(await refusalOf(deployment.attest(poorDevice, swap.fetch))).toMatchObject(refused)
      expect(swap.changed()).toBe(1)
    })

    it('refuses evidence from which the device has been taken away', async () => {
      const cut = changedAttestation((body) =>
        body.replace(/"additional_evidence":"(?:[^"\\]|\\.)*"/, '"additional_evidence":""'),
      )
      expect(await refusalOf(deployment.attest(processorWithDevice, cut.fetch))).toMatchObject(refused)
      expect(cut.changed()).toBe(1)
    })
  })
})

function submodsOf({ token }: Passport): Readonly<Record<string, Readonly<Record<string, unknown>>>> {
  return claimsOf(token).submods as Record<string, Record<string, unknown>>
}

function deviceEvidence(svn: string, reportData: Uint8Array) {
  const report = Buffer.from(reportData).toString('base64')
  return jsonObject({ sampledevice: jsonObject({ svn, report_data: report }) })
}

/** Someone between guest and server who changes what is posted to `/attest`. */
function changedAttestation(change: (body: string) => string): { fetch: Fetch; changed: () => number } {
  let count = 0
  const changing: Fetch = (url, init) => {
    if (!String(url).endsWith('/attest') || typeof init.body !== 'string') return fetch(url, init)
    const body = change(init.body)
    if (body !== init.body) count += 1
    return fetch(url, { ...init, body })
  }
  return { fetch: changing, changed: () => count }
}
