import { isJsonObject, type JsonObject, type JsonValue } from '@passport-kbs/protocol'
import {
  type CsvEvidenceOptions,
  createVirtualHygonChip,
  createVirtualHygonRoot,
  type EventLogDefect,
  type HygonCertificateDefect,
  virtualCsvMeasure,
  virtualEventLog,
} from '@passport-kbs/testing'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type CsvVerifierOptions,
  createCsvVerifier,
  EvidenceRejected,
  firstHygonSource,
  hskCekOffer,
  hygonRoot,
  hygonRootCertificate,
  type RejectionCode,
  type VerificationRequest,
  type VerifiedEvidence,
} from '../../src/index.ts'

const root = createVirtualHygonRoot()
const chip = createVirtualHygonChip({ root })
const reportData = new Uint8Array(48).fill(7)
const request: VerificationRequest = { now: new Date('2026-01-15T00:00:00Z'), expectedReportData: reportData }
const sm3Log = virtualEventLog({ banks: ['sm3'] })
const evidenceOptions: CsvEvidenceOptions = { reportData, eventLog: sm3Log }

function verify(
  evidence: JsonValue,
  options: Partial<CsvVerifierOptions> = {},
  expected: VerificationRequest = request,
): Promise<readonly VerifiedEvidence[]> {
  return createCsvVerifier({ root: hygonRoot(root.certificate), ...options }).verify(evidence, expected)
}

async function rejection(...args: Parameters<typeof verify>): Promise<EvidenceRejected> {
  const error = await verify(...args).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (error instanceof EvidenceRejected) return error
  throw error ?? new Error('accepted')
}

describe('a Hygon CSV verifier', () => {
  it.each([1, 2] as const)('accepts a genuine V%d report and gives its fields as claims', async (version) => {
    const [entry] = await verify(chip.evidence({ ...evidenceOptions, version }))
    expect(entry?.tee).toBe('csv')
    expect(entry?.teeClass).toBe('cpu')
    expect(entry?.claims).toMatchObject({
      version: String(version),
      measure: Buffer.from(virtualCsvMeasure).toString('hex'),
      report_data: '07'.repeat(48) + '00'.repeat(16),
      serial_number: chip.chipId,
      sig_usage: '02100000',
      sig_algo: '04000000',
      policy: { nodbg: 1, noks: 0, es: 1, csv3: 1, api_major: 0 },
    })
    expect(entry?.claims).not.toHaveProperty('init_data')
  })

  it('makes its checks in the order of its list', async () => {
    const verifier = createCsvVerifier({ root: hygonRoot(root.certificate) })
    const [entry] = await verifier.verify(chip.evidence(evidenceOptions), request)
    expect(entry?.passed).toEqual(verifier.checks.map(({ name }) => name))
  })

  it('exposes the event log of a V2 report, replayed with SM3 against rtmr1 to rtmr4', async () => {
    const [entry] = await verify(chip.evidence(evidenceOptions))
    expect(entry?.claims.uefi_event_logs).toHaveLength(7)
    expect(entry?.claims.rtmr4).toBe(Buffer.from(sm3Log.registers[3] ?? []).toString('hex'))
  })

  it('ignores the event log of a V1 report, whatever it is, and exposes nothing of it', async () => {
    const evidence = chip.evidence({ ...evidenceOptions, version: 1 })
    const [entry] = await verify({ ...evidence, cc_eventlog: '!' })
    expect(entry?.claims).not.toHaveProperty('uefi_event_logs')
  })

  it('verifies what another chip of the root sends, and the same chip twice', async () => {
    const verifier = createCsvVerifier({ root: hygonRoot(root.certificate) })
    const other = createVirtualHygonChip({ root })
    for (const sender of [chip, chip, other]) {
      await expect(verifier.verify(sender.evidence(evidenceOptions), request)).resolves.toHaveLength(1)
    }
  })

  it('looks up HSK and CEK by chip id when the guest sends none', async () => {
    const asked: string[] = []
    const certificateSource = {
      name: 'test',
      hskCek: async (chipId: string) => {
        asked.push(chipId)
        return hskCekOffer(chip.hskCek)
      },
    }
    const evidence = chip.evidence({ ...evidenceOptions, withChain: false })
    await expect(verify(evidence, { certificateSource })).resolves.toHaveLength(1)
    expect(asked).toEqual([chip.chipId])
  })

  it('does not look up what the guest sends', async () => {
    const certificateSource = { name: 'test', hskCek: () => Promise.reject(new Error('asked')) }
    await expect(verify(chip.evidence(evidenceOptions), { certificateSource })).resolves.toHaveLength(1)
  })

  it('tells the source whether its certificates verified', async () => {
    const evidence = chip.evidence({ ...evidenceOptions, withChain: false })
    const told: string[] = []
    const sourceOf = (certificates: Uint8Array) => ({
      name: 'test',
      hskCek: async () => ({
        certificates,
        accept: () => void told.push('accept'),
        refuse: () => void told.push('refuse'),
      }),
    })
    await verify(evidence, { certificateSource: sourceOf(chip.hskCek) })
    await rejection(evidence, { certificateSource: sourceOf(chip.hskCek.subarray(1)) })
    await rejection(evidence, { certificateSource: sourceOf(createVirtualHygonChip().hskCek) })
    expect(told).toEqual(['accept', 'refuse', 'refuse'])
  })

  it('does not blame the source for a PEK that the chip did not sign', async () => {
    const badPek = createVirtualHygonChip({ root, defect: 'pek-signature' })
    const told: string[] = []
    const certificateSource = {
      name: 'test',
      hskCek: async () => ({
        certificates: badPek.hskCek,
        accept: () => void told.push('accept'),
        refuse: () => void told.push('refuse'),
      }),
    }
    const evidence = badPek.evidence({ ...evidenceOptions, withChain: false })
    expect((await rejection(evidence, { certificateSource })).check).toBe('pek-signature')
    expect(told).toEqual(['accept'])
  })

  it('remembers good signatures only under the root that they were checked with', async () => {
    await verify(chip.evidence(evidenceOptions))
    const other = hygonRoot(createVirtualHygonRoot().certificate)
    expect((await rejection(chip.evidence(evidenceOptions), { root: other })).code).toBe('CSV_CHAIN_INVALID')
  })

  it('uses Hygon’s root where none is given', async () => {
    const error = await createCsvVerifier()
      .verify(chip.evidence(evidenceOptions), request)
      .catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'CSV_CHAIN_INVALID', check: 'chip-chain' })
  })
})

