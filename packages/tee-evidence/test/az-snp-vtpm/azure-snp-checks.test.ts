/** Spec 03 §9.2 and §11: for every check evidence in which that check alone fails. */
import { randomBytes } from 'node:crypto'
import {
  type AzureSnpDefectName,
  type azureSnpDefects,
  createVirtualAzureSnpVm,
  snpLeafDefects,
  type vtpmDefects,
} from '@passport-kbs/testing'
import { describe, expect, it } from 'vitest'
import {
  type AzureSnpVtpmPolicy,
  type AzureSnpVtpmVerifierOptions,
  createAzureSnpVtpmVerifier,
  rejectionCodes,
} from '../../src/index.ts'
import { rejectionOf } from '../rejection-of.ts'

const now = new Date('2026-03-01T12:00:00Z')
const reportData = randomBytes(48)
const initDataDigest = randomBytes(32)
const request = { now, expectedReportData: reportData, expectedInitDataDigest: initDataDigest }
const vm = createVirtualAzureSnpVm({ generation: 'Milan', now })
const genoaVm = createVirtualAzureSnpVm({ generation: 'Genoa', now, attestationKey: 'tpm/otherVm' })
const turinVm = createVirtualAzureSnpVm({ generation: 'Turin', now })

function verifier(policy: AzureSnpVtpmPolicy = {}, options: Partial<AzureSnpVtpmVerifierOptions> = {}) {
  return createAzureSnpVtpmVerifier({ roots: vm.roots, policy, ...options })
}

function verdict(defect: AzureSnpDefectName, policy?: AzureSnpVtpmPolicy, machine = vm): Promise<string> {
  const evidence = machine.evidence({ reportData, initDataDigest, defect })
  return rejectionOf(verifier(policy), evidence, request)
}

const vtpmRejection = {
  'ak-missing': 'AK_NOT_FOUND at attestation-key',
  'ak-kid-other-case': 'AK_NOT_FOUND at attestation-key',
  'ak-twice': 'AK_UNSUPPORTED at attestation-key',
  'ak-is-ec': 'AK_UNSUPPORTED at attestation-key',
  'ak-of-1024-bits': 'AK_UNSUPPORTED at attestation-key',
  'ak-exponent-3': 'AK_UNSUPPORTED at attestation-key',
  'variable-data-not-utf8': 'HCL_MALFORMED at attestation-key',
  'variable-data-with-bom': 'HCL_MALFORMED at attestation-key',
  'variable-data-duplicate-key': 'HCL_MALFORMED at attestation-key',
  'other-nonce': 'TPM_NONCE_MISMATCH at nonce',
  'zero-padded-nonce': 'TPM_NONCE_MISMATCH at nonce',
  'not-a-quote': 'TPM_NOT_A_QUOTE at quote-format',
  'wrong-attest-magic': 'TPM_QUOTE_MALFORMED at quote-format',
  'attest-trailing-byte': 'TPM_QUOTE_MALFORMED at quote-format',
  'seventeen-selections': 'TPM_QUOTE_MALFORMED at quote-format',
  'two-selections': 'PCR_SELECTION_UNSUPPORTED at pcr-selection',
  'sha384-bank': 'PCR_SELECTION_UNSUPPORTED at pcr-selection',
  'sha1-bank': 'PCR_SELECTION_UNSUPPORTED at pcr-selection',
  'bitmap-of-four-bytes': 'PCR_SELECTION_UNSUPPORTED at pcr-selection',
  'pcr-23-not-selected': 'PCR_SELECTION_UNSUPPORTED at pcr-selection',
  'resettable-pcr-in-position-8': 'PCR_SELECTION_UNSUPPORTED at pcr-selection',
  'other-init-data-pcr': 'INIT_DATA_MISMATCH at init-data',
  'quote-signed-with-pss': 'TPM_SIGNATURE_INVALID at quote-signature',
  'quote-signed-with-sha384': 'TPM_SIGNATURE_INVALID at quote-signature',
  'quote-of-other-vm': 'TPM_SIGNATURE_INVALID at quote-signature',
  'quote-signature-bit': 'TPM_SIGNATURE_INVALID at quote-signature',
  'quote-signature-short': 'TPM_SIGNATURE_INVALID at quote-signature',
  'pcr-value-invented': 'PCR_DIGEST_MISMATCH at pcr-digest',
  'pcrs-reordered': 'PCR_DIGEST_MISMATCH at pcr-digest',
  'pcr-list-of-23': 'PCR_SELECTION_UNSUPPORTED at pcr-selection',
  'pcr-list-of-25': 'PCR_SELECTION_UNSUPPORTED at pcr-selection',
  'pcr-list-empty': 'PCR_SELECTION_UNSUPPORTED at pcr-selection',
  'pcr-of-31-bytes': 'EVIDENCE_MALFORMED at evidence-format',
} as const satisfies Record<keyof typeof vtpmDefects, string>

