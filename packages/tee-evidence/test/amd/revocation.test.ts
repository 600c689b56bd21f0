/** Spec 03 §4.6 and §11 row 23: revocation of AMD's intermediates. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  createVirtualAzureSnpVm,
  createVirtualSnpMachine,
  currentCrl,
  type FakeKds,
  startFakeKds,
  virtualCrl,
} from '@passport-kbs/testing'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  type CrlPolicy,
  createAzureSnpVtpmVerifier,
  createKdsSource,
  createOfflineStoreSource,
  createSnpVerifier,
} from '../../src/index.ts'
import { rejectionOf } from '../rejection-of.ts'

const now = new Date('2026-03-01T12:00:00Z')
const day = 24 * 60 * 60 * 1000
const reportData = Buffer.alloc(48, 7)
const request = { now, expectedReportData: reportData }
const vcekMachine = createVirtualSnpMachine({ generation: 'Milan', now })
const vlekMachine = createVirtualSnpMachine({ generation: 'Milan', endorsement: 'vlek', now })
const revoked = 'CERT_REVOKED at certificate-revocation'
const unavailable = 'CRL_UNAVAILABLE at certificate-revocation'
const outage = `${unavailable}, an outage`

let kds: FakeKds
beforeAll(async () => {
  kds = await startFakeKds({ machines: [vcekMachine] })
})
afterAll(() => kds.close())
beforeEach(() => {
  kds.fail(undefined)
  kds.setCrl('Milan', 'vcek', undefined)
  kds.setCrl('Milan', 'vlek', undefined)
})

function verdict(crlPolicy: CrlPolicy, machine = vcekMachine): Promise<string> {
  const endorsementSources = [createKdsSource({ baseUrl: kds.url, timeout: 500 })]
  const verifier = createSnpVerifier({ roots: machine.roots, endorsementSources, policy: { crlPolicy } })
  return rejectionOf(verifier, machine.evidence({ reportData }), request)
}

async function verdicts(): Promise<Record<CrlPolicy, string>> {
  return { off: await verdict('off'), soft: await verdict('soft'), require: await verdict('require') }
}

describe('a list that is fresh and signed by the ARK', () => {
  it('accepts an intermediate that it does not name', async () => {
    kds.setCrl('Milan', 'vcek', currentCrl('Milan', now))
    expect(await verdicts()).toEqual({ off: 'accepted', soft: 'accepted', require: 'accepted' })
  })

  it('rejects the ASK that it names, unless the policy is off', async () => {
    kds.setCrl('Milan', 'vcek', currentCrl('Milan', now, ['ask']))
    expect(await verdicts()).toEqual({ off: 'accepted', soft: revoked, require: revoked })
  })

  it('names the ASVK in the list for VLEKs', async () => {
    kds.setCrl('Milan', 'vlek', currentCrl('Milan', now, ['asvk']))
    expect(await verdict('soft', vlekMachine)).toBe(revoked)
    expect(await verdict('soft')).toBe('accepted')
  })

  it('is fetched once and used until its nextUpdate', async () => {
    kds.setCrl('Milan', 'vcek', currentCrl('Milan', now))
    const endorsementSources = [createKdsSource({ baseUrl: kds.url })]
    const verifier = createSnpVerifier({
      roots: vcekMachine.roots,
      endorsementSources,
      policy: { crlPolicy: 'require' },
    })
    const evidence = vcekMachine.evidence({ reportData })
    const before = kds.requests.length
    const at = (time: Date) => rejectionOf(verifier, evidence, { now: time })
    expect(await at(now)).toBe('accepted')
    expect(await at(new Date(now.getTime() + 29 * day))).toBe('accepted')
    expect(kds.requests.length - before).toBe(1)
    const later = new Date(now.getTime() + 31 * day)
    kds.setCrl('Milan', 'vcek', currentCrl('Milan', later, ['ask']))
    expect(await at(later)).toBe(revoked)
  })
})

const thisUpdate = new Date(now.getTime() - day)
const nextUpdate = new Date(now.getTime() + day)
const listed = { generation: 'Milan', revoked: ['ask'] } as const

describe('a list that cannot be used is no list', () => {
  it.each([
    ['expired', virtualCrl({ ...listed, thisUpdate: new Date(0), nextUpdate: thisUpdate })],
    [
      'from the future',
      virtualCrl({ ...listed, thisUpdate: nextUpdate, nextUpdate: new Date(now.getTime() + 9 * day) }),
    ],
    ['without nextUpdate', virtualCrl({ ...listed, thisUpdate })],
    ['signed by the ASK', virtualCrl({ ...listed, thisUpdate, nextUpdate, signedBy: 'ask' })],
    ['of another product', currentCrl('Genoa', now, ['ask'])],
    ['not DER', Buffer.from('<html>')],
    ['of 50 MB', Buffer.alloc(50_000_000, 0x30)],
  ])('%s', async (_name, crl) => {
    kds.setCrl('Milan', 'vcek', crl)
    expect(await verdicts()).toEqual({ off: 'accepted', soft: 'accepted', require: outage })
  })

  it('of a KDS that is down', async () => {
    kds.fail({ kind: 'status', status: 500 })
    expect(await verdicts()).toEqual({ off: 'accepted', soft: 'accepted', require: outage })
  })

  it('absent', async () => {
    expect(await verdicts()).toEqual({ off: 'accepted', soft: 'accepted', require: unavailable })
  })

  it('no source at all', async () => {
    const verifier = createSnpVerifier({ roots: vcekMachine.roots, policy: { crlPolicy: 'require' } })
    expect(await rejectionOf(verifier, vcekMachine.evidence({ reportData }), request)).toBe(unavailable)
  })
})

describe('a source that does not answer', () => {
  it('delays one guest with the policy soft, and none after it', async () => {
    kds.fail({ kind: 'hang' })
    const endorsementSources = [
      createKdsSource({ baseUrl: kds.url, timeout: 300, clock: () => new Date(Date.now() * 1000) }),
    ]
    const policy = { crlPolicy: 'soft' } as const
    const verifier = createSnpVerifier({ roots: vcekMachine.roots, endorsementSources, policy })
    const evidence = vcekMachine.evidence({ reportData })
    const timed = async () => {
      const begin = performance.now()
      expect(await rejectionOf(verifier, evidence, request)).toBe('accepted')
      return performance.now() - begin
    }
    expect(await timed()).toBeGreaterThan(250)
    expect(await timed()).toBeLessThan(200)
    kds.fail(undefined)
    kds.setCrl('Milan', 'vcek', currentCrl('Milan', now, ['ask']))
    await expect.poll(() => rejectionOf(verifier, evidence, request), { timeout: 3000 }).toBe(revoked)
  })
})

describe('an offline store', () => {
  it('keeps lists under crl/<generation>/', async () => {
    const path = await mkdtemp(join(tmpdir(), 'crl-store-'))
    await mkdir(join(path, 'crl/Milan'), { recursive: true })
    await writeFile(join(path, 'crl/Milan/vcek.crl'), currentCrl('Milan', now, ['ask']))
    const verifier = createSnpVerifier({
      roots: vcekMachine.roots,
      endorsementSources: [createOfflineStoreSource({ path })],
      policy: { crlPolicy: 'soft' },
    })
    expect(await rejectionOf(verifier, vcekMachine.evidence({ reportData }), request)).toBe(revoked)
    await rm(path, { recursive: true })
  })
})

describe('az-snp-vtpm', () => {
  it('looks at the same lists', async () => {
    const vm = createVirtualAzureSnpVm({ generation: 'Milan', now })
    kds.setCrl('Milan', 'vcek', currentCrl('Milan', now, ['ask']))
    const verifier = createAzureSnpVtpmVerifier({
      roots: vm.roots,
      endorsementSources: [createKdsSource({ baseUrl: kds.url })],
      policy: { crlPolicy: 'soft' },
    })
    expect(await rejectionOf(verifier, vm.evidence({ reportData }), request)).toBe(revoked)
  })
})

describe('evidence that fails anything else', () => {
  it('does not cause a request', async () => {
    const endorsementSources = [createKdsSource({ baseUrl: kds.url })]
    const verifier = createSnpVerifier({
      roots: vcekMachine.roots,
      endorsementSources,
      policy: { crlPolicy: 'require' },
    })
    const before = kds.requests.length
    const forged = vcekMachine.evidence({ reportData, defect: 'tampered-measurement' })
    expect(await rejectionOf(verifier, forged, request)).toBe('REPORT_SIGNATURE_INVALID at report-signature')
    expect(kds.requests.length).toBe(before)
  })
})
