import { createHash } from 'node:crypto'
import { encodeHex } from '@passport-kbs/protocol'
import {
  collateralDefects,
  quoteDefects,
  type TdEvidenceOptions,
  tdEvidence,
  virtualMrTd,
} from '@passport-kbs/testing'
import { describe, expect, test } from 'vitest'
import { createTdxVerifier, type TdxVerifierOptions, type VerificationRequest } from '../../src/index.ts'
import { dcapWith, intel, now, platform, rejection } from '../intel/virtual-machine.ts'

const reportData = createHash('sha384').update('runtime data').digest()
const request: VerificationRequest = { now, expectedReportData: reportData }
const verifier = (options: Partial<TdxVerifierOptions> = {}) =>
  createTdxVerifier({ dcap: dcapWith(), ...options })
const evidence = (options: Partial<TdEvidenceOptions> = {}) =>
  tdEvidence(platform, { reportData, ...options })

async function claimsOf(options: Partial<TdEvidenceOptions> = {}, using = verifier()) {
  const [entry] = await using.verify(evidence(options), request)
  if (entry === undefined) throw new Error('no entry')
  return entry.claims
}

describe('A genuine TD quote', () => {
  test.each([
    ['version 4', { version: 4 }],
    ['version 5 with a TDX 1.0 body', { version: 5, layout: '1.0' }],
    ['version 5 with a TDX 1.5 body', { version: 5, layout: '1.5' }],
    ['no QE authentication data', { authenticationData: new Uint8Array() }],
    ['64 bytes of QE authentication data', { authenticationData: new Uint8Array(64) }],
  ] as const)('is accepted: %s', async (_name, options) => {
    const [entry] = await verifier().verify(evidence(options), request)
    expect(entry).toMatchObject({
      tee: 'tdx',
      teeClass: 'cpu',
      claims: {
        tcb_status: 'UpToDate',
        tcb_status_current: 'UpToDate',
        collateral_expiration_status: '0',
        report_data: Buffer.concat([reportData, Buffer.alloc(16)]).toString('hex'),
        quote: { body: { mr_td: encodeHex(virtualMrTd) } },
        sgx_type: 'Scalable',
        is_smt_enabled: false,
      },
    })
    expect(entry?.passed).toEqual(
      verifier()
        .checks.map(({ name }) => name)
        .filter((name) => !name.startsWith('event-log') && name !== 'init-data'),
    )
  })

  test('of a platform with the Processor CA has no platform instance id and no configuration claims', async () => {
    const machine = intel.platform({ ca: 'processor' })
    const [entry] = await verifier({ dcap: dcapWith({ ca: 'processor' }) }).verify(
      tdEvidence(machine, { reportData }),
      request,
    )
    expect(entry?.claims).toMatchObject({ tcb_status: 'UpToDate', sgx_type: 'Standard' })
    for (const name of ['platform_instance_id', 'is_dynamic_platform', 'is_cached_keys', 'is_smt_enabled']) {
      expect(entry?.claims).not.toHaveProperty(name)
    }
  })

  test('states the platform instance id in reverse', async () => {
    const instanceId = Buffer.from('00112233445566778899aabbccddeeff', 'hex')
    const machine = intel.platform({
      pck: { platform: { instanceId, dynamic: true, cachedKeys: false, smt: true } },
    })
    const [entry] = await verifier().verify(tdEvidence(machine, { reportData }), request)
    expect(entry?.claims).toMatchObject({
      platform_instance_id: 'ffeeddccbbaa99887766554433221100',
      is_dynamic_platform: true,
      is_cached_keys: false,
      is_smt_enabled: true,
    })
  })

  test('may have zeros behind it', async () => {
    const quote = Buffer.concat([
      platform.tdQuote({ fields: { report_data: reportData } }),
      Buffer.alloc(3065),
    ])
    await expect(verifier().verify({ quote: quote.toString('base64') }, request)).resolves.toHaveLength(1)
  })
})

describe('Every fault of a quote is refused for its own reason', () => {
  for (const { name, code, of } of quoteDefects.filter(({ of }) => of !== 'sgx')) {
    const versions = of === 'v5' ? ([5] as const) : ([4, 5] as const)
    test.each(versions)(`${name} in version %i: ${code}`, async (version) => {
      const result = await rejection(verifier().verify(evidence({ version, defect: name }), request))
      expect(result).toMatchObject({ code, outage: false })
    })
  }
})