const azureRejection = {
  'hcl-short': 'HCL_MALFORMED at hcl-report',
  'hcl-magic': 'HCL_MALFORMED at hcl-report',
  'hcl-variable-size-zero': 'HCL_MALFORMED at hcl-report',
  'hcl-variable-size-one-more': 'HCL_MALFORMED at hcl-report',
  'hcl-data-size-differs': 'HCL_MALFORMED at hcl-report',
  'hcl-report-size-differs': 'HCL_MALFORMED at hcl-report',
  'hcl-variable-data-past-end': 'HCL_MALFORMED at hcl-report',
  'hcl-type-tdx': 'HCL_REPORT_TYPE_UNSUPPORTED at hcl-report',
  'hcl-type-unknown': 'HCL_REPORT_TYPE_UNSUPPORTED at hcl-report',
  'hcl-hash-type-0': 'HCL_HASH_TYPE_UNSUPPORTED at hcl-report',
  'hcl-hash-type-2': 'HCL_HASH_TYPE_UNSUPPORTED at hcl-report',
  'hcl-hash-type-max': 'HCL_HASH_TYPE_UNSUPPORTED at hcl-report',
  'variable-data-changed': 'VAR_DATA_MISMATCH at variable-data',
  'hardware-report-data-tail': 'VAR_DATA_MISMATCH at variable-data',
  'hardware-report-data-other': 'VAR_DATA_MISMATCH at variable-data',
  'raw-reserved-byte': 'REPORT_RESERVED_NONZERO at hardware-report',
  'raw-signature-padding': 'REPORT_RESERVED_NONZERO at hardware-report',
  'raw-measurement-byte': 'REPORT_SIGNATURE_INVALID at report-signature',
  'vlek-named': 'SIGNING_KEY_UNSUPPORTED at signing-key',
  'user-data-zero': 'USER_DATA_MISMATCH at user-data',
  'user-data-trailing-garbage': 'USER_DATA_MISMATCH at user-data',
  'user-data-missing': 'HCL_MALFORMED at user-data',
  'user-data-odd': 'HCL_MALFORMED at user-data',
  'user-data-63-bytes': 'HCL_MALFORMED at user-data',
  'user-data-not-hex': 'HCL_MALFORMED at user-data',
  'vcek-trailing-byte': 'CERT_MALFORMED at vcek-format',
  'vcek-truncated': 'CERT_MALFORMED at vcek-format',
  'version-3': 'EVIDENCE_MALFORMED at evidence-format',
  'hcl-report-with-space': 'EVIDENCE_MALFORMED at evidence-format',
} as const satisfies Record<keyof typeof azureSnpDefects, string>

/** Defects of the processor that this verifier sees like `snp` does. */
const processorRejection: Partial<Record<AzureSnpDefectName, string>> = {
  'report-version-2': 'REPORT_VERSION_UNSUPPORTED at report-version',
  'report-version-6': 'REPORT_VERSION_UNSUPPORTED at report-version',
  'unknown-product': 'PRODUCT_UNSUPPORTED at product',
  'unknown-signature-algorithm': 'SIGNATURE_ALGO_UNSUPPORTED at signature-algorithm',
  'masked-chip-key': 'SIGNING_KEY_UNSUPPORTED at signing-key',
  'no-signing-key': 'SIGNING_KEY_UNSUPPORTED at signing-key',
  'vmpl-1': 'VMPL_UNSUPPORTED at vmpl',
  'masked-chip-id': 'CHIP_ID_MISMATCH at chip-id',
  'other-chip-id': 'CHIP_ID_MISMATCH at chip-id',
  'raised-snp': 'TCB_MISMATCH at reported-tcb',
  'raised-microcode': 'TCB_MISMATCH at reported-tcb',
  'debug-allowed': 'accepted',
  'vek-of-other-product': 'CERT_CHAIN_INVALID at certificate-chain',
  'vek-signed-with-pkcs1': 'CERT_CHAIN_INVALID at certificate-chain',
  'vek-expired': 'CERT_EXPIRED at certificate-validity',
  'vek-not-yet-valid': 'CERT_NOT_YET_VALID at certificate-validity',
  'hwid-missing': 'CERT_PROFILE_INVALID at certificate-profile',
}

