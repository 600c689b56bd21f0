/** docs/risk-rules.md: what an operator may refuse of genuine Intel platforms. */
import { encodeHex, type JsonValue } from '@passport-kbs/protocol'
import {
  type CollateralOptions,
  createVirtualAzureTdxVm,
  enclaveEvidence,
  tdEvidence,
} from '@passport-kbs/testing'
import { describe, expect, it } from 'vitest'
import {
  createAzureTdxVtpmVerifier,
  createDcap,
  createSgxVerifier,
  createTdxVerifier,
  type Dcap,
  fixedCollateral,
  type IntelRiskRules,
  type Verifier,
} from '../../src/index.ts'
import { fmspc, intel, now, platform, root } from '../intel/virtual-machine.ts'
import { rejectionOf } from '../rejection-of.ts'

const reportData = Buffer.alloc(48, 7)
const request = { now, expectedReportData: reportData }
const vm = createVirtualAzureTdxVm(platform)
const instanceId = platform.pckFields.platform?.instanceId ?? new Uint8Array(16)
const day = 86_400_000

function dcapWith(risk: IntelRiskRules, collateral: CollateralOptions = {}): Dcap {
  return createDcap({ root, collateral: fixedCollateral(intel.collateral(collateral)), risk })
}

/** Rules that this platform keeps, all of them. Its collateral is a day old. */
const kept: IntelRiskRules = {
  refusedProducts: ['00606a000000'],
  acceptedTcbStatus: ['UpToDate', 'SWHardeningNeeded'],
  minTcbDate: '2024-01-01',
  minTcbEvaluationNumber: 20,
  allowedChipIds: ['00'.repeat(16), encodeHex(instanceId)],
  maxCertificateAgeDays: 10_000,
  maxCrlAgeDays: 1,
  maxCollateralAgeDays: 1,
}

/** One rule more strictly each, so that it alone fails. */
const broken: readonly [name: string, code: string, rule: IntelRiskRules][] = [
  ['refused-product', 'PRODUCT_REFUSED', { refusedProducts: ['00606a000000', fmspc.toUpperCase()] }],
  ['tcb-status', 'TCB_STATUS_REFUSED', { acceptedTcbStatus: ['SWHardeningNeeded'] }],
  ['tcb-date', 'TCB_DATE_TOO_OLD', { minTcbDate: '2025-01-01' }],
  ['tcb-evaluation-number', 'TCB_EVALUATION_TOO_OLD', { minTcbEvaluationNumber: 21 }],
  ['allowed-chip', 'CHIP_NOT_ALLOWED', { allowedChipIds: ['00'.repeat(16)] }],
  ['certificate-age', 'CERT_TOO_OLD', { maxCertificateAgeDays: 1 }],
  ['crl-age', 'CRL_TOO_OLD', { maxCrlAgeDays: 0 }],
  ['collateral-age', 'COLLATERAL_TOO_OLD', { maxCollateralAgeDays: 0 }],
]

const names = [
  'refused-product',
  'tcb-status',
  'tcb-date',
  'tcb-evaluation-number',
  'allowed-chip',
  'certificate-age',
  'crl-age',
  'collateral-age',
]

const platforms: readonly [
  tee: 'tdx' | 'sgx' | 'az-tdx-vtpm',
  evidence: () => JsonValue,
  make: (dcap: Dcap) => Verifier,
][] = [
  ['tdx', () => tdEvidence(platform, { reportData }), (dcap) => createTdxVerifier({ dcap })],
  ['sgx', () => enclaveEvidence(platform, { reportData }), (dcap) => createSgxVerifier({ dcap })],
  ['az-tdx-vtpm', () => vm.evidence({ reportData }), (dcap) => createAzureTdxVtpmVerifier({ dcap })],
]

