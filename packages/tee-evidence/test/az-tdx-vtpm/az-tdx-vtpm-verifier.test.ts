/** Spec 03 §10.3 and §11: for every check evidence in which that check alone fails. */
import { randomBytes } from 'node:crypto'
import { encodeHex } from '@passport-kbs/protocol'
import {
  type AzureTdxDefectName,
  type AzureTdxEvidenceOptions,
  type azureTdxDefects,
  collateralDefects,
  createVirtualAzureTdxVm,
  type QuoteDefect,
  vtpmDefects,
} from '@passport-kbs/testing'
import { describe, expect, test } from 'vitest'
import { type AzureTdxVtpmVerifierOptions, createAzureTdxVtpmVerifier } from '../../src/index.ts'
import { dcapWith, now, platform } from '../intel/virtual-machine.ts'
import { rejectionOf } from '../rejection-of.ts'

const reportData = randomBytes(48)
const initDataDigest = randomBytes(32)
const request = { now, expectedReportData: reportData, expectedInitDataDigest: initDataDigest }
const vm = createVirtualAzureTdxVm(platform)
const verifier = (options: Partial<AzureTdxVtpmVerifierOptions> = {}) =>
  createAzureTdxVtpmVerifier({ dcap: dcapWith(), ...options })
const evidence = (options: Partial<AzureTdxEvidenceOptions> = {}) =>
  vm.evidence({ reportData, initDataDigest, ...options })

describe('A genuine VM', () => {
  test.each([0, 1, 2] as const)('is accepted with evidence version %i', async (version) => {
    const using = verifier()
    const [entry] = await using.verify(evidence({ version }), request)
    expect(entry).toMatchObject({
      tee: 'az-tdx-vtpm',
      teeClass: 'cpu',
      claims: {
        tcb_status: 'UpToDate',
        report_data: encodeHex(reportData),
        quote: { header: { version: '0400', tee_type: '81000000' }, body: { mr_config_id: '00'.repeat(48) } },
        td_attributes: { debug: false, septve_disable: false },
      },
    })
    const { init_data, tpm } = { ...entry?.claims } as { init_data: string; tpm: Record<string, string> }
    expect(Object.keys(tpm)).toHaveLength(24)
    expect(init_data).toBe(tpm.pcr08)
    expect(entry?.claims).not.toHaveProperty('uefi_event_logs')
    expect(entry?.passed).toEqual(
      using.checks.map(({ name }) => name).filter((name) => version === 2 || name !== 'user-data'),
    )
  })

  test('may have a quote of version 5', async () => {
    expect(await rejectionOf(verifier(), evidence({ quoteVersion: 5 }), request)).toBe('accepted')
  })
})