describe('options of a CSV verifier', () => {
  it('minReportVersion 2 refuses V1 reports', async () => {
    const evidence = chip.evidence({ ...evidenceOptions, version: 1 })
    expect((await rejection(evidence, { minReportVersion: 2 })).code).toBe('EVIDENCE_VERSION_TOO_OLD')
    await expect(verify(chip.evidence(evidenceOptions), { minReportVersion: 2 })).resolves.toHaveLength(1)
  })

  it('allowDebug accepts a debuggable guest, and the claims say so', async () => {
    const [entry] = await verify(chip.evidence({ ...evidenceOptions, policy: 0x44 }), { allowDebug: true })
    expect(entry?.claims.policy).toMatchObject({ nodbg: 0, es: 1 })
  })

  it('ignoreInitData accepts an expected digest and claims nothing', async () => {
    const expected = { ...request, expectedInitDataDigest: new Uint8Array(32) }
    const [entry] = await verify(chip.evidence(evidenceOptions), { ignoreInitData: true }, expected)
    expect(entry?.claims).not.toHaveProperty('init_data')
  })

  it('requireEventLog refuses a V2 report without a log, and every V1 report', async () => {
    const bare = chip.evidence({ reportData })
    expect((await rejection(bare, { requireEventLog: true })).check).toBe('event-log-member')
    const v1 = chip.evidence({ ...evidenceOptions, version: 1 })
    expect((await rejection(v1, { requireEventLog: true })).check).toBe('event-log-member')
    await expect(verify(chip.evidence(evidenceOptions), { requireEventLog: true })).resolves.toHaveLength(1)
  })
})

interface Row {
  readonly what: string
  readonly check: string
  readonly code: RejectionCode
  /** Default: false. */
  readonly outage?: boolean
  readonly make: () => readonly [JsonValue, Partial<CsvVerifierOptions>?, VerificationRequest?]
}

