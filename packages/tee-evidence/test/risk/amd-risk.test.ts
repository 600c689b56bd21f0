/** docs/risk-rules.md: what an operator may refuse of genuine AMD platforms. */
import { encodeHex, type JsonObject } from '@passport-kbs/protocol'
import {
  createVirtualAzureSnpVm,
  createVirtualSnpMachine,
  type VirtualSnpMachine,
  virtualCrl,
} from '@passport-kbs/testing'
import { describe, expect, it } from 'vitest'
import {
  type AmdRiskRules,
  createAzureSnpVtpmVerifier,
  createSnpVerifier,
  type EndorsementSource,
  EndorsementUnavailable,
  type SnpPolicy,
  type Verifier,
} from '../../src/index.ts'
import { rejectionOf } from '../rejection-of.ts'

const day = 86_400_000
const now = new Date('2026-03-01T12:00:00Z')
const ago = (days: number) => new Date(now.getTime() - days * day)
const reportData = Buffer.alloc(48, 7)
const request = { now, expectedReportData: reportData }
const machine = createVirtualSnpMachine({ generation: 'Milan', now })
const turin = createVirtualSnpMachine({ generation: 'Turin', now })
const vlek = createVirtualSnpMachine({ generation: 'Milan', endorsement: 'vlek', now })
const vm = createVirtualAzureSnpVm({ generation: 'Milan', now })

/** A source that has CRLs only. */
interface CrlSource extends EndorsementSource {
  /** When its list was issued; undefined: it has none. */
  issued: Date | undefined
  /** How often it was asked. */
  asked: number
}

function crlSource(issued: Date | undefined): CrlSource {
  return {
    name: 'lists',
    issued,
    asked: 0,
    // biome-ignore lint/correctness/useYield: it has no certificates
    async *vceks() {
      throw new EndorsementUnavailable('no certificates here')
    },
    async crl({ generation }) {
      this.asked += 1
      if (this.issued === undefined) throw new EndorsementUnavailable('no list')
      return virtualCrl({ generation, thisUpdate: this.issued, nextUpdate: ago(-365) })
    },
  }
}

const { bootloader, snp, microcode } = machine.tcb

/** Rules that these machines keep, all of them. */
const kept = (chipId: Uint8Array): AmdRiskRules => ({
  refusedProducts: ['Genoa', 'Turin'],
  minTcb: { Milan: { bootloader, snp, microcode }, Genoa: { microcode: 255 } },
  allowedChipIds: ['00'.repeat(64), encodeHex(chipId)],
  maxCertificateAgeDays: 10_000,
  maxCrlAgeDays: 30,
})

/** One rule more strictly each, so that it alone fails. */
const broken: readonly [name: string, code: string, rule: AmdRiskRules][] = [
  ['refused-product', 'PRODUCT_REFUSED', { refusedProducts: ['Turin', 'Milan'] }],
  ['minimum-tcb', 'TCB_BELOW_MINIMUM', { minTcb: { Milan: { bootloader: bootloader + 1 } } }],
  ['minimum-tcb', 'TCB_BELOW_MINIMUM', { minTcb: { Milan: { tee: machine.tcb.tee + 1 } } }],
  ['minimum-tcb', 'TCB_BELOW_MINIMUM', { minTcb: { Milan: { snp: snp + 1 } } }],
  ['minimum-tcb', 'TCB_BELOW_MINIMUM', { minTcb: { Milan: { microcode: microcode + 1 } } }],
  // Milan has no such component: a minimum that cannot be reached is not reached
  ['minimum-tcb', 'TCB_BELOW_MINIMUM', { minTcb: { Milan: { fmc: 0 } } }],
  ['allowed-chip', 'CHIP_NOT_ALLOWED', { allowedChipIds: ['11'.repeat(64)] }],
  ['allowed-chip', 'CHIP_NOT_ALLOWED', { allowedChipIds: [] }],
  ['certificate-age', 'CERT_TOO_OLD', { maxCertificateAgeDays: 0 }],
  ['crl-age', 'CRL_TOO_OLD', { maxCrlAgeDays: 4 }],
]

const platforms: readonly [
  tee: string,
  evidence: () => JsonObject,
  chipId: Uint8Array,
  make: (policy: SnpPolicy, source: EndorsementSource) => Verifier,
][] = [
  [
    'snp',
    () => machine.evidence({ reportData }),
    machine.chipId,
    (policy, source) => createSnpVerifier({ roots: machine.roots, endorsementSources: [source], policy }),
  ],
  [
    'az-snp-vtpm',
    () => vm.evidence({ reportData }),
    vm.machine.chipId,
    (policy, source) => createAzureSnpVtpmVerifier({ roots: vm.roots, endorsementSources: [source], policy }),
  ],
]

