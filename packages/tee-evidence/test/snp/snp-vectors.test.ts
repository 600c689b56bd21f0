/** Real reports, certificates and evidence (vectors/snp; provenance in its README). */
import { createHash } from 'node:crypto'
import { encodeHex, type JsonObject, type JsonValue, parseJson, stringifyJson } from '@passport-kbs/protocol'
import { describe, expect, it } from 'vitest'
import { ChainStore, certificateLimit, readCertificate } from '../../src/amd/chain.ts'
import type { AmdGeneration } from '../../src/amd/generation.ts'
import { crlUrl, fallbackVcekFile, kdsBaseUrl, vcekFile, vcekUrl } from '../../src/amd/kds/addresses.ts'
import { type FirmwareVersion, parseReport, type SnpReport, signedSize } from '../../src/amd/report.ts'
import { checkReportSignature } from '../../src/amd/report-signature.ts'
import { decodeTcbVersion, encodeTcbVersion } from '../../src/amd/tcb-version.ts'
import { checkChipId, checkReportedTcb, vekProfileOf } from '../../src/amd/vek-profile.ts'
import { amdRoots, createSnpVerifier, type EndorsementSource } from '../../src/index.ts'
import { CheckFailure } from '../../src/rejection.ts'
import { vcekRequestFor } from '../../src/snp/endorsement.ts'
import { encodeReport, parseSnpEvidence } from '../../src/snp/evidence.ts'
import { publicKeyOf } from '../../src/x509/certificate.ts'
import { vectorBytes, vectorJson, vectors } from '../eventlog/vectors.ts'
import { rejectionOf } from '../rejection-of.ts'

const now = new Date('2026-06-01T00:00:00Z')

interface PrimitiveRow extends JsonObject {
  report: string
  cert: string
  generation: AmdGeneration
  tamper: JsonObject[]
}

function codeOf(check: () => unknown): string {
  try {
    check()
    return 'match'
  } catch (error) {
    if (error instanceof CheckFailure) return error.code
    throw error
  }
}

function versionText({ major, minor, build }: FirmwareVersion): string {
  return `${major}.${minor}.${build}`
}

/** What primitives.json records of a report. */
function fieldsOf(report: SnpReport, generation: AmdGeneration): Record<string, unknown> {
  const tcb = (bytes: Uint8Array) => decodeTcbVersion(bytes, generation)
  const hex = (value: bigint | number) => `0x${value.toString(16)}`
  const vector = (value: bigint | null) => (value === null ? null : Number(value))
  return {
    version: report.version,
    vmpl: report.vmpl,
    guest_svn: report.guestSvn,
    policy: hex(report.policy),
    plat_info: hex(report.platformInfo),
    key_info: hex(report.keyInfo),
    sig_algo: report.signatureAlgorithm,
    reported_tcb: tcb(report.reportedTcb),
    current_tcb: tcb(report.currentTcb),
    committed_tcb: tcb(report.committedTcb),
    launch_tcb: tcb(report.launchTcb),
    current_version: versionText(report.current),
    committed_version: versionText(report.committed),
    launch_mit_vector: vector(report.launchMitVector),
    current_mit_vector: vector(report.currentMitVector),
    family_id: encodeHex(report.familyId),
    image_id: encodeHex(report.imageId),
    report_data: encodeHex(report.reportData),
    measurement: encodeHex(report.measurement),
    host_data: encodeHex(report.hostData),
    id_key_digest: encodeHex(report.idKeyDigest),
    author_key_digest: encodeHex(report.authorKeyDigest),
    report_id: encodeHex(report.reportId),
    report_id_ma: encodeHex(report.reportIdMa),
    chip_id: encodeHex(report.chipId),
    signed_prefix_sha384: createHash('sha384').update(report.raw.subarray(0, signedSize)).digest('hex'),
  }
}