function reportRow(
  check: string,
  code: RejectionCode,
  defect: NonNullable<CsvEvidenceOptions['defect']>,
): Row {
  return { what: defect, check, code, make: () => [chip.evidence({ ...evidenceOptions, defect })] }
}

function certificateRow(check: string, code: RejectionCode, defect: HygonCertificateDefect): Row {
  const make = () => [createVirtualHygonChip({ root, defect }).evidence(evidenceOptions)] as const
  return { what: defect, check, code, make }
}

function logRow(check: string, code: RejectionCode, defect: EventLogDefect): Row {
  const make = () => {
    const eventLog = virtualEventLog({ banks: ['sm3'], defect })
    return [chip.evidence({ ...evidenceOptions, eventLog })] as const
  }
  return { what: defect, check, code, make }
}

const rows: readonly Row[] = [
  ...[0, 65].map((size) => ({
    what: `expected report data of ${size} bytes`,
    check: 'expected-values',
    code: 'INPUT_INVALID' as const,
    make: () =>
      [chip.evidence(evidenceOptions), {}, { ...request, expectedReportData: new Uint8Array(size) }] as const,
  })),
  reportRow('evidence-format', 'EVIDENCE_MALFORMED', 'pek-missing'),
  reportRow('evidence-format', 'EVIDENCE_MALFORMED', 'report-cut-short'),
  reportRow('report-version', 'CSV_REPORT_UNSUPPORTED', 'unknown-magic'),
  reportRow('report-version', 'CSV_REPORT_UNSUPPORTED', 'unknown-flags'),
  {
    what: 'an event log that is not base64',
    check: 'event-log-member',
    code: 'EVIDENCE_MALFORMED',
    make: () => [{ ...chip.evidence(evidenceOptions), cc_eventlog: '!!!!' }],
  },
  {
    what: 'an event log of more than 1.25 MiB',
    check: 'event-log-member',
    code: 'EVENTLOG_MALFORMED',
    make: () => [{ ...chip.evidence(evidenceOptions), cc_eventlog: 'A'.repeat(1_747_632) }],
  },
  reportRow('chip-id', 'CSV_SERIAL_INVALID', 'serial-number-with-path'),
  reportRow('pek-copy', 'CSV_PEK_MISMATCH', 'other-pek'),
  reportRow('serial-number-copy', 'CSV_SERIAL_MISMATCH', 'other-serial-number'),
  {
    what: 'no chain and no source',
    check: 'chip-certificates',
    code: 'CSV_CHAIN_UNAVAILABLE',
    make: () => [chip.evidence({ ...evidenceOptions, withChain: false })],
  },
  {
    what: 'no chain and a source that knows of none',
    check: 'chip-certificates',
    code: 'CSV_CHAIN_UNAVAILABLE',
    make: () => [
      chip.evidence({ ...evidenceOptions, withChain: false }),
      { certificateSource: { name: 'test', hskCek: async () => undefined } },
    ],
  },
  {
    what: 'no chain and a source that cannot be asked',
    check: 'chip-certificates',
    code: 'CSV_CHAIN_UNAVAILABLE',
    outage: true,
    make: () => [
      chip.evidence({ ...evidenceOptions, withChain: false }),
      {
        certificateSource: firstHygonSource([
          { name: 'none', hskCek: async () => undefined },
          { name: 'down', hskCek: () => Promise.reject(new Error('down')) },
        ]),
      },
    ],
  },
  {
    what: 'a source with certificates of another root',
    check: 'chip-chain',
    code: 'CSV_CHAIN_INVALID',
    outage: true,
    make: () => [
      chip.evidence({ ...evidenceOptions, withChain: false }),
      {
        certificateSource: {
          name: 'test',
          hskCek: async () => hskCekOffer(createVirtualHygonChip().hskCek),
        },
      },
    ],
  },
  {
    what: 'a source with the certificates of another chip',
    check: 'pek-signature',
    code: 'CSV_CHAIN_INVALID',
    make: () => [
      chip.evidence({ ...evidenceOptions, withChain: false }),
      {
        certificateSource: {
          name: 'test',
          hskCek: async () => hskCekOffer(createVirtualHygonChip({ root }).hskCek),
        },
      },
    ],
  },
  {
    what: 'a source with a file cut short',
    check: 'chip-certificate-format',
    code: 'CSV_CERT_MALFORMED',
    outage: true,
    make: () => [
      chip.evidence({ ...evidenceOptions, withChain: false }),
      { certificateSource: { name: 'test', hskCek: async () => hskCekOffer(chip.hskCek.subarray(0, 832)) } },
    ],
  },
  certificateRow('chip-certificate-format', 'CSV_CERT_MALFORMED', 'hsk-usage'),
  certificateRow('chip-certificate-format', 'CSV_CERT_MALFORMED', 'hsk-curve'),
  certificateRow('chip-certificate-format', 'CSV_CERT_MALFORMED', 'hsk-user-id-empty'),
  certificateRow('chip-certificate-format', 'CSV_CERT_MALFORMED', 'hsk-user-id-too-long'),
  certificateRow('chip-certificate-format', 'CSV_CERT_MALFORMED', 'cek-usage'),
  certificateRow('chip-certificate-format', 'CSV_CERT_MALFORMED', 'cek-algorithm'),
  certificateRow('chip-certificate-format', 'CSV_CERT_MALFORMED', 'cek-curve'),
  certificateRow('chip-certificate-format', 'CSV_CERT_MALFORMED', 'cek-user-id-too-long'),
  certificateRow('pek-format', 'CSV_CERT_MALFORMED', 'pek-usage'),
  certificateRow('pek-format', 'CSV_CERT_MALFORMED', 'pek-algorithm'),
  certificateRow('pek-format', 'CSV_CERT_MALFORMED', 'pek-curve'),
  certificateRow('pek-format', 'CSV_CERT_MALFORMED', 'pek-user-id-empty'),
  certificateRow('chip-chain', 'CSV_CHAIN_INVALID', 'hsk-signer-id'),
  certificateRow('chip-chain', 'CSV_CHAIN_INVALID', 'hsk-signature'),
  certificateRow('chip-chain', 'CSV_CHAIN_INVALID', 'cek-signer-id'),
  certificateRow('chip-chain', 'CSV_CHAIN_INVALID', 'cek-signature'),
  certificateRow('chip-chain', 'CSV_CHAIN_INVALID', 'cek-slot-usage'),
  certificateRow('pek-signature', 'CSV_CHAIN_INVALID', 'pek-signature'),
  certificateRow('pek-signature', 'CSV_CHAIN_INVALID', 'pek-slot-usage'),
  reportRow('report-algorithm', 'CSV_REPORT_ALGORITHM_UNSUPPORTED', 'signer-usage'),
  reportRow('report-algorithm', 'CSV_REPORT_ALGORITHM_UNSUPPORTED', 'signer-algorithm'),
  reportRow('report-signature', 'CSV_REPORT_SIGNATURE_INVALID', 'report-changed'),
  reportRow('report-signature', 'CSV_REPORT_SIGNATURE_INVALID', 'signed-by-cek'),
  reportRow('report-signature', 'CSV_REPORT_SIGNATURE_INVALID', 'signed-with-default-user-id'),
  reportRow('report-signature', 'CSV_REPORT_SIGNATURE_INVALID', 'signature-high-byte'),
  reportRow('report-signature', 'CSV_REPORT_SIGNATURE_INVALID', 'signature-zero'),
  reportRow('rtmr0', 'CSV_RTMR0_MISMATCH', 'rtmr0'),
  {
    what: 'other report data',
    check: 'report-data',
    code: 'REPORT_DATA_MISMATCH',
    make: () => [chip.evidence({ ...evidenceOptions, reportData: new Uint8Array(48).fill(8) })],
  },
  {
    what: 'report data that only begins as expected',
    check: 'report-data',
    code: 'REPORT_DATA_MISMATCH',
    make: () => [chip.evidence({ ...evidenceOptions, reportData: new Uint8Array(49).fill(7) })],
  },
  {
    what: 'an expected init-data digest',
    check: 'init-data',
    code: 'INIT_DATA_UNSUPPORTED',
    make: () => [
      chip.evidence(evidenceOptions),
      {},
      { ...request, expectedInitDataDigest: new Uint8Array(32) },
    ],
  },
  {
    what: 'a debuggable guest',
    check: 'debug',
    code: 'DEBUG_NOT_ALLOWED',
    make: () => [chip.evidence({ ...evidenceOptions, policy: 0x44 })],
  },
  {
    what: 'an empty event log',
    check: 'event-log-structure',
    code: 'EVENTLOG_MALFORMED',
    make: () => [{ ...chip.evidence(evidenceOptions), cc_eventlog: '' }],
  },
  logRow('event-log-structure', 'EVENTLOG_MALFORMED', 'no-digest'),
  logRow('event-log-binding', 'EVENTLOG_UNBOUND_EVENT', 'register-5'),
  logRow('event-log-replay', 'EVENTLOG_REPLAY_MISMATCH', 'event-removed'),
  {
    what: 'the log of a TDX guest, which has no SM3 digests',
    check: 'event-log-binding',
    code: 'EVENTLOG_UNBOUND_EVENT',
    make: () => {
      const { bytes } = virtualEventLog()
      return [chip.evidence({ ...evidenceOptions, eventLog: { bytes, registers: sm3Log.registers } })]
    },
  },
  {
    what: 'the log of another guest',
    check: 'event-log-replay',
    code: 'EVENTLOG_REPLAY_MISMATCH',
    make: () => {
      const { bytes } = virtualEventLog({ banks: ['sm3'], events: [] })
      return [chip.evidence({ ...evidenceOptions, eventLog: { bytes, registers: sm3Log.registers } })]
    },
  },
]

