/** docs/risk-rules.md: what an operator may refuse of genuine Hygon platforms. */
import { createVirtualHygonChip, createVirtualHygonRoot, type VirtualHygonChip } from '@passport-kbs/testing'
import { describe, expect, it } from 'vitest'
import {
  createCsvVerifier,
  type HygonCertificateSource,
  type HygonRiskRules,
  hskCekOffer,
  hygonRoot,
} from '../../src/index.ts'
import { rejectionOf } from '../rejection-of.ts'

const root = createVirtualHygonRoot()
const chip = createVirtualHygonChip({ root })
const reportData = Buffer.alloc(48, 7)
const request = { now: new Date('2026-01-15T00:00:00Z'), expectedReportData: reportData }

/** Knows the certificates of these chips, as Hygon's key service does. */
function sourceOf(...chips: readonly VirtualHygonChip[]): HygonCertificateSource {
  return {
    name: 'key service',
    async hskCek(chipId) {
      const known = chips.find((candidate) => candidate.chipId === chipId)
      return known && hskCekOffer(known.hskCek)
    },
  }
}

const verifier = (risk: HygonRiskRules, certificateSource = sourceOf(chip)) =>
  createCsvVerifier({ root: hygonRoot(root.certificate), certificateSource, risk })
const evidence = () => chip.evidence({ reportData })

/** Rules that this chip keeps. Its build is 2400. */
const kept: HygonRiskRules = { minBuild: 2400, allowedChipIds: ['OTHER', chip.chipId] }

const broken: readonly [name: string, code: string, rule: HygonRiskRules][] = [
  ['minimum-tcb', 'TCB_BELOW_MINIMUM', { minBuild: 2401 }],
  ['allowed-chip', 'CHIP_NOT_ALLOWED', { allowedChipIds: ['OTHER'] }],
]

describe('csv', () => {
  it('accepts a platform that keeps every rule, and has made every check', async () => {
    const [entry] = await verifier(kept).verify(evidence(), request)
    expect(entry?.passed.slice(-2)).toEqual(['minimum-tcb', 'allowed-chip'])
    expect(entry?.claims).not.toHaveProperty('ext')
  })

  it.each(broken)('rejects by %s alone: %s', async (name, code, rule) => {
    const using = verifier({ ...kept, ...rule })
    expect(await rejectionOf(using, evidence(), request)).toBe(`${code} at ${name}`)
  })

  it.each(broken)('only flags %s where it is told to', async (name, _code, rule) => {
    const [entry] = await verifier({ ...kept, ...rule, flagOnly: true }).verify(evidence(), request)
    expect(entry?.claims.ext).toEqual({ risk: [name] })
    expect(entry?.passed).not.toContain(name)
  })

  it('says with an empty list that the rules have found nothing, and changes no other claim', async () => {
    const signed = evidence()
    const [flagged] = await verifier({ ...kept, flagOnly: true }).verify(signed, request)
    const [plain] = await verifier({}).verify(signed, request)
    expect(flagged?.claims).toEqual({ ...plain?.claims, ext: { risk: [] } })
  })

  it('finds no firmware build in a V1 report', async () => {
    const old = chip.evidence({ reportData, version: 1 })
    expect(await rejectionOf(verifier({ minBuild: 1 }), old, request)).toBe(
      'TCB_BELOW_MINIMUM at minimum-tcb',
    )
  })
})

describe('the list of chips', () => {
  /** Another genuine chip, whose owner gives it the serial number of the listed one: no signature covers that. */
  const impostor = createVirtualHygonChip({ root, chipId: chip.chipId })

  it('does not take a serial number for the chip: the report must be signed under the certificates of that chip', async () => {
    const claimed = impostor.evidence({ reportData })
    expect(await rejectionOf(verifier({}), claimed, request)).toBe('accepted')
    for (const flagOnly of [false, true]) {
      const using = verifier({ allowedChipIds: [chip.chipId], flagOnly })
      expect(await rejectionOf(using, claimed, request)).toBe('CSV_CHAIN_INVALID at pek-signature')
    }
  })

  it('refuses a listed chip whose certificates nobody but the guest has', async () => {
    const using = verifier({ allowedChipIds: [chip.chipId] }, sourceOf())
    expect(await rejectionOf(using, evidence(), request)).toBe('CSV_CHAIN_UNAVAILABLE at chip-certificates')
  })

  it('asks nobody about a chip that is not listed', async () => {
    const asked: string[] = []
    const source: HygonCertificateSource = {
      name: 'recorder',
      async hskCek(chipId) {
        asked.push(chipId)
        return undefined
      },
    }
    await rejectionOf(verifier({ allowedChipIds: ['OTHER'] }, source), evidence(), request)
    expect(asked).toEqual([])
  })
})