const versions = [0, 1, 2] as const

describe('a genuine VM', () => {
  const machines = { Milan: vm, Genoa: genoaVm, Turin: turinVm }
  const everyKind = Object.entries(machines).flatMap(([name, machine]) =>
    versions.map((version) => [name, version, machine] as const),
  )
  it.each(everyKind)('on %s is accepted with evidence version %i', async (_name, version, machine) => {
    const evidence = machine.evidence({ reportData, initDataDigest, version })
    expect(await rejectionOf(verifier(), evidence, request)).toBe('accepted')
  })
})

describe('a VM with one defect is judged for that alone', () => {
  const cases = Object.entries({ ...vtpmRejection, ...azureRejection, ...processorRejection })
  it.each(cases)('%s: %s', async (name, outcome) => {
    expect(await verdict(name as AzureSnpDefectName)).toBe(outcome)
  })

  it('no defect of the VCEK is accepted', async () => {
    const harmless = ['fmc-presence-wrong', 'hwid-of-other-size']
    for (const name of Object.keys(snpLeafDefects).filter((defect) => !harmless.includes(defect))) {
      expect(await verdict(name as AzureSnpDefectName), name).toMatch(/^(CERT|CHIP_ID)_/)
    }
  })

  it('Turin compares the FMC version too', async () => {
    expect(await verdict('raised-fmc', {}, turinVm)).toBe('TCB_MISMATCH at reported-tcb')
  })
})

describe('expected values (spec 03 §9.2 step 1)', () => {
  const evidence = vm.evidence({ reportData, initDataDigest })
  it.each([
    ['report data absent', { now }, 'INPUT_INVALID at expected-values'],
    ['report data empty', { now, expectedReportData: new Uint8Array() }, 'INPUT_INVALID at expected-values'],
    [
      'report data of 65 bytes',
      { now, expectedReportData: randomBytes(65) },
      'INPUT_INVALID at expected-values',
    ],
    [
      'init-data digest of 48 bytes',
      { ...request, expectedInitDataDigest: randomBytes(48) },
      'INPUT_INVALID at expected-values',
    ],
    [
      'another init-data digest',
      { ...request, expectedInitDataDigest: randomBytes(32) },
      'INIT_DATA_MISMATCH at init-data',
    ],
    ['another session', { now, expectedReportData: randomBytes(48) }, 'TPM_NONCE_MISMATCH at nonce'],
    ['no init data expected', { now, expectedReportData: reportData }, 'accepted'],
  ])('%s', async (_name, given, outcome) => {
    expect(await rejectionOf(verifier(), evidence, given)).toBe(outcome)
  })
})

