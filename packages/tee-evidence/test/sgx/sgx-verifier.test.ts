import { createHash } from 'node:crypto'
import { encodeHex } from '@passport-kbs/protocol'
import {
  collateralDefects,
  type EnclaveEvidenceOptions,
  enclaveEvidence,
  quoteDefects,
  virtualMrEnclave,
} from '@passport-kbs/testing'
import { describe, expect, test } from 'vitest'
import { createSgxVerifier, type VerificationRequest } from '../../src/index.ts'
import { dcapWith, intel, now, platform, rejection } from '../intel/virtual-machine.ts'

const reportData = createHash('sha384').update('runtime data').digest()
const request: VerificationRequest = { now, expectedReportData: reportData }
const verifier = (dcap = dcapWith({ tee: 'sgx' }), allowDebug = false) =>
  createSgxVerifier({ dcap, allowDebug })
const evidence = (options: Partial<EnclaveEvidenceOptions> = {}, machine = platform) =>
  enclaveEvidence(machine, { reportData, ...options })

describe('A genuine enclave quote', () => {
  test('is accepted, with the claims of the specification', async () => {
    const [entry] = await verifier().verify(evidence({ configId: Uint8Array.of(1, 2) }), request)
    expect(entry).toMatchObject({
      tee: 'sgx',
      teeClass: 'cpu',
      claims: {
        tcb_status: 'UpToDate',
        header: {
          version: '0300',
          att_key_type: '0200',
          att_key_data_0: '00000000',
          qe_svn: '0800',
          pce_svn: '0d00',
        },
        body: {
          mr_enclave: encodeHex(virtualMrEnclave),
          isv_svn: '0200',
          'attributes.flags': '0500000000000000',
        },
        init_data: `0102${'00'.repeat(62)}`,
        report_data: reportData.toString('hex') + '00'.repeat(16),
      },
    })
    expect(entry?.passed).toEqual(
      verifier()
        .checks.map(({ name }) => name)
        .filter((name) => name !== 'init-data'),
    )
  })

  test('of a platform with the Processor CA is accepted', async () => {
    const machine = intel.platform({ ca: 'processor' })
    const [entry] = await verifier(dcapWith({ tee: 'sgx', ca: 'processor' })).verify(
      evidence({}, machine),
      request,
    )
    expect(entry?.claims).toMatchObject({ sgx_type: 'Standard' })
    expect(entry?.claims).not.toHaveProperty('platform_instance_id')
  })

  test.each([
    [13, 'UpToDate'],
    [12, 'SWHardeningNeeded'],
    [11, 'ConfigurationNeeded'],
    [10, 'ConfigurationAndSWHardeningNeeded'],
    [9, 'OutOfDate'],
    [8, 'OutOfDateConfigurationNeeded'],
  ])('of a platform with PCESVN %i is %s', async (pceSvn, status) => {
    const machine = intel.platform({ pck: { pceSvn } })
    const [entry] = await verifier().verify(evidence({}, machine), request)
    expect(entry?.claims).toMatchObject({ tcb_status: status, tcb_status_current: status })
  })

  test('is OutOfDate with an old quoting enclave', async () => {
    const [entry] = await verifier().verify(evidence({ qeSvn: 3 }), request)
    expect(entry?.claims).toMatchObject({ tcb_status: 'OutOfDate', tcb_date: '2024-03-20T00:00:00Z' })
  })
})

describe('Every fault is refused for its own reason', () => {
  const ofSgx = quoteDefects.filter(({ of }) => of === undefined || of === 'sgx')
  test.each(ofSgx)('quote: $name: $code', async ({ name, code }) => {
    expect((await rejection(verifier().verify(evidence({ defect: name }), request))).code).toBe(code)
  })

  const documents = collateralDefects.filter(({ of }) => of === undefined)
  test.each(documents)('collateral: $name: $code', async ({ name, code }) => {
    const using = verifier(dcapWith({ tee: 'sgx', defect: name }))
    expect((await rejection(using.verify(evidence(), request))).code).toBe(code)
  })

  test('a TD quote is not one of an enclave', async () => {
    const quote = Buffer.from(platform.tdQuote()).toString('base64')
    expect((await rejection(verifier().verify({ quote }, request))).code).toBe('QUOTE_VERSION_UNSUPPORTED')
  })

  test('collateral of TDX is not for an enclave', async () => {
    expect((await rejection(verifier(dcapWith({ tee: 'tdx' })).verify(evidence(), request))).code).toBe(
      'TCB_INFO_MISMATCH',
    )
  })

  test('an init-data digest is compared with the configuration id', async () => {
    const expectedInitDataDigest = createHash('sha256').update('init data').digest()
    const wanted = { ...request, expectedInitDataDigest }
    await expect(
      verifier().verify(evidence({ configId: expectedInitDataDigest }), wanted),
    ).resolves.toHaveLength(1)
    expect((await rejection(verifier().verify(evidence(), wanted))).code).toBe('INIT_DATA_MISMATCH')
  })

  test('a debug enclave is accepted only on request', async () => {
    const using = verifier(dcapWith({ tee: 'sgx' }), true)
    await expect(using.verify(evidence({ defect: 'enclave-debug' }), request)).resolves.toHaveLength(1)
  })

  test('a quote cut at any length gives a rejection', async () => {
    const quote = platform.enclaveQuote()
    for (let length = 0; length < quote.length; length += length < 1200 ? 1 : 97) {
      const cut = Buffer.from(quote.subarray(0, length)).toString('base64')
      expect((await rejection(verifier().verify({ quote: cut }, request))).code).toMatch(
        /^(EVIDENCE|QUOTE)_MALFORMED$/,
      )
    }
  })
})