describe('Every fault of the collateral is refused for its own reason', () => {
  test.each(collateralDefects)('$name: $code', async ({ name, code }) => {
    const using = verifier({ dcap: dcapWith({ defect: name }) })
    expect((await rejection(using.verify(evidence(), request))).code).toBe(code)
  })

  test.each(['tcbInfo', 'qeIdentity', 'pckCrl', 'rootCaCrl'])(
    'no %s: COLLATERAL_UNAVAILABLE',
    async (name) => {
      const { [name]: _, ...rest } = intel.collateral() as unknown as Record<string, unknown>
      const dcap = dcapWith({ tcbInfo: undefined, ...rest } as never)
      expect((await rejection(verifier({ dcap }).verify(evidence(), request))).code).toBe(
        'COLLATERAL_UNAVAILABLE',
      )
    },
  )

  test('a revoked PCK is refused, also as one among many', async () => {
    const revokedPcks = [Buffer.from('51', 'hex'), platform.pck.serial, Buffer.from('52', 'hex')]
    const using = verifier({ dcap: dcapWith({ revokedPcks }) })
    expect(await rejection(using.verify(evidence(), request))).toEqual({
      code: 'CERT_REVOKED',
      check: 'revocation',
      outage: false,
    })
  })

  test('another revoked PCK is of no concern', async () => {
    await expect(
      claimsOf({}, verifier({ dcap: dcapWith({ revokedPcks: [Buffer.from('51', 'hex')] }) })),
    ).resolves.toBeDefined()
  })

  test('collateral may come from a clock that is five minutes ahead, and no more', async () => {
    const at = (seconds: number) =>
      verifier({ dcap: dcapWith({ issued: new Date(now.getTime() + seconds * 1000) }) })
    await expect(at(300).verify(evidence(), request)).resolves.toHaveLength(1)
    expect((await rejection(at(301).verify(evidence(), request))).code).toBe('COLLATERAL_NOT_YET_VALID')
  })
})

describe('The list of checks', () => {
  /** Tested by their own cases, as no defect of the machine or of the vendor leads there. */
  const elsewhere = [
    'expected-values',
    'evidence-format',
    'quote-header',
    'collateral-availability',
    'report-data',
    'init-data',
  ]

  test('has a defect for every check that depends on the machine or on the vendor', async () => {
    const failed = new Set<string>()
    for (const { name } of quoteDefects.filter(({ of }) => of !== 'sgx')) {
      failed.add((await rejection(verifier().verify(evidence({ version: 5, defect: name }), request))).check)
    }
    for (const { name } of collateralDefects) {
      failed.add(
        (await rejection(verifier({ dcap: dcapWith({ defect: name }) }).verify(evidence(), request))).check,
      )
    }
    const names = verifier().checks.map(({ name }) => name)
    const untested = names.filter((name) => !failed.has(name) && !name.startsWith('event-log'))
    expect(untested).toEqual(elsewhere)
    expect([...failed].filter((name) => !names.includes(name))).toEqual([])
  })

  test('says of every check what it protects, and refuses with codes that it names', () => {
    for (const { protects, source, codes } of verifier().checks) {
      expect(protects).toMatch(/\.$/)
      expect(source).toMatch(/spec 0/)
      expect(codes.length).toBeGreaterThan(0)
    }
  })

  test('names the code with which each check refuses', async () => {
    const codes = new Map(verifier().checks.map((check) => [check.name, check.codes]))
    for (const { name } of quoteDefects.filter(({ of }) => of !== 'sgx')) {
      const { code, check } = await rejection(
        verifier().verify(evidence({ version: 5, defect: name }), request),
      )
      expect(codes.get(check), name).toContain(code)
    }
    for (const { name } of collateralDefects) {
      const { code, check } = await rejection(
        verifier({ dcap: dcapWith({ defect: name }) }).verify(evidence(), request),
      )
      expect(codes.get(check), name).toContain(code)
    }
  })
})

