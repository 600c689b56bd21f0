/** Spec 03 §6.1 and §11: for every check evidence in which that check alone fails. */
import { randomBytes } from 'node:crypto'
import {
  createVirtualSnpMachine,
  type SnpDefectName,
  snpDefects,
  type VirtualSnpMachine,
} from '@passport-kbs/testing'
import { describe, expect, it } from 'vitest'
import {
  createSnpVerifier,
  rejectionCodes,
  type SnpPolicy,
  type VerificationRequest,
} from '../../src/index.ts'
import { rejectionOf } from '../rejection-of.ts'

const now = new Date('2026-03-01T12:00:00Z')
const reportData = randomBytes(48)
const initDataDigest = randomBytes(32)
const request = { now, expectedReportData: reportData, expectedInitDataDigest: initDataDigest }

const machines = {
  Milan: createVirtualSnpMachine({ generation: 'Milan', now }),
  Genoa: createVirtualSnpMachine({ generation: 'Genoa', now }),
  Turin: createVirtualSnpMachine({ generation: 'Turin', now }),
}
const vlekMachine = createVirtualSnpMachine({ generation: 'Genoa', endorsement: 'vlek', now })

function verifierFor(machine: VirtualSnpMachine, policy: SnpPolicy = {}) {
  return createSnpVerifier({ roots: machine.roots, policy })
}

function verdict(machine: VirtualSnpMachine, defect: SnpDefectName, policy?: SnpPolicy): Promise<string> {
  const evidence = machine.evidence({ reportData, initDataDigest, defect })
  return rejectionOf(verifierFor(machine, policy), evidence, request)
}