const rejections = {
  'hcl-short': 'HCL_MALFORMED at hcl-report',
  'hcl-magic': 'HCL_MALFORMED at hcl-report',
  'hcl-variable-size-one-more': 'HCL_MALFORMED at hcl-report',
  'hcl-report-size-differs': 'HCL_MALFORMED at hcl-report',
  'hcl-type-unknown': 'HCL_REPORT_TYPE_UNSUPPORTED at hcl-report',
  'hcl-type-snp': 'HCL_REPORT_TYPE_UNSUPPORTED at hcl-report',
  'hcl-hash-type-2': 'HCL_HASH_TYPE_UNSUPPORTED at hcl-report',
  'variable-data-changed': 'VAR_DATA_MISMATCH at variable-data',
  'user-data-zero': 'USER_DATA_MISMATCH at user-data',
  'user-data-trailing-garbage': 'USER_DATA_MISMATCH at user-data',
  'user-data-missing': 'HCL_MALFORMED at user-data',
  'user-data-not-hex': 'HCL_MALFORMED at user-data',
  'version-3': 'EVIDENCE_MALFORMED at evidence-format',
  'td-quote-empty': 'TD_QUOTE_MALFORMED at td-quote',
  'td-quote-too-large': 'TD_QUOTE_MALFORMED at td-quote',
  'td-quote-cut': 'TD_QUOTE_MALFORMED at td-quote',
  'td-quote-of-sgx': 'TD_QUOTE_TYPE_UNSUPPORTED at td-quote',
  'report-data-other': 'VAR_DATA_MISMATCH at variable-data',
  'report-data-tail': 'VAR_DATA_MISMATCH at variable-data',
  'td-report-type': 'TD_REPORT_MISMATCH at td-report',
  'td-report-report-data': 'TD_REPORT_MISMATCH at td-report',
  'td-report-attributes': 'TD_REPORT_MISMATCH at td-report',
  'td-report-xfam': 'TD_REPORT_MISMATCH at td-report',
  'td-report-mr-td': 'TD_REPORT_MISMATCH at td-report',
  'td-report-mr-config-id': 'TD_REPORT_MISMATCH at td-report',
  'td-report-mr-owner': 'TD_REPORT_MISMATCH at td-report',
  'td-report-mr-owner-config': 'TD_REPORT_MISMATCH at td-report',
  'td-report-rtmr-0': 'TD_REPORT_MISMATCH at td-report',
  'td-report-rtmr-3': 'TD_REPORT_MISMATCH at td-report',
  'td-report-area-tail': 'TD_REPORT_MISMATCH at td-report',
  'td-quote-missing': 'EVIDENCE_MALFORMED at evidence-format',
  'td-quote-as-array': 'EVIDENCE_MALFORMED at evidence-format',
} as const satisfies Record<keyof typeof azureTdxDefects, string>

describe('A VM with one defect is judged for that alone', () => {
  test.each(Object.entries(rejections))('%s: %s', async (name, outcome) => {
    const defect = name as AzureTdxDefectName
    expect(await rejectionOf(verifier(), evidence({ defect }), request)).toBe(outcome)
  })

  test.each(Object.keys(vtpmDefects))('vTPM: %s', async (name) => {
    const outcome = await rejectionOf(verifier(), evidence({ defect: name as AzureTdxDefectName }), request)
    expect(outcome).toMatch(/^(AK|HCL|TPM|PCR|EVIDENCE|INIT_DATA)_[A-Z_]+ at /)
  })

  test.each([
    ['qe-vendor', 'TD_QUOTE_MALFORMED at td-quote'],
    ['attestation-key-type', 'TD_QUOTE_MALFORMED at td-quote'],
    ['trailing-data', 'TD_QUOTE_MALFORMED at td-quote'],
    ['inner-certification-type', 'TD_QUOTE_MALFORMED at td-quote'],
    ['tee-type', 'TD_QUOTE_TYPE_UNSUPPORTED at td-quote'],
    ['quote-signature-changed', 'TD_QUOTE_SIGNATURE_INVALID at attestation-key-signature'],
    ['pck-foreign-root', 'PCK_CHAIN_INVALID at pck-chain'],
    ['pck-expired', 'CERT_EXPIRED at pck-validity'],
    ['pck-without-extension', 'PCK_EXTENSION_INVALID at pck-extension'],
    ['qe-report-changed', 'QE_REPORT_SIGNATURE_INVALID at qe-report-signature'],
    ['attestation-key-not-vouched', 'QE_REPORT_DATA_MISMATCH at attestation-key-binding'],
    ['qe-debug', 'QE_IDENTITY_MISMATCH at qe-identity'],
    ['seam-attributes', 'TDX_MODULE_MISMATCH at tdx-module'],
    ['tdx-component-low', 'TCB_LEVEL_UNSUPPORTED at tcb-level'],
    ['module-revoked', 'TCB_REVOKED at tcb-revocation'],
  ] as const satisfies readonly (readonly [QuoteDefect, string])[])(
    'quote: %s: %s',
    async (quoteDefect, outcome) => {
      expect(await rejectionOf(verifier(), evidence({ quoteDefect }), request)).toBe(outcome)
    },
  )

  test.each(collateralDefects)('collateral: $name: $code', async ({ name, code }) => {
    const using = verifier({ dcap: dcapWith({ defect: name }) })
    expect(await rejectionOf(using, evidence(), request)).toMatch(new RegExp(`^${code} at `))
  })

  test('a debug TD is refused, unless the operator allows it', async () => {
    const debug = evidence({ quoteDefect: 'td-debug', version: 1 })
    // TDREPORT and quote have to agree for the debug check to be reached
    const hcl = Buffer.from(String(debug.hcl_report), 'base64url')
    hcl[0x20 + 0x200] = 1
    debug.hcl_report = hcl.toString('base64url')
    expect(await rejectionOf(verifier(), debug, request)).toBe('DEBUG_NOT_ALLOWED at debug')
    expect(await rejectionOf(verifier({ allowDebug: true }), debug, request)).toBe('accepted')
  })

  test('the quote of another VM is refused', async () => {
    const mine = evidence()
    mine.td_quote =
      createVirtualAzureTdxVm(platform, 'tpm/otherVm').evidence({ reportData, initDataDigest }).td_quote ??
      null
    expect(await rejectionOf(verifier(), mine, request)).toBe('VAR_DATA_MISMATCH at variable-data')
  })
})