describe.skipIf(vectors === undefined)('primitives.json', () => {
  const rows =
    vectors === undefined ? [] : ((vectorJson('snp', 'primitives.json') as JsonObject).rows as PrimitiveRow[])

  it.each(rows.map((row) => [row.report, row.cert, row] as const))('%s with %s', (_report, _cert, row) => {
    const { generation } = row
    const report = parseReport(vectorBytes('snp', row.report))
    const expected = fieldsOf(report, generation)
    for (const [name, value] of Object.entries(expected)) expect(value, name).toEqual(unprototyped(row[name]))

    const certificate = readCertificate(vectorBytes('snp', row.cert))
    expect(certificate.notBefore.toISOString().replace('.000', '')).toBe(row.cert_not_before)
    expect(certificate.notAfter.toISOString().replace('.000', '')).toBe(row.cert_not_after)
    const profile = vekProfileOf(certificate, generation, 'vcek')
    const verdict = (subject: SnpReport) =>
      codeOf(() => {
        checkChipId(profile, subject, false)
        checkReportedTcb(profile, subject, generation)
      })
    const key = publicKeyOf(certificate)
    const signed = (subject: SnpReport) => codeOf(() => checkReportSignature(subject, key)) === 'match'
    expect(verdict(report)).toBe(row.chip_id_and_tcb)
    expect(signed(report)).toBe(row.signature_valid)

    const chain = new ChainStore(amdRoots).open(generation, 'vcek', { leaf: vectorBytes('snp', row.cert) })
    expect(codeOf(() => chain.checkSignatures())).toBe(
      row.cert_issuer === null ? 'CERT_CHAIN_INVALID' : 'match',
    )

    for (const tamper of row.tamper) {
      const raw = Uint8Array.from(report.raw)
      const at = Number(tamper.offset)
      raw[at] = (raw[at] ?? 0) + 1
      const tampered = parseReport(raw)
      expect(signed(tampered)).toBe(tamper.signature_valid)
      if (tamper.chip_id_and_tcb !== undefined) expect(verdict(tampered)).toBe(tamper.chip_id_and_tcb)
    }
  })
})

function unprototyped(value: JsonValue | undefined): unknown {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? { ...value } : value
}

const evidences = ['evidence-genoa-v3', 'evidence-milan-v3', 'evidence-turin-v5']

describe.skipIf(vectors === undefined)('real evidence', () => {
  it.each(evidences)('%s is accepted with exactly its claims', async (name) => {
    const evidence = vectorJson('snp', `${name}.json`)
    const [entry] = await createSnpVerifier().verify(evidence, { now })
    expect(stringifyJson(sorted(entry?.claims ?? null))).toBe(
      stringifyJson(sorted(vectorJson('snp', `${name}.claims.json`))),
    )
  })

  it.each(evidences)('%s has a TCB that is written as it was read', (name) => {
    const { report } = parseSnpEvidence(vectorJson('snp', `${name}.json`))
    const generation = name.includes('turin') ? 'Turin' : 'Milan'
    expect(decodeTcbVersion(encodeTcbVersion(report.reportedTcb, generation), generation)).toEqual(
      report.reportedTcb,
    )
  })

  it.each([
    ['evidence-milan-v3.json', 'milan-v3-report.bin', 'Milan'],
    ['evidence-turin-v5.json', 'turin-v5-report.bin', 'Turin'],
  ] as const)('%s encodes to the bytes of %s', (json, raw, generation) => {
    const { report } = parseSnpEvidence(vectorJson('snp', json))
    expect(Buffer.from(encodeReport(report, generation))).toEqual(Buffer.from(vectorBytes('snp', raw)))
  })
})

function sorted(value: JsonValue): JsonValue {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return value
  const names = Object.keys(value).sort()
  return Object.fromEntries(names.map((name) => [name, sorted((value as JsonObject)[name] ?? null)]))
}