/** How each defect must be named. `raised-fmc` and the like have meaning on one generation only. */
const expectedRejection = {
  'report-version-2': 'REPORT_VERSION_UNSUPPORTED at report-version',
  'report-version-6': 'REPORT_VERSION_UNSUPPORTED at report-version',
  'unknown-product': 'PRODUCT_UNSUPPORTED at product',
  'unknown-signature-algorithm': 'SIGNATURE_ALGO_UNSUPPORTED at signature-algorithm',
  'masked-chip-key': 'SIGNING_KEY_UNSUPPORTED at signing-key',
  'reserved-signing-key': 'SIGNING_KEY_UNSUPPORTED at signing-key',
  'no-signing-key': 'SIGNING_KEY_UNSUPPORTED at signing-key',
  'signing-key-of-other-class': 'SIGNING_KEY_MISMATCH at endorsement-key',
  'vmpl-1': 'VMPL_UNSUPPORTED at vmpl',
  'vmpl-max': 'VMPL_UNSUPPORTED at vmpl',
  'debug-allowed': 'accepted',
  'masked-chip-id': 'CHIP_ID_MISMATCH at chip-id',
  'other-chip-id': 'CHIP_ID_MISMATCH at chip-id',
  'chip-id-tail': 'CHIP_ID_MISMATCH at chip-id',
  'raised-bootloader': 'TCB_MISMATCH at reported-tcb',
  'raised-tee': 'TCB_MISMATCH at reported-tcb',
  'raised-snp': 'TCB_MISMATCH at reported-tcb',
  'raised-microcode': 'TCB_MISMATCH at reported-tcb',
  'raised-fmc': 'TCB_MISMATCH at reported-tcb',
  'other-report-data': 'REPORT_DATA_MISMATCH at report-data',
  'other-init-data': 'INIT_DATA_MISMATCH at init-data',
  'signature-swapped': 'REPORT_SIGNATURE_INVALID at report-signature',
  'signature-big-endian': 'REPORT_SIGNATURE_INVALID at report-signature',
  'signature-zero': 'REPORT_SIGNATURE_INVALID at report-signature',
  'signature-group-order': 'REPORT_SIGNATURE_INVALID at report-signature',
  'signature-high-byte': 'REPORT_SIGNATURE_INVALID at report-signature',
  'tampered-measurement': 'REPORT_SIGNATURE_INVALID at report-signature',
  'relabelled-version-4': 'REPORT_SIGNATURE_INVALID at report-signature',
  'missing-field': 'EVIDENCE_MALFORMED at evidence-format',
  'cpuid-null': 'PRODUCT_UNSUPPORTED at product',
  'wrong-fmc-form': 'EVIDENCE_MALFORMED at tcb-form',
  'too-many-certificates': 'EVIDENCE_MALFORMED at evidence-format',
  'repeated-ask': 'EVIDENCE_MALFORMED at evidence-format',
  'unknown-certificate-type': 'EVIDENCE_MALFORMED at evidence-format',
  'no-certificates-in-chain': 'CERT_CHAIN_INCOMPLETE at endorsement-key',
  'vek-empty': 'CERT_MALFORMED at endorsement-key',
  'vek-truncated': 'CERT_MALFORMED at endorsement-key',
  'vek-trailing-byte': 'CERT_MALFORMED at endorsement-key',
  'vek-oversize': 'CERT_MALFORMED at endorsement-key',
  'vek-pem-two-blocks': 'CERT_MALFORMED at endorsement-key',
  'vek-pem-garbage': 'CERT_MALFORMED at endorsement-key',
  'self-made-root': 'CERT_CHAIN_INVALID at certificate-chain',
  'ark-of-other-product': 'CERT_CHAIN_INVALID at certificate-chain',
  'ark-is-ask': 'CERT_CHAIN_INVALID at certificate-chain',
  'intermediate-of-other-class': 'CERT_CHAIN_INVALID at certificate-chain',
  'intermediate-renamed': 'CERT_PROFILE_INVALID at certificate-profile',
  'intermediate-not-a-ca': 'CERT_PROFILE_INVALID at certificate-profile',
  'ca-as-vek': 'CERT_PROFILE_INVALID at certificate-profile',
  'vek-of-other-product': 'CERT_CHAIN_INVALID at certificate-chain',
  'vek-issuer-differs': 'CERT_CHAIN_INVALID at certificate-chain',
  'vek-signed-with-sha256': 'CERT_CHAIN_INVALID at certificate-chain',
  'vek-signed-with-salt-32': 'CERT_CHAIN_INVALID at certificate-chain',
  'vek-signed-with-pkcs1': 'CERT_CHAIN_INVALID at certificate-chain',
  'vek-algorithms-differ': 'CERT_CHAIN_INVALID at certificate-chain',
  'vek-expired': 'CERT_EXPIRED at certificate-validity',
  'vek-not-yet-valid': 'CERT_NOT_YET_VALID at certificate-validity',
  'vek-on-p256': 'CERT_PROFILE_INVALID at certificate-profile',
  'vek-is-rsa': 'CERT_PROFILE_INVALID at certificate-profile',
  'vek-compressed-point': 'CERT_PROFILE_INVALID at certificate-profile',
  'vek-point-off-curve': 'CERT_PROFILE_INVALID at certificate-profile',
  'vek-other-subject': 'CERT_PROFILE_INVALID at certificate-profile',
  'vek-critical-extension': 'CERT_PROFILE_INVALID at certificate-profile',
  'vek-is-authority': 'CERT_PROFILE_INVALID at certificate-profile',
  'product-name-of-other': 'CERT_PROFILE_INVALID at certificate-profile',
  'struct-version-missing': 'CERT_PROFILE_INVALID at certificate-profile',
  'spl-missing': 'CERT_PROFILE_INVALID at certificate-profile',
  'spl-repeated': 'CERT_PROFILE_INVALID at certificate-profile',
  'spl-negative': 'CERT_PROFILE_INVALID at certificate-profile',
  'spl-not-minimal': 'CERT_PROFILE_INVALID at certificate-profile',
  'spl-above-255': 'CERT_PROFILE_INVALID at certificate-profile',
  'spl-trailing-byte': 'CERT_PROFILE_INVALID at certificate-profile',
  'fmc-presence-wrong': 'CERT_PROFILE_INVALID at certificate-profile',
  'hwid-one-short': 'CERT_PROFILE_INVALID at certificate-profile',
  'hwid-one-long': 'CERT_PROFILE_INVALID at certificate-profile',
  'hwid-of-other-size': 'CERT_PROFILE_INVALID at certificate-profile',
  'hwid-of-other-chip': 'CHIP_ID_MISMATCH at chip-id',
  'hwid-and-csp-id': 'CERT_PROFILE_INVALID at certificate-profile',
  'hwid-missing': 'CERT_PROFILE_INVALID at certificate-profile',
} as const satisfies Record<SnpDefectName, string>