describe('Collateral', () => {
  test('is not fetched for evidence whose bindings fail', async () => {
    let asked = 0
    const genuine = dcapWith()
    const dcap = {
      ...genuine,
      appraise: (...parameters: Parameters<typeof genuine.appraise>) => {
        asked += 1
        return genuine.appraise(...parameters)
      },
    }
    for (const defect of ['report-data-other', 'td-report-mr-td', 'user-data-zero'] as const) {
      await rejectionOf(verifier({ dcap }), evidence({ defect }), request)
    }
    expect(asked).toBe(0)
  })

  test('that says OutOfDate is a claim', async () => {
    const old = evidence({ fields: { tcb_svn: Uint8Array.of(5, 3, 5) } })
    const [entry] = await verifier().verify(old, request)
    expect(entry?.claims).toMatchObject({ tcb_status: 'OutOfDate', advisory_ids: ['INTEL-SA-90005'] })
  })
})

describe('Expected values and versions', () => {
  test.each([
    ['no report data', { now }, 'INPUT_INVALID at expected-values'],
    ['another session', { now, expectedReportData: randomBytes(48) }, 'TPM_NONCE_MISMATCH at nonce'],
    [
      'an init-data digest of 48 bytes',
      { ...request, expectedInitDataDigest: randomBytes(48) },
      'INPUT_INVALID at expected-values',
    ],
    [
      'other init data',
      { ...request, expectedInitDataDigest: randomBytes(32) },
      'INIT_DATA_MISMATCH at init-data',
    ],
    ['no init data expected', { now, expectedReportData: reportData }, 'accepted'],
  ])('%s', async (_name, given, outcome) => {
    expect(await rejectionOf(verifier(), evidence(), given)).toBe(outcome)
  })

  test.each([
    [0, 1, 'EVIDENCE_VERSION_TOO_OLD at evidence-version'],
    [1, 2, 'EVIDENCE_VERSION_TOO_OLD at evidence-version'],
    [2, 2, 'accepted'],
  ] as const)('version %i where %i is the least', async (version, minEvidenceVersion, outcome) => {
    expect(await rejectionOf(verifier({ minEvidenceVersion }), evidence({ version }), request)).toBe(outcome)
  })

  test('version 1 relabelled as 2 lacks the user data', async () => {
    const relabelled = evidence({ version: 1 })
    relabelled.version = 2
    expect(await rejectionOf(verifier(), relabelled, request)).toBe('USER_DATA_MISMATCH at user-data')
  })
})