describe.skipIf(vectors === undefined)('vek-lookup.json: what is asked for when the chain is absent', () => {
  const rows =
    vectors === undefined
      ? []
      : Object.entries(
          (vectorJson('snp', 'vek-lookup.json') as JsonObject).rows as Record<string, JsonObject>,
        )

  it.each(rows)('%s', async (file, row) => {
    const generation = row.generation as AmdGeneration
    const evidence = vectorJson('snp', file) as JsonObject
    const fields = parseSnpEvidence(evidence)
    const request = vcekRequestFor(parseReport(encodeReport(fields.report, generation)), generation)
    expect(request.hwid).toBe(row.hwid)
    expect(vcekUrl(kdsBaseUrl, request)).toBe(row.kds_url)
    expect(vcekFile(request)).toBe(row.offline_preferred)
    expect(fallbackVcekFile(request)).toBe(row.offline_fallback)
    expect(crlUrl(kdsBaseUrl, { generation, kind: 'vcek' })).toBe(row.crl_url)

    const certificate = fields.certificates?.[0]?.data ?? new Uint8Array()
    expect(certificate.length).toBeLessThan(certificateLimit)
    expect(createHash('sha256').update(certificate).digest('hex')).toBe(row.vcek_sha256)
    const verifier = createSnpVerifier({ endorsementSources: [sourceOf(certificate)] })
    evidence.cert_chain = null
    expect(await rejectionOf(verifier, evidence, { now })).toBe('accepted')
  })

  it.each([
    [
      'Milan',
      { fmc: null, bootloader: 2, tee: 0, snp: 6, microcode: 21 },
      'bl02_tee00_snp06_ucode21_vcek.der',
    ],
    [
      'Turin',
      { fmc: 5, bootloader: 3, tee: 1, snp: 8, microcode: 15 },
      'bl03_tee01_snp08_ucode15_fmc05_vcek.der',
    ],
  ] as const)('names the file for %s as upstream does', (generation, tcb, file) => {
    expect(vcekFile({ generation, hwid: 'ab', tcb })).toBe(`vcek/ab/${file}`)
  })
})

function sourceOf(certificate: Uint8Array): EndorsementSource {
  return {
    name: 'fixed',
    async *vceks() {
      yield { certificate, accept() {}, refuse() {} }
    },
    async crl() {
      throw new Error('no CRL here')
    },
  }
}

describe.skipIf(vectors === undefined)('certificates of the vectors', () => {
  it('a VLEK verifies under the ASVK of its product and no other key', () => {
    const leaf = vectorBytes('snp', 'milan-vlek-2024.der')
    const store = new ChainStore(amdRoots)
    const verdict = (generation: AmdGeneration, kind: 'vcek' | 'vlek') =>
      codeOf(() => store.open(generation, kind, { leaf }).checkSignatures())
    expect(verdict('Milan', 'vlek')).toBe('match')
    expect(verdict('Milan', 'vcek')).toBe('CERT_CHAIN_INVALID')
    expect(verdict('Genoa', 'vlek')).toBe('CERT_CHAIN_INVALID')
    expect(store.open('Milan', 'vlek', { leaf }).profile()).toMatchObject({
      kind: 'vlek',
      cspId: 'CN=cc-us-east-2.amazonaws.com',
      tcb: { bootloader: 3, tee: 0, snp: 21, microcode: 209 },
    })
  })

  it.each(['vcek-hwid-raw.der', 'vcek-hwid-octetstring.der'])('the HWID of %s is 00 01 .. 3f', (file) => {
    const { hwid } = vekProfileOf(readCertificate(vectorBytes('snp', file)), 'Milan', 'vcek')
    expect([...(hwid ?? [])]).toEqual(Array.from({ length: 64 }, (_unused, index) => index))
  })
})

describe('a policy beyond 2^53', () => {
  it.skipIf(vectors === undefined)('is not rounded on its way to the signed bytes', () => {
    const text = stringifyJson(vectorJson('snp', 'evidence-genoa-v3.json'))
    const changed = text.replace(/"policy":\d+/, '"policy":18446744073709551615')
    const { report } = parseSnpEvidence(parseJson(changed))
    expect(encodeHex(encodeReport(report, 'Genoa').subarray(8, 16))).toBe('ffffffffffffffff')
  })
})