describe('each check fails alone', () => {
  it.each(rows)('$check: $what', async ({ check, code, outage = false, make }) => {
    expect(await rejection(...make())).toMatchObject({ check, code, outage })
  })

  it.each([
    'signer-usage',
    'signer-algorithm',
    'report-changed',
    'signed-by-cek',
    'signed-with-default-user-id',
    'signature-high-byte',
  ] as const)('of a V1 report too: %s', async (defect) => {
    const code = defect.startsWith('signer')
      ? 'CSV_REPORT_ALGORITHM_UNSUPPORTED'
      : 'CSV_REPORT_SIGNATURE_INVALID'
    expect(await rejection(chip.evidence({ ...evidenceOptions, version: 1, defect }))).toMatchObject({ code })
  })

  it('and none is without a case', () => {
    const names = createCsvVerifier().checks.map(({ name }) => name)
    expect(names.filter((name) => !rows.some(({ check }) => check === name))).toEqual([])
    expect(new Set(names).size).toBe(names.length)
  })

  it('and rejects with no code that it does not list', () => {
    const { checks } = createCsvVerifier()
    for (const { check, code } of rows) {
      expect(checks.find(({ name }) => name === check)?.codes).toContain(code)
    }
  })
})

describe('CSV evidence of the wrong shape', () => {
  const good = chip.evidence(evidenceOptions)

  it.each<[string, JsonValue]>([
    ['null', null],
    ['an array', []],
    ['a string', 'evidence'],
    ['an empty object', {}],
    ['a report that is null', { ...good, attestation_report: null }],
    ['a chain that is a string', { ...good, cert_chain: 'x' }],
    ['a serial number of 63 bytes', { ...good, serial_number: new Array(63).fill(65) }],
    ['a serial number as text', { ...good, serial_number: 'NZA9T14052605' }],
    ['an event log that is a number', { ...good, cc_eventlog: 1 }],
    ['a HSK without CEK', changed(good, ['cert_chain', 'hsk_cek', 'cek'], undefined)],
    ['one signature slot', changed(good, ['cert_chain', 'pek', 'sigs', '1'], undefined)],
    [
      'a key usage of 33 bits',
      changed(good, ['cert_chain', 'pek', 'body', 'data', 'pubkey', 'usage'], 2 ** 32),
    ],
    ['a negative user id length', changed(good, ['cert_chain', 'pek', 'body', 'data', 'uid_size'], -1)],
    [
      '71 bytes of x',
      changed(good, ['cert_chain', 'pek', 'body', 'data', 'pubkey', 'key', 'x'], new Array(71).fill(0)),
    ],
    ['flags as text', changed(good, ['attestation_report', 'flags'], '1')],
    ['a magic of 17 bytes', changed(good, ['attestation_report', 'magic'], new Array(17).fill(0))],
  ])('is refused: %s', async (_what, evidence) => {
    expect(await rejection(evidence)).toMatchObject({ code: 'EVIDENCE_MALFORMED', check: 'evidence-format' })
  })

  it('may have members that nobody knows', async () => {
    await expect(verify({ ...good, extra: 1 })).resolves.toHaveLength(1)
  })

  it('may have null for HSK and CEK', async () => {
    const evidence = changed(good, ['cert_chain', 'hsk_cek'], null)
    expect((await rejection(evidence)).code).toBe('CSV_CHAIN_UNAVAILABLE')
  })
})