/** Defects whose bytes differ between Milan/Genoa and Turin are tried on both. */
const onlyOnTurin: readonly SnpDefectName[] = ['raised-fmc']
const notOnTurin: readonly SnpDefectName[] = ['hwid-one-short']

describe.each(Object.entries(machines))('a genuine %s machine', (generation, machine) => {
  it('is accepted with the leaf alone and with the whole chain', async () => {
    for (const certificates of ['leaf', 'all'] as const) {
      const evidence = machine.evidence({ reportData, initDataDigest, certificates })
      expect(await rejectionOf(verifierFor(machine), evidence, request)).toBe('accepted')
    }
  })

  const names = Object.keys(snpDefects) as SnpDefectName[]
  const applicable = names.filter(
    (name) => !(generation === 'Turin' ? notOnTurin : onlyOnTurin).includes(name),
  )
  it.each(applicable)('with the one defect %s is judged for that alone', async (name) => {
    expect(await verdict(machine, name)).toBe(expectedRejection[name])
  })
})

describe('a VLEK', () => {
  it('is accepted where the report names it, whatever CHIP_ID is', async () => {
    const evidence = vlekMachine.evidence({ reportData, initDataDigest })
    expect(await rejectionOf(verifierFor(vlekMachine), evidence, request)).toBe('accepted')
  })

  it('does not stand in for a VCEK', async () => {
    expect(await verdict(vlekMachine, 'signing-key-of-other-class')).toBe(
      'SIGNING_KEY_MISMATCH at endorsement-key',
    )
  })

  it('must not carry a HWID', async () => {
    expect(await verdict(vlekMachine, 'hwid-one-long')).toBe('CERT_PROFILE_INVALID at certificate-profile')
  })

  it('cannot be fetched', async () => {
    const evidence = vlekMachine.evidence({ reportData, initDataDigest, certificates: 'none' })
    expect(await rejectionOf(verifierFor(vlekMachine), evidence, request)).toBe(
      'VEK_UNAVAILABLE at endorsement-key',
    )
  })
})

describe('expected values (spec 03 §6.1 steps 11 and 12)', () => {
  const machine = machines.Milan
  const evidence = machine.evidence({ reportData, initDataDigest })
  const verifier = verifierFor(machine)

  it.each([
    ['report data of 65 bytes', { expectedReportData: randomBytes(65) }, 'INPUT_INVALID at report-data'],
    ['empty report data', { expectedReportData: new Uint8Array() }, 'INPUT_INVALID at report-data'],
    [
      'a prefix of the report data',
      { expectedReportData: reportData.subarray(0, 32) },
      'REPORT_DATA_MISMATCH at report-data',
    ],
    [
      'an init-data digest of 31 bytes',
      { expectedInitDataDigest: randomBytes(31) },
      'INPUT_INVALID at init-data',
    ],
    [
      'an init-data digest of 33 bytes',
      { expectedInitDataDigest: randomBytes(33) },
      'INPUT_INVALID at init-data',
    ],
    [
      'an init-data digest of 65 bytes',
      { expectedInitDataDigest: randomBytes(65) },
      'INPUT_INVALID at init-data',
    ],
  ])('%s', async (_name, expected, outcome) => {
    expect(await rejectionOf(verifier, evidence, { now, ...expected })).toBe(outcome)
  })

  it('a longer init-data digest counts by its first 32 bytes', async () => {
    const longer = Buffer.concat([initDataDigest, randomBytes(16)])
    expect(await rejectionOf(verifier, evidence, { now, expectedInitDataDigest: longer })).toBe('accepted')
  })

  it('nothing is compared that was not asked for', async () => {
    expect(await rejectionOf(verifier, evidence, { now })).toBe('accepted')
  })

  it('complete evidence of another session is a replay', async () => {
    expect(await rejectionOf(verifier, evidence, { now, expectedReportData: randomBytes(48) })).toBe(
      'REPORT_DATA_MISMATCH at report-data',
    )
  })
})