describe('evidence versions (spec 03 §9.1)', () => {
  it.each([
    [0, 1, 'EVIDENCE_VERSION_TOO_OLD at evidence-version'],
    [1, 2, 'EVIDENCE_VERSION_TOO_OLD at evidence-version'],
    [2, 2, 'accepted'],
  ] as const)('version %i where %i is the least', async (version, minEvidenceVersion, outcome) => {
    const evidence = vm.evidence({ reportData, version })
    const given = { now, expectedReportData: reportData }
    expect(await rejectionOf(verifier({ minEvidenceVersion }), evidence, given)).toBe(outcome)
  })

  it('version 1 relabelled as 2 lacks the user data', async () => {
    const evidence = vm.evidence({ reportData, version: 1 })
    evidence.version = 2
    expect(await rejectionOf(verifier(), evidence, { now, expectedReportData: reportData })).toBe(
      'USER_DATA_MISMATCH at user-data',
    )
  })

  it.each([0, 3, '1', null, true, 1n])('a version key of %s is no version', async (version) => {
    const evidence = vm.evidence({ reportData, version: 1 })
    evidence.version = version
    expect(await rejectionOf(verifier(), evidence, request)).toBe('EVIDENCE_MALFORMED at evidence-format')
  })

  it.each([0, 1] as const)(
    'an HCL report above 64 KiB is a fault of the report, in version %i',
    async (version) => {
      const evidence = vm.evidence({ reportData, version })
      const size = 64 * 1024 + 1
      if (version === 0) evidence.report = new Array<number>(size).fill(0)
      else evidence.hcl_report = Buffer.alloc(size).toString('base64url')
      expect(await rejectionOf(verifier(), evidence, request)).toBe('HCL_MALFORMED at hcl-report')
    },
  )

  it('version 0 has no version key, and its own encodings', async () => {
    const evidence = vm.evidence({ reportData, version: 0 })
    evidence.version = 1
    expect(await rejectionOf(verifier(), evidence, request)).toBe('EVIDENCE_MALFORMED at evidence-format')
  })
})

describe('policy knobs', () => {
  it('rejectDebug is a hard gate', async () => {
    expect(await verdict('debug-allowed', { rejectDebug: true })).toBe('DEBUG_NOT_ALLOWED at debug-gate')
  })

  it('allowMaskedChipId takes a zero CHIP_ID', async () => {
    expect(await verdict('masked-chip-id', { allowMaskedChipId: true })).toBe('accepted')
  })

  it('certValidity "ignore" does not look at dates', async () => {
    expect(await verdict('vek-expired', { certValidity: 'ignore' })).toBe('accepted')
  })

  it('extendedClaims adds one key', async () => {
    const evidence = vm.evidence({ reportData })
    const given = { now, expectedReportData: reportData }
    const [plain] = await verifier().verify(evidence, given)
    const [extended] = await verifier({ extendedClaims: true }).verify(evidence, given)
    const { ext, ...rest } = extended?.claims ?? {}
    expect(rest).toEqual({ ...plain?.claims })
    expect(ext).toMatchObject({ evidence_version: 2, generation: 'Milan', tpm_reset_count: 2 })
  })
})

describe('evidence of another VM', () => {
  it('the HCL report of one VM does not go with the quote of another', async () => {
    const mixed = {
      ...vm.evidence({ reportData }),
      hcl_report: genoaVm.evidence({ reportData }).hcl_report ?? null,
    }
    expect(await rejectionOf(verifier(), mixed, request)).toBe('TPM_SIGNATURE_INVALID at quote-signature')
  })

  it('the VCEK of another chip does not vouch', async () => {
    const other = createVirtualAzureSnpVm({ generation: 'Milan', now })
    const mixed = {
      ...vm.evidence({ reportData, initDataDigest }),
      vcek: other.evidence({ reportData }).vcek ?? null,
    }
    expect(await rejectionOf(verifier(), mixed, request)).toBe('CHIP_ID_MISMATCH at chip-id')
  })
})

describe('the list of checks', () => {
  const { checks } = createAzureSnpVtpmVerifier()

  it('has unique names, known codes, a source and a reason', () => {
    expect(new Set(checks.map(({ name }) => name)).size).toBe(checks.length)
    for (const check of checks) {
      for (const code of check.codes) expect(rejectionCodes).toContain(code)
      expect(check.source).toMatch(/^spec 0\d §/)
      expect(check.protects).toMatch(/^[A-Z].*\.$/)
    }
  })

  it('is what evidence has passed, in this order, when everything is asked for', async () => {
    const strict = verifier({ rejectDebug: true, crlPolicy: 'soft' })
    const [entry] = await strict.verify(vm.evidence({ reportData, initDataDigest }), request)
    expect(entry?.passed).toEqual(checks.map(({ name }) => name))
  })

  it('nothing is said to have passed that was not compared', async () => {
    const evidence = vm.evidence({ reportData, version: 1 })
    const [entry] = await verifier().verify(evidence, { now, expectedReportData: reportData })
    for (const name of ['user-data', 'init-data', 'debug-gate', 'certificate-revocation']) {
      expect(entry?.passed).not.toContain(name)
    }
  })
})