/** A copy of `value` with another member at `path`; undefined removes it. */
function changed(value: JsonValue, path: readonly string[], member: JsonValue | undefined): JsonValue {
  const [name, ...rest] = path
  if (name === undefined) throw new Error('empty path')
  if (Array.isArray(value)) return value.filter((_entry, index) => String(index) !== name)
  if (!isJsonObject(value)) throw new Error(`no ${name}`)
  const copy: JsonObject = { ...value }
  if (rest.length > 0) copy[name] = changed(copy[name] ?? null, rest, member)
  else if (member === undefined) delete copy[name]
  else copy[name] = member
  return copy
}

describe('the pinned root', () => {
  it('is Hygon’s HRK', async () => {
    const digest = Buffer.from(await crypto.subtle.digest('SHA-256', hygonRootCertificate().slice()))
    expect(digest.toString('hex')).toBe('296efa97580464aca0ab5eefe42199ee05862182508d1629f29cf4dc175b10cd')
  })

  it('is accepted as a root: its self-signature holds', () => {
    expect(() => hygonRoot(hygonRootCertificate())).not.toThrow()
  })

  it('is refused when one bit of it is wrong, or when it is no HRK', () => {
    const changedRoot = hygonRootCertificate()
    changedRoot[500] = 1
    expect(() => hygonRoot(changedRoot)).toThrow('HRK is not self-signed')
    expect(() => hygonRoot(chip.hskCek.subarray(0, 832))).toThrow('HRK: key usage')
    expect(() => hygonRoot(new Uint8Array(0))).toThrow('HRK has 0 bytes')
  })
})