describe.each(platforms)('%s', (_tee, evidence, chipId, make) => {
  const verifier = (risk: AmdRiskRules, policy: SnpPolicy = {}) =>
    make({ crlPolicy: 'require', ...policy, risk }, crlSource(ago(5)))
  const verified = async (using: Verifier) => {
    const [entry] = await using.verify(evidence(), request)
    if (entry === undefined) throw new Error('no entry')
    return entry
  }

  it('accepts a platform that keeps every rule, and has made every check', async () => {
    const using = verifier(kept(chipId))
    const { passed, claims } = await verified(using)
    expect(passed.slice(-5)).toEqual([
      'refused-product',
      'minimum-tcb',
      'allowed-chip',
      'certificate-age',
      'crl-age',
    ])
    expect(using.checks.map(({ name }) => name)).toEqual(expect.arrayContaining([...passed]))
    expect(claims).not.toHaveProperty('ext')
  })

  it.each(broken)('rejects by %s alone: %s', async (name, code, rule) => {
    const using = verifier({ ...kept(chipId), ...rule })
    expect(await rejectionOf(using, evidence(), request)).toBe(`${code} at ${name}`)
  })

  it.each(broken)('only flags %s where it is told to', async (name, _code, rule) => {
    const { claims, passed } = await verified(verifier({ ...kept(chipId), ...rule, flagOnly: true }))
    expect(claims.ext).toEqual({ risk: [name] })
    expect(passed).not.toContain(name)
  })

  it('flags all that it finds, beside what is in the claim `ext` already', async () => {
    const { claims } = await verified(
      verifier({ refusedProducts: ['Milan'], maxCrlAgeDays: 1, flagOnly: true }, { extendedClaims: true }),
    )
    expect(claims.ext).toMatchObject({ generation: 'Milan', risk: ['refused-product', 'crl-age'] })
  })

  it('says with an empty list that the rules have found nothing', async () => {
    const { claims } = await verified(verifier({ ...kept(chipId), flagOnly: true }))
    expect(claims.ext).toEqual({ risk: [] })
  })

  it('changes no other claim', async () => {
    const { ext: _ext, ...flagged } = (await verified(verifier({ ...kept(chipId), flagOnly: true }))).claims
    expect(flagged).toEqual((await verified(verifier({}))).claims)
  })

  it('has no check and no claim where no rule is set', async () => {
    const using = verifier({ flagOnly: true })
    expect(using.checks.some(({ source }) => source.includes('risk'))).toBe(false)
    expect((await verified(using)).claims).not.toHaveProperty('ext')
  })

  it('does not look at evidence that is not genuine, flagging or not', async () => {
    const other = { now, expectedReportData: Buffer.alloc(48, 8) }
    const using = verifier({ refusedProducts: ['Milan'], flagOnly: true })
    expect(await rejectionOf(using, evidence(), other)).not.toMatch(/accepted|refused-product/)
  })
})

describe('the list of chips', () => {
  const verdict = (using: VirtualSnpMachine, allowedChipIds: string[], allowMaskedChipId = false) =>
    rejectionOf(
      createSnpVerifier({ roots: using.roots, policy: { allowMaskedChipId, risk: { allowedChipIds } } }),
      using.evidence({ reportData }),
      request,
    )

  it('has an id in either case, of a Turin with or without its zeros', async () => {
    expect(await verdict(machine, [encodeHex(machine.chipId).toUpperCase()])).toBe('accepted')
    expect(await verdict(turin, [encodeHex(turin.chipId)])).toBe('accepted')
    expect(await verdict(turin, [encodeHex(turin.chipId.subarray(0, 8))])).toBe('accepted')
  })

  it('never has a report without chip id, as hosts with VLEKs give it', async () => {
    expect(await verdict(vlek, ['00'.repeat(64)], true)).toBe('CHIP_NOT_ALLOWED at allowed-chip')
  })

  it('is refused at start when an entry cannot be a chip id', () => {
    const make = (id: string) => createSnpVerifier({ policy: { risk: { allowedChipIds: [id] } } })
    for (const id of ['', 'xyz', '00', '00'.repeat(63)]) expect(() => make(id)).toThrow(TypeError)
  })
})

describe('the minimum TCB', () => {
  it('looks at the component that only Turin has', async () => {
    const verdict = (fmc: number) =>
      rejectionOf(
        createSnpVerifier({ roots: turin.roots, policy: { risk: { minTcb: { Turin: { fmc } } } } }),
        turin.evidence({ reportData }),
        request,
      )
    expect(await verdict(1)).toBe('accepted')
    expect(await verdict(2)).toBe('TCB_BELOW_MINIMUM at minimum-tcb')
  })
})

describe('the age of the revocation list', () => {
  const verifierWith = (source: EndorsementSource, crlPolicy: SnpPolicy['crlPolicy'] = 'soft') =>
    createSnpVerifier({
      roots: machine.roots,
      endorsementSources: [source],
      policy: { ...(crlPolicy === undefined ? {} : { crlPolicy }), risk: { maxCrlAgeDays: 30 } },
    })
  const at = (using: Verifier, hours: number) =>
    rejectionOf(using, machine.evidence({ reportData }), {
      ...request,
      now: new Date(now.getTime() + hours * 3_600_000),
    })
  const old = 'CRL_TOO_OLD at crl-age'

  it('is too great where there is no list, or none is read', async () => {
    expect(await at(verifierWith(crlSource(undefined)), 0)).toBe(old)
    expect(await at(verifierWith(crlSource(ago(1)), 'off'), 0)).toBe(old)
  })

  it('is great enough on the last day, and too great after it', async () => {
    const source = crlSource(ago(30))
    const using = verifierWith(source)
    expect(await at(using, 0)).toBe('accepted')
    expect(await at(using, 1)).toBe(old)
  })

  it('makes the verifier look for a younger list, once an hour, although the former is valid', async () => {
    const source = crlSource(ago(31))
    const using = verifierWith(source)
    expect(await at(using, 0)).toBe(old)
    source.issued = ago(1)
    expect(await at(using, 0.5)).toBe(old)
    expect(source.asked).toBe(1)
    expect(await at(using, 1)).toBe('accepted')
    expect(await at(using, 2)).toBe('accepted')
    expect(source.asked).toBe(2)
  })

  it('does not lose what an old list revokes while no younger one can be had', async () => {
    const source = crlSource(ago(31))
    const using = createSnpVerifier({
      roots: machine.roots,
      endorsementSources: [source],
      policy: { crlPolicy: 'require', risk: { maxCrlAgeDays: 30, flagOnly: true } },
    })
    expect(await at(using, 0)).toBe('accepted')
    source.issued = undefined
    expect(await at(using, 2)).toBe('accepted')
  })
})
