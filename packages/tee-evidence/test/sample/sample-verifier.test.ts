/** Spec 04 §10: sample evidence is for development, and must be asked for. */
import { encodeBase64, jsonObject } from '@passport-kbs/protocol'
import { describe, expect, it } from 'vitest'
import { createSampleDeviceVerifier, createSampleVerifier } from '../../src/index.ts'
import { rejectionOf } from '../rejection-of.ts'

const now = new Date('2026-03-01T12:00:00Z')
const reportData = Buffer.alloc(48, 3)
const evidence = jsonObject({ svn: '1', report_data: encodeBase64(reportData) })
const request = { now, expectedReportData: reportData }
const sample = createSampleVerifier({ enabled: true })
const device = createSampleDeviceVerifier({ enabled: true })

describe('unless enabled', () => {
  it.each([
    ['sample', createSampleVerifier()],
    ['sampledevice', createSampleDeviceVerifier()],
  ])('%s takes nothing, before it looks at the evidence', async (_name, verifier) => {
    expect(await rejectionOf(verifier, null, request)).toBe('TEE_NOT_ENABLED at enabled')
  })
})

describe('sample', () => {
  it('gives fixed claims and reflects the init-data digest', async () => {
    const digest = Buffer.alloc(32, 9)
    const [entry] = await sample.verify(evidence, { ...request, expectedInitDataDigest: digest })
    expect(entry).toMatchObject({ tee: 'sample', teeClass: 'cpu' })
    expect(JSON.parse(JSON.stringify(entry?.claims))).toEqual({
      svn: '1',
      report_data: encodeBase64(reportData),
      launch_digest: 'abcde',
      platform_version: { major: 1, minor: 4 },
      debug: false,
      init_data: encodeBase64(digest),
    })
  })

  it('has no init_data claim when no digest is expected, and report data may be absent', async () => {
    const [entry] = await sample.verify(jsonObject({ svn: '1' }), { now })
    expect(entry?.claims).not.toHaveProperty('init_data')
    expect(entry?.claims.report_data).toBe('')
  })

  it.each([
    ['padded report data', { now, expectedReportData: Buffer.concat([reportData, Buffer.alloc(16)]) }],
    ['other report data', { now, expectedReportData: Buffer.alloc(48, 4) }],
  ])('rejects %s', async (_name, given) => {
    expect(await rejectionOf(sample, evidence, given)).toBe('REPORT_DATA_MISMATCH at report-data')
  })

  it('rejects an expected value that binds nothing', async () => {
    const empty = jsonObject({ svn: '1', report_data: '' })
    expect(await rejectionOf(sample, empty, { now, expectedReportData: new Uint8Array() })).toBe(
      'INPUT_INVALID at report-data',
    )
  })

  it.each([
    null,
    [],
    'text',
    jsonObject({}),
    jsonObject({ svn: 1 }),
    jsonObject({ svn: '1', report_data: 'a' }),
  ])('rejects %j', async (value) => {
    expect(await rejectionOf(sample, value, { now })).toBe('EVIDENCE_MALFORMED at evidence-format')
  })
})

describe('sampledevice', () => {
  it('gives two claims and is a gpu', async () => {
    const [entry] = await device.verify(evidence, request)
    expect(entry).toMatchObject({ tee: 'sampledevice', teeClass: 'gpu' })
    expect({ ...entry?.claims }).toEqual({ svn: '1', report_data: encodeBase64(reportData) })
  })

  it('must have report data', async () => {
    expect(await rejectionOf(device, jsonObject({ svn: '2' }), { now })).toBe(
      'EVIDENCE_MALFORMED at evidence-format',
    )
  })
})