describe('TCB status', () => {
  const svn = (module: number, third: number) => Uint8Array.of(module, 3, third)

  test.each([
    ['UpToDate', svn(5, 9), 4],
    ['SWHardeningNeeded', svn(5, 8), 4],
    ['ConfigurationNeeded', svn(5, 7), 4],
    ['ConfigurationAndSWHardeningNeeded', svn(5, 6), 4],
    ['OutOfDate', svn(5, 5), 4],
    ['OutOfDateConfigurationNeeded', svn(5, 4), 4],
    ['OutOfDate', svn(3, 9), 4],
    ['OutOfDate', svn(4, 8), 4],
    ['OutOfDateConfigurationNeeded', svn(3, 7), 4],
    ['OutOfDateConfigurationNeeded', svn(5, 6), 3],
    ['OutOfDate', svn(5, 5), 3],
    ['OutOfDateConfigurationNeeded', svn(5, 4), 3],
  ])('is %s for TEE_TCB_SVN %o and QE SVN %i', async (status, tcb_svn, qeSvn) => {
    const claims = await claimsOf({ fields: { tcb_svn }, qeSvn })
    expect(claims).toMatchObject({ tcb_status: status, tcb_status_current: status })
  })

  test('is dated by the oldest level, and names the advisories of all levels once', async () => {
    const claims = await claimsOf({ fields: { tcb_svn: svn(3, 8) } })
    expect(claims).toMatchObject({
      tcb_date: '2024-03-20T00:00:00Z',
      advisory_ids: ['INTEL-SA-90008', 'INTEL-SA-90020'],
    })
  })

  test.each([
    ['TDRelaunchAdvised', svn(5, 5), svn(5, 9)],
    ['TDRelaunchAdvised', svn(5, 5), svn(5, 8)],
    ['TDRelaunchAdvisedConfigurationNeeded', svn(5, 4), svn(5, 9)],
    ['TDRelaunchAdvisedConfigurationNeeded', svn(5, 5), svn(5, 7)],
    ['TDRelaunchAdvised', svn(3, 8), svn(5, 8)],
    ['OutOfDate', svn(5, 5), svn(5, 5)],
    ['OutOfDate', svn(5, 5), svn(5, 4)],
    ['ConfigurationNeeded', svn(5, 7), svn(5, 9)],
  ])('is %s when launched on %o and running on %o', async (status, tcb_svn, tee_tcb_svn2) => {
    expect(await claimsOf({ version: 5, fields: { tcb_svn, tee_tcb_svn2 } })).toMatchObject({
      tcb_status: status,
    })
  })

  test('of a module without version compares all components', async () => {
    const claims = await claimsOf({ fields: { tcb_svn: Uint8Array.of(0, 0, 9) } })
    expect(claims).toMatchObject({ tcb_status: 'UpToDate' })
  })
})

describe('Expired collateral', () => {
  const options = { issued: new Date('2025-12-01T00:00:00Z') }

  test('is refused', async () => {
    const using = verifier({ dcap: dcapWith(options) })
    expect((await rejection(using.verify(evidence(), request))).code).toBe('COLLATERAL_EXPIRED')
  })

  test('is a claim where the operator wants it to be', async () => {
    const claims = await claimsOf({}, verifier({ dcap: dcapWith(options, true) }))
    expect(claims).toMatchObject({ collateral_expiration_status: '1', tcb_status: 'UpToDate' })
    expect(claims.earliest_expiration_date).toBe('2025-12-31T00:00:00Z')
  })

  test.each(['pck-crl-expired', 'root-crl-expired', 'tcb-signer-expired', 'qe-signer-expired'] as const)(
    'shows in the claim also when only the document is: %s',
    async (defect) => {
      const claims = await claimsOf({}, verifier({ dcap: dcapWith({ defect }, true) }))
      expect(claims.collateral_expiration_status).toBe('1')
    },
  )

  test('as a claim does not admit what is not valid yet', async () => {
    const using = verifier({ dcap: dcapWith({ defect: 'tcb-info-from-future' }, true) })
    expect((await rejection(using.verify(evidence(), request))).code).toBe('COLLATERAL_NOT_YET_VALID')
  })

  test('an expired PCK is reported likewise', async () => {
    const claims = await claimsOf({ defect: 'pck-expired' }, verifier({ dcap: dcapWith({}, true) }))
    expect(claims.collateral_expiration_status).toBe('1')
  })
})

describe('Bindings', () => {
  const refused = async (change: Partial<VerificationRequest>, options: Partial<TdEvidenceOptions> = {}) =>
    (await rejection(verifier().verify(evidence(options), { ...request, ...change }))).code

  test('report data is compared in full, zero-padded', async () => {
    expect(await refused({ expectedReportData: reportData.subarray(0, 32) })).toBe('REPORT_DATA_MISMATCH')
    const tail = Buffer.concat([reportData, Uint8Array.of(1)])
    expect(await refused({}, { reportData: tail })).toBe('REPORT_DATA_MISMATCH')
  })

  test.each([0, 65])('expected report data of %i bytes is no input', async (size) => {
    expect(await refused({ expectedReportData: new Uint8Array(size) })).toBe('INPUT_INVALID')
  })

  test.each([0, 20, 31, 33, 47, 65])('an init-data digest of %i bytes is no input', async (size) => {
    expect(await refused({ expectedInitDataDigest: new Uint8Array(size) })).toBe('INPUT_INVALID')
  })

  test.each([
    ['SHA-256, zero-padded', 'sha256'],
    ['SHA-384', 'sha384'],
    ['SHA-512, cut to 48 bytes', 'sha512'],
  ])('init data is bound by %s', async (_name, hash) => {
    const digest = createHash(hash).update('init data').digest()
    const options = { mrConfigId: digest.subarray(0, 48) }
    const expected = { ...request, expectedInitDataDigest: digest }
    await expect(verifier().verify(evidence(options), expected)).resolves.toHaveLength(1)
    expect(await refused({ expectedInitDataDigest: digest })).toBe('INIT_DATA_MISMATCH')
  })

  test('what is not expected is not compared', async () => {
    const [entry] = await verifier().verify(evidence(), { now })
    expect(entry?.passed).not.toContain('report-data')
    expect(entry?.passed).not.toContain('init-data')
  })
})

