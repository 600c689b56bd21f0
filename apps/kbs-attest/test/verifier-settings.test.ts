import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { JsonValue, Tee } from '@passport-kbs/protocol'
import { builtInAttestation, createLogger, parseConfig } from '@passport-kbs/service'
import { EvidenceRejected, type Verifier } from '@passport-kbs/tee-evidence'
import {
  createVirtualAzureSnpVm,
  createVirtualHygonChip,
  createVirtualIntel,
  createVirtualSnpMachine,
  enclaveEvidence,
  pem,
  startVirtualPcs,
  tdEvidence,
  type VirtualPcs,
  virtualAmdRoots,
} from '@passport-kbs/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openVerifiers } from '../src/verifiers.ts'

const logger = createLogger({ program: 'test', env: {}, level: 'silent' })
const reportData = Buffer.alloc(48, 7)
const machine = createVirtualSnpMachine()
const vm = createVirtualAzureSnpVm()
const intel = createVirtualIntel(new Date())
const platform = intel.platform()
const chip = createVirtualHygonChip()

let folder: string
let pcs: VirtualPcs
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kbs-attest-'))
  for (const [generation, { ask, ark, asvk }] of Object.entries(virtualAmdRoots())) {
    const bundle = [ask, ark, asvk].map((der) => pem('CERTIFICATE', der)).join('')
    await writeFile(join(folder, `${generation.toLowerCase()}_ask_ark_asvk.pem`), bundle)
  }
  await writeFile(join(folder, 'intel.pem'), pem('CERTIFICATE', intel.rootCertificate))
  await writeFile(join(folder, 'hrk.cert'), chip.root.certificate)
  pcs = await startVirtualPcs()
  for (const tee of ['tdx', 'sgx'] as const)
    pcs.serve(tee, platform.fmspc, platform.ca, intel.collateral({ tee }))
})
afterAll(async () => {
  await pcs?.close()
  await rm(folder, { recursive: true })
})

type Profile = 'production' | 'development'
type Settings = Readonly<Record<'snp_verifier' | 'dcap_verifier' | 'csv_verifier', object>>

/**
 * The verifiers of a service in `profile` with test roots. Only the development profile may have those, so that the file is
 * read as one of development; what depends on the profile comes after that.
 */
async function verifiersOf(profile: Profile, settings: Partial<Settings> = {}) {
  const document = {
    http_server: { insecure_http: true },
    attestation_service: {
      verifier_config: {
        snp_verifier: {
          trusted_roots: folder,
          vcek_sources: [{ type: 'OfflineStore', path: join(folder, 'vcek') }],
          crl_policy: 'off',
          ...settings.snp_verifier,
        },
        dcap_verifier: {
          trusted_root: join(folder, 'intel.pem'),
          collateral_service: pcs.url,
          ...settings.dcap_verifier,
        },
        csv_verifier: {
          trusted_root: join(folder, 'hrk.cert'),
          cert_dir: join(folder, 'hsk_cek'),
          ...settings.csv_verifier,
        },
      },
    },
  }
  const config = parseConfig('kbs-attest', document, { KBS_PROFILE: 'development' })
  const { verifiers, close } = await openVerifiers(builtInAttestation(config).verifierConfig, profile, logger)
  close()
  return verifiers
}

async function verdict(verifier: Verifier | undefined, evidence: JsonValue): Promise<string> {
  try {
    await verifier?.verify(evidence, { now: new Date(), expectedReportData: reportData })
    return verifier === undefined ? 'no verifier' : 'accepted'
  } catch (error) {
    if (error instanceof EvidenceRejected) return error.code
    throw error
  }
}

const debuggable: readonly [tee: Tee, evidence: () => JsonValue, permission: Partial<Settings>][] = [
  ['snp', () => machine.evidence({ reportData, defect: 'debug-allowed' }), {}],
  ['az-snp-vtpm', () => vm.evidence({ reportData, defect: 'debug-allowed' }), {}],
  [
    'tdx',
    () => tdEvidence(platform, { reportData, defect: 'td-debug' }),
    { dcap_verifier: { allow_debug: true } },
  ],
  [
    'sgx',
    () => enclaveEvidence(platform, { reportData, defect: 'enclave-debug' }),
    { dcap_verifier: { allow_debug: true } },
  ],
  ['csv', () => chip.evidence({ reportData, policy: 0 }), { csv_verifier: { allow_debug: true } }],
]

describe('a guest that its host may debug', () => {
  it.each(debuggable)('is refused in production: %s', async (tee, evidence) => {
    const verifiers = await verifiersOf('production')
    expect(await verdict(verifiers.get(tee), evidence())).toBe('DEBUG_NOT_ALLOWED')
  })

  it.each(debuggable)('can be let in for development: %s', async (tee, evidence, permission) => {
    const verifiers = await verifiersOf('development', permission)
    expect(await verdict(verifiers.get(tee), evidence())).toBe('accepted')
  })

  it('can be refused in development, too', async () => {
    const verifiers = await verifiersOf('development', { snp_verifier: { reject_debug: true } })
    const evidence = machine.evidence({ reportData, defect: 'debug-allowed' })
    expect(await verdict(verifiers.get('snp'), evidence)).toBe('DEBUG_NOT_ALLOWED')
  })
})

const genuine: readonly [
  tee: Tee,
  evidence: () => JsonValue,
  section: keyof Settings,
  risk: object,
  code: string,
][] = [
  [
    'snp',
    () => machine.evidence({ reportData }),
    'snp_verifier',
    { refused_products: ['Milan'] },
    'PRODUCT_REFUSED',
  ],
  [
    'az-snp-vtpm',
    () => vm.evidence({ reportData }),
    'snp_verifier',
    { min_tcb: { Milan: { microcode: 255 } } },
    'TCB_BELOW_MINIMUM',
  ],
  [
    'tdx',
    () => tdEvidence(platform, { reportData }),
    'dcap_verifier',
    { accepted_tcb_status: ['OutOfDate'] },
    'TCB_STATUS_REFUSED',
  ],
  [
    'sgx',
    () => enclaveEvidence(platform, { reportData }),
    'dcap_verifier',
    { max_collateral_age_days: 0 },
    'COLLATERAL_TOO_OLD',
  ],
  [
    'csv',
    () => chip.evidence({ reportData }),
    'csv_verifier',
    { allowed_chip_ids: ['OTHER'] },
    'CHIP_NOT_ALLOWED',
  ],
]

describe('risk rules of the configuration', () => {
  it.each(genuine)('refuse genuine evidence of %s', async (tee, evidence, section, risk, code) => {
    const verifiers = await verifiersOf('production', { [section]: { risk } })
    expect(await verdict(verifiers.get(tee), evidence())).toBe(code)
  })

  it.each(genuine)('only flag %s where they are told to', async (tee, evidence, section, risk) => {
    const verifiers = await verifiersOf('production', { [section]: { risk: { ...risk, flag_only: true } } })
    const request = { now: new Date(), expectedReportData: reportData }
    const [entry] = (await verifiers.get(tee)?.verify(evidence(), request)) ?? []
    expect(entry?.claims.ext).toEqual({ risk: [expect.stringMatching(/^[a-z-]+$/)] })
  })
})