describe.each(platforms)('%s', (teeName, evidence, make) => {
  const tee = teeName === 'sgx' ? 'sgx' : 'tdx'
  const verifier = (risk: IntelRiskRules) => make(dcapWith(risk, { tee }))
  const verified = async (using: Verifier, signed = evidence()) => {
    const [entry] = await using.verify(signed, request)
    if (entry === undefined) throw new Error('no entry')
    return entry
  }

  it('accepts a platform that keeps every rule, and has made every check', async () => {
    const { passed, claims } = await verified(verifier(kept))
    expect(passed).toEqual(expect.arrayContaining(names))
    expect(claims).not.toHaveProperty('ext')
  })

  it.each(broken)('rejects by %s alone: %s', async (name, code, rule) => {
    expect(await rejectionOf(verifier({ ...kept, ...rule }), evidence(), request)).toBe(`${code} at ${name}`)
  })

  it.each(broken)('only flags %s where it is told to', async (name, _code, rule) => {
    const { claims, passed } = await verified(verifier({ ...kept, ...rule, flagOnly: true }))
    expect(claims.ext).toEqual({ risk: [name] })
    expect(passed).not.toContain(name)
  })

  it('says with an empty list that the rules have found nothing, and changes no other claim', async () => {
    const signed = evidence()
    const { ext, ...claims } = (await verified(verifier({ ...kept, flagOnly: true }), signed)).claims
    expect(ext).toEqual({ risk: [] })
    expect(claims).toEqual((await verified(verifier({}), signed)).claims)
  })

  it('has no check and no claim where no rule is set', async () => {
    const using = verifier({ flagOnly: true })
    expect(using.checks.some(({ source }) => source.includes('risk'))).toBe(false)
    expect((await verified(using)).claims).not.toHaveProperty('ext')
  })
})

const verdict = (risk: IntelRiskRules, collateral: CollateralOptions = {}) =>
  rejectionOf(
    createTdxVerifier({ dcap: dcapWith(risk, collateral) }),
    tdEvidence(platform, { reportData }),
    request,
  )

describe('the list of platforms', () => {
  it('has an id in either of the two orders in which claims give it', async () => {
    const [order, reverse] = [instanceId, instanceId.toReversed()].map(encodeHex)
    expect(await verdict({ allowedChipIds: [order?.toUpperCase() ?? ''] })).toBe('accepted')
    expect(await verdict({ allowedChipIds: [reverse ?? ''] })).toBe('accepted')
  })

  it('has no platform with the Processor CA, which gives none an id', async () => {
    const machine = intel.platform({ ca: 'processor' })
    const dcap = dcapWith({ allowedChipIds: [encodeHex(instanceId)] }, { ca: 'processor' })
    const evidence = tdEvidence(machine, { reportData })
    expect(await rejectionOf(createTdxVerifier({ dcap }), evidence, request)).toBe(
      'CHIP_NOT_ALLOWED at allowed-chip',
    )
  })
})

describe('the TCB of a TD', () => {
  it('is judged as it was at launch and as it is now', async () => {
    // version 5 quotes carry both: here the third component was at 8 at launch
    const evidence = tdEvidence(platform, {
      reportData,
      version: 5,
      fields: { tcb_svn: Uint8Array.of(5, 3, 8), tee_tcb_svn2: Uint8Array.of(5, 3, 9) },
    })
    const with_ = (risk: IntelRiskRules) =>
      rejectionOf(createTdxVerifier({ dcap: dcapWith(risk) }), evidence, request)
    expect(await with_({ acceptedTcbStatus: ['UpToDate'] })).toBe('TCB_STATUS_REFUSED at tcb-status')
    expect(await with_({ acceptedTcbStatus: ['UpToDate', 'SWHardeningNeeded'] })).toBe('accepted')
  })

  it('is as old as the oldest of the levels that took part', async () => {
    const [entry] = await createTdxVerifier({ dcap: dcapWith({}) }).verify(
      tdEvidence(platform, { reportData }),
      request,
    )
    const date = String(entry?.claims.tcb_date).slice(0, 10)
    const dayAfter = new Date(Date.parse(date) + day).toISOString().slice(0, 10)
    expect(await verdict({ minTcbDate: date })).toBe('accepted')
    expect(await verdict({ minTcbDate: dayAfter })).toBe('TCB_DATE_TOO_OLD at tcb-date')
  })
})

describe('ages', () => {
  it('count from the issue of collateral and PCK list, not of the yearly list of the root', async () => {
    const issued = new Date(now.getTime() - 10 * day)
    expect(await verdict({ maxCollateralAgeDays: 10, maxCrlAgeDays: 10 }, { issued })).toBe('accepted')
    expect(await verdict({ maxCollateralAgeDays: 9 }, { issued })).toBe(
      'COLLATERAL_TOO_OLD at collateral-age',
    )
    expect(await verdict({ maxCrlAgeDays: 9 }, { issued })).toBe('CRL_TOO_OLD at crl-age')
  })
})

describe('a mistake of the operator', () => {
  it.each([
    { refusedProducts: ['Sapphire Rapids'] },
    { allowedChipIds: ['00'] },
    { minTcbDate: '1.1.2026' },
    { minTcbDate: '2026-13-01' },
  ])('is refused at start: %j', (risk) => {
    expect(() => dcapWith(risk)).toThrow(TypeError)
  })
})
