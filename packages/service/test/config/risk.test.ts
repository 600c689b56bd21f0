import { parse as parseToml } from 'smol-toml'
import { describe, expect, it } from 'vitest'
import { parseConfig } from '../../src/config/load.ts'
import { builtInAttestation, ConfigError, type ConfigProblem } from '../../src/index.ts'

const plain = '[http_server]\ninsecure_http = true\n'
const verifier = (section: string, settings: string) =>
  `${plain}[attestation_service.verifier_config.${section}]\n${settings}\n`

const parse = (toml: string, profile = 'production') =>
  builtInAttestation(parseConfig('kbs-attest', parseToml(toml), { KBS_PROFILE: profile })).verifierConfig

function problemsOf(toml: string, profile = 'production'): readonly ConfigProblem[] {
  try {
    parse(toml, profile)
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.problems
    throw error
  }
}

describe('guests that their host may debug', () => {
  it.each([
    ['snp_verifier', 'reject_debug', 'false'],
    ['dcap_verifier', 'allow_debug', 'true'],
    ['csv_verifier', 'allow_debug', 'true'],
  ])('can be permitted by %s.%s in the development profile only', (section, key, value) => {
    const toml = verifier(section, `${key} = ${value}`)
    expect(problemsOf(toml)).toMatchObject([
      {
        path: `attestation_service.verifier_config.${section}.${key}`,
        remedy: 'Remove it, or set profile = "development"',
      },
    ])
    expect(problemsOf(toml, 'development')).toEqual([])
    // where no evidence is verified, the setting permits nothing
    expect(() => parseConfig('kbs-resource', parseToml(toml), {})).not.toThrow(/debug/)
  })

  it('may be refused by name in either profile', () => {
    const toml = verifier('snp_verifier', 'reject_debug = true')
    expect(parse(toml).snpVerifier.rejectDebug).toBe(true)
    expect(parse(toml, 'development').snpVerifier.rejectDebug).toBe(true)
  })
})

describe('risk rules', () => {
  it('are none unless they are written', () => {
    const { snpVerifier, dcapVerifier, csvVerifier } = parse(plain)
    for (const { risk } of [snpVerifier, dcapVerifier, csvVerifier]) expect(risk).toEqual({ flagOnly: false })
  })

  it('are read as docs/risk-rules.md writes them', () => {
    const amd = verifier(
      'snp_verifier.risk',
      `refused_products = ["Milan"]
       allowed_chip_ids = ["${'0a'.repeat(64)}", "00112233445566AA"]
       max_certificate_age_days = 400
       max_crl_age_days = 180.5
       flag_only = true
       min_tcb.Genoa = { bootloader = 10, microcode = 84 }
       min_tcb.Turin = { fmc = 1 }`,
    )
    expect(parse(amd).snpVerifier.risk).toEqual({
      refusedProducts: ['Milan'],
      allowedChipIds: ['0a'.repeat(64), '00112233445566AA'],
      maxCertificateAgeDays: 400,
      maxCrlAgeDays: 180.5,
      flagOnly: true,
      minTcb: { Genoa: { bootloader: 10, microcode: 84 }, Turin: { fmc: 1 } },
    })
    const intel = verifier(
      'dcap_verifier.risk',
      `refused_products = ["00606A000000"]
       accepted_tcb_status = ["UpToDate", "SWHardeningNeeded"]
       min_tcb_date = "2025-05-14"
       min_tcb_evaluation_number = 19
       allowed_chip_ids = ["${'0b'.repeat(16)}"]
       max_collateral_age_days = 7`,
    )
    expect(parse(intel).dcapVerifier.risk).toMatchObject({
      acceptedTcbStatus: ['UpToDate', 'SWHardeningNeeded'],
      minTcbDate: '2025-05-14',
      minTcbEvaluationNumber: 19,
      maxCollateralAgeDays: 7,
    })
    const hygon = verifier('csv_verifier.risk', 'min_build = 2400\nallowed_chip_ids = ["TPC4123"]')
    expect(parse(hygon).csvVerifier.risk).toEqual({
      minBuild: 2400,
      allowedChipIds: ['TPC4123'],
      flagOnly: false,
    })
  })

  it.each([
    ['snp_verifier', 'refused_products = ["Rome"]', 'refused_products[0]'],
    ['snp_verifier', 'allowed_chip_ids = ["0a0b"]', 'allowed_chip_ids[0]'],
    // an empty list could be meant as "no rule" or as "no machine"
    ['snp_verifier', 'allowed_chip_ids = []', 'allowed_chip_ids'],
    ['snp_verifier', 'min_tcb.Milan = { fmc = 1 }', 'min_tcb.Milan.fmc'],
    ['snp_verifier', 'min_tcb.Rome = { snp = 1 }', 'min_tcb.Rome'],
    ['snp_verifier', 'min_tcb.Milan = { snp = 256 }', 'min_tcb.Milan.snp'],
    ['snp_verifier', 'max_crl_age_days = -1', 'max_crl_age_days'],
    ['snp_verifier', 'flag = true', 'flag'],
    ['dcap_verifier', 'refused_products = ["Milan"]', 'refused_products[0]'],
    ['dcap_verifier', 'accepted_tcb_status = ["Revoked"]', 'accepted_tcb_status[0]'],
    ['dcap_verifier', 'accepted_tcb_status = []', 'accepted_tcb_status'],
    ['dcap_verifier', 'min_tcb_date = "14.5.2025"', 'min_tcb_date'],
    ['csv_verifier', 'allowed_chip_ids = ["../x"]', 'allowed_chip_ids[0]'],
    ['csv_verifier', 'max_crl_age_days = 1', 'max_crl_age_days'],
  ])('of %s are refused when they cannot be meant: %s', (section, setting, path) => {
    expect(problemsOf(verifier(`${section}.risk`, setting)).map((problem) => problem.path)).toEqual([
      `attestation_service.verifier_config.${section}.risk.${path}`,
    ])
  })

  it('cannot ask for a young revocation list where none is read', () => {
    const toml = verifier('snp_verifier', 'crl_policy = "off"\nrisk.max_crl_age_days = 30')
    for (const profile of ['production', 'development'])
      expect(problemsOf(toml, profile)).toMatchObject([
        {
          path: 'attestation_service.verifier_config.snp_verifier.risk.max_crl_age_days',
          remedy: 'Set crl_policy = "require"',
        },
      ])
    expect(problemsOf(toml.replace('off', 'soft'))).toEqual([])
  })
})