describe('a V1 report', () => {
  it('can be shifted by its unsigned mask: only a policy that pins measure sees it (spec 04 §9.7)', async () => {
    const evidence = chip.evidence({ ...evidenceOptions, version: 1, policy: 0x45 })
    const report = evidence.attestation_report as JsonObject
    const data = [...(report.data as number[])]
    // one bit of the mask, undone in the two fields that are unsigned: the policy's api_minor changes, and all else
    for (const offset of [191, 183, 187]) data[offset] = (data[offset] ?? 0) ^ 0x40
    const shifted = { ...evidence, attestation_report: { ...report, data } }
    const [entry] = await verify(shifted, {}, { now: request.now })
    expect(entry?.claims.policy).toMatchObject({ api_minor: 0x40 })
    expect(entry?.claims.measure).not.toBe(Buffer.from(virtualCsvMeasure).toString('hex'))
  })
})

describe('whatever the input', () => {
  it('is rejected by a named check, never by another exception', async () => {
    await fc.assert(
      fc.asyncProperty(fc.jsonValue({ maxDepth: 6 }), async (value) => {
        expect(await rejection(value as JsonValue)).toMatchObject({ check: 'evidence-format' })
      }),
      { numRuns: 200 },
    )
  })

  it.each([1, 2] as const)('no signed byte of a V%d report can change', async (version) => {
    const evidence = chip.evidence({ ...evidenceOptions, version })
    const report = evidence.attestation_report as JsonObject
    const signed = version === 1 ? 180 : 1024
    await fc.assert(
      fc.asyncProperty(fc.nat(signed - 1), fc.integer({ min: 1, max: 255 }), async (at, difference) => {
        const data = (report.data as number[]).map((byte, offset) =>
          offset === at ? byte ^ difference : byte,
        )
        const error = await rejection({ ...evidence, attestation_report: { ...report, data } })
        // signer usage and algorithm are read before the signature is verified
        expect(['report-signature', 'report-algorithm']).toContain(error.check)
      }),
      { numRuns: 40 },
    )
  })
})