describe('Debug', () => {
  test('is allowed only on request, and then the claims say so', async () => {
    const claims = await claimsOf({ defect: 'td-debug' }, verifier({ allowDebug: true }))
    expect(claims).toMatchObject({ td_attributes: { debug: true } })
  })
})

describe('Evidence document', () => {
  test.each([
    ['null', null],
    ['an array', []],
    ['no quote', {}],
    ['an empty quote', { quote: '' }],
    ['a number', { quote: 7 }],
    ['base64url', { quote: '-_-_' }],
    ['white space', { quote: 'AA AA' }],
    ['no padding', { quote: 'AAA' }],
    ['unused bits', { quote: 'AB==' }],
    ['a log that is not base64', { ...evidence(), cc_eventlog: '*' }],
    ['a log that is a number', { ...evidence(), cc_eventlog: 7 }],
  ])('is refused: %s', async (_name, document) => {
    expect((await rejection(verifier().verify(document, request))).code).toBe('EVIDENCE_MALFORMED')
  })

  test('of more than 64 KiB of quote is refused as a quote', async () => {
    const quote = Buffer.alloc(65_537).toString('base64')
    expect((await rejection(verifier().verify({ quote }, request))).code).toBe('QUOTE_MALFORMED')
  })

  test.each([null, '', undefined])('may have %o for an event log', async (cc_eventlog) => {
    const document = { ...evidence(), ...(cc_eventlog === undefined ? {} : { cc_eventlog }) }
    await expect(verifier().verify(document, request)).resolves.toHaveLength(1)
  })

  test('must have an event log where the operator wants one', async () => {
    const using = verifier({ requireEventLog: true })
    expect((await rejection(using.verify(evidence(), request))).code).toBe('EVIDENCE_MALFORMED')
  })

  test('with members that nobody knows is accepted', async () => {
    await expect(verifier().verify({ ...evidence(), aa_eventlog: 'x' }, request)).resolves.toHaveLength(1)
  })
})

describe('Robustness', () => {
  test.each([' ', '\0', '\n', '-', '-----BEGIN CERTIFICATE-----'])(
    'a chain padded with 60 KB of %j is judged in no time',
    async (filler) => {
      const quote = platform.tdQuote()
      const padding = Buffer.from(`${filler.repeat(60_000 / filler.length)}x`)
      const padded = Buffer.concat([quote, padding])
      for (const at of [632, 636 + 128 + 2, 636 + 134 + 384 + 64 + 2 + 32 + 2]) {
        padded.writeUInt32LE(padded.readUInt32LE(at) + padding.length, at)
      }
      const begin = performance.now()
      const { code } = await rejection(verifier().verify({ quote: padded.toString('base64') }, request))
      expect(code).toBe('PCK_CHAIN_INVALID')
      expect(performance.now() - begin).toBeLessThan(1000)
    },
  )

  test.each([4, 5] as const)('a quote of version %i cut at any length gives a rejection', async (version) => {
    const quote = platform.tdQuote({ version })
    for (let length = 0; length < quote.length; length += length < 1400 ? 1 : 97) {
      const cut = Buffer.from(quote.subarray(0, length)).toString('base64')
      const { code } = await rejection(verifier().verify({ quote: cut }, request))
      expect(code).toMatch(/^(EVIDENCE|QUOTE)_MALFORMED$/)
    }
  })

  test('no changed byte of header, body, signature data or certificates is accepted', async () => {
    const quote = platform.tdQuote({ version: 5, fields: { report_data: reportData } })
    const using = verifier()
    for (let index = 0; index < quote.length - 1; index += index < 1500 ? 3 : 41) {
      const changed = Buffer.from(quote)
      changed[index] = (changed[index] ?? 0) ^ 0x08
      const { code } = await rejection(using.verify({ quote: changed.toString('base64') }, request))
      expect(code).toMatch(/^[A-Z0-9_]+$/)
    }
  })
})