describe('validity of the authorities (spec 03 §4.7)', () => {
  const day = 24 * 60 * 60 * 1000
  const past = { notBefore: new Date(now.getTime() - 9 * day), notAfter: new Date(now.getTime() - day) }
  const future = { notBefore: new Date(now.getTime() + day), notAfter: new Date(now.getTime() + 9 * day) }

  it.each([
    ['ARK expired', { ark: past }, 'CERT_EXPIRED at certificate-validity'],
    ['ASK expired', { ask: past }, 'CERT_EXPIRED at certificate-validity'],
    ['ARK not yet valid', { ark: future }, 'CERT_NOT_YET_VALID at certificate-validity'],
    ['ASK not yet valid', { ask: future }, 'CERT_NOT_YET_VALID at certificate-validity'],
    ['the ASVK does not matter for a VCEK', { asvk: past }, 'accepted'],
  ])('%s', async (_name, authorityValidity, outcome) => {
    const machine = createVirtualSnpMachine({ generation: 'Milan', now, authorityValidity })
    expect(await rejectionOf(verifierFor(machine), machine.evidence({ reportData }), { now })).toBe(outcome)
  })

  it('is checked again for a chain that has been verified before', async () => {
    const machine = machines.Milan
    const verifier = verifierFor(machine)
    const evidence = machine.evidence({ reportData })
    expect(await rejectionOf(verifier, evidence, { now })).toBe('accepted')
    const later = new Date(now.getTime() + 7 * 365 * day)
    expect(await rejectionOf(verifier, evidence, { now: later })).toBe('CERT_EXPIRED at certificate-validity')
  })

  it('is not enforced with certValidity "ignore"', async () => {
    expect(await verdict(machines.Milan, 'vek-expired', { certValidity: 'ignore' })).toBe('accepted')
  })
})

describe('policy knobs', () => {
  it('allowedVmpl widens the levels', async () => {
    expect(await verdict(machines.Genoa, 'vmpl-1', { allowedVmpl: [0, 1] })).toBe('accepted')
  })

  it('allowMaskedChipId takes a zero CHIP_ID and nothing else', async () => {
    expect(await verdict(machines.Genoa, 'masked-chip-id', { allowMaskedChipId: true })).toBe('accepted')
    expect(await verdict(machines.Genoa, 'other-chip-id', { allowMaskedChipId: true })).toBe(
      'CHIP_ID_MISMATCH at chip-id',
    )
  })

  it('rejectDebug is a hard gate', async () => {
    expect(await verdict(machines.Genoa, 'debug-allowed', { rejectDebug: true })).toBe(
      'DEBUG_NOT_ALLOWED at debug-gate',
    )
  })

  it('extendedClaims adds one key and leaves the others alone', async () => {
    const machine = machines.Turin
    const evidence = machine.evidence({ reportData })
    const [plain] = await verifierFor(machine).verify(evidence, { now })
    const [extended] = await verifierFor(machine, { extendedClaims: true }).verify(evidence, { now })
    const { ext, ...rest } = extended?.claims ?? {}
    expect(rest).toEqual({ ...plain?.claims })
    expect(ext).toMatchObject({ generation: 'Turin', signing_key: 'vcek', reported_tcb_fmc: 1, vmpl: 0 })
  })
})

describe('the list of checks', () => {
  const { checks } = createSnpVerifier()

  it('has unique names, known codes, a source and a reason', () => {
    expect(new Set(checks.map(({ name }) => name)).size).toBe(checks.length)
    for (const check of checks) {
      expect(check.codes.length).toBeGreaterThan(0)
      for (const code of check.codes) expect(rejectionCodes).toContain(code)
      expect(check.source).toMatch(/^spec 0\d §/)
      expect(check.protects).toMatch(/^[A-Z].*\.$/)
    }
  })

  const everything = { rejectDebug: true, crlPolicy: 'soft' } as const
  const passedBy = async (policy: SnpPolicy, given: VerificationRequest) => {
    const machine = machines.Milan
    const evidence = machine.evidence({ reportData, initDataDigest })
    const [entry] = await verifierFor(machine, policy).verify(evidence, given)
    return entry?.passed ?? []
  }

  it('is what evidence has passed, when everything is asked for', async () => {
    expect(await passedBy(everything, request)).toEqual(checks.map(({ name }) => name))
  })

  it('nothing is said to have passed that was not compared', async () => {
    const all = await passedBy(everything, request)
    const left = await passedBy({ certValidity: 'ignore' }, { now })
    expect(all.filter((name) => !left.includes(name))).toEqual([
      'certificate-validity',
      'report-data',
      'init-data',
      'debug-gate',
      'certificate-revocation',
    ])
  })
})
