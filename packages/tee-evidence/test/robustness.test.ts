/** Spec 03 §11: whatever is cut or changed, the answer is a verdict with a reason, and in bounded time. */
import { randomBytes } from 'node:crypto'
import {
  decodeBase64Url,
  encodeBase64Url,
  isJsonObject,
  type JsonObject,
  type JsonValue,
  parseJson,
} from '@passport-kbs/protocol'
import { createVirtualAzureSnpVm, createVirtualSnpMachine } from '@passport-kbs/testing'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  createAzureSnpVtpmVerifier,
  createSampleVerifier,
  createSnpVerifier,
  createTpmVerifier,
  type VerificationRequest,
  type Verifier,
} from '../src/index.ts'
import { rejectionOf } from './rejection-of.ts'

const now = new Date('2026-03-01T12:00:00Z')
const reportData = randomBytes(48)
const initDataDigest = randomBytes(32)
const request = { now, expectedReportData: reportData, expectedInitDataDigest: initDataDigest }
const machine = createVirtualSnpMachine({ generation: 'Turin', now })
const vm = createVirtualAzureSnpVm({ generation: 'Milan', now })
const snp = createSnpVerifier({ roots: machine.roots })
const azure = createAzureSnpVtpmVerifier({ roots: vm.roots })

/** Replaces one base64url or hex field of Azure evidence. */
function azureWith(field: 'hcl_report' | 'vcek', change: (bytes: Buffer) => Uint8Array): JsonObject {
  const evidence = { ...azureEvidence }
  evidence[field] = encodeBase64Url(change(Buffer.from(decodeBase64Url(String(evidence[field])))))
  return evidence
}

const azureEvidence = vm.evidence({ reportData, initDataDigest })

function flipped(bytes: Buffer, at: number): Buffer {
  const changed = Buffer.from(bytes)
  changed[at] = (changed[at] ?? 0) ^ 0x20
  return changed
}

/** Bytes of an HCL report that nothing authenticates and no rule mentions: header version, request type, status, reserved, data version. */
function unauthenticated(at: number, padding: number): boolean {
  const ranges = [
    [0x04, 0x08],
    [0x0c, 0x20],
    [0x4c4, 0x4c8],
    [padding, Number.POSITIVE_INFINITY],
  ] as const
  return ranges.some(([from, to]) => from <= at && at < to)
}

describe('every byte of an HCL report', () => {
  const hcl = Buffer.from(decodeBase64Url(String(azureEvidence.hcl_report)))
  const padding = 0x4d4 + hcl.readUInt32LE(0x4d0)

  it('is bound, or is known not to be', async () => {
    for (let at = 0; at < hcl.length; at += 1) {
      const outcome = await rejectionOf(
        azure,
        azureWith('hcl_report', (bytes) => flipped(bytes, at)),
        request,
      )
      // The user data is hexadecimal text; flipping its case changes the hash, so that even this is noticed.
      expect(outcome === 'accepted', `byte 0x${at.toString(16)}: ${outcome}`).toBe(
        unauthenticated(at, padding),
      )
    }
  }, 60_000)

  it('cannot be missing, the padding aside', async () => {
    for (let length = 0; length < hcl.length; length += 1) {
      const outcome = await rejectionOf(
        azure,
        azureWith('hcl_report', (bytes) => bytes.subarray(0, length)),
        request,
      )
      expect(outcome === 'accepted', `${length} bytes: ${outcome}`).toBe(length >= padding)
    }
  }, 60_000)
})

describe('every byte of a VCEK', () => {
  const size = decodeBase64Url(String(azureEvidence.vcek)).length

  it('is signed', async () => {
    for (let at = 0; at < size; at += 1) {
      const outcome = await rejectionOf(
        azure,
        azureWith('vcek', (bytes) => flipped(bytes, at)),
        request,
      )
      expect(outcome, `byte ${at}`).toMatch(/^CERT_/)
    }
  }, 60_000)

  it('cannot be missing', async () => {
    for (let length = 0; length < size; length += 1) {
      const outcome = await rejectionOf(
        azure,
        azureWith('vcek', (bytes) => bytes.subarray(0, length)),
        request,
      )
      expect(outcome).toBe('CERT_MALFORMED at vcek-format')
    }
  })
})

describe('every byte of a TPM quote', () => {
  it.each(['signature', 'message'])('%s: is signed', async (field) => {
    const quote = azureEvidence.tpm_quote as JsonObject
    const text = Buffer.from(String(quote[field]), 'hex')
    for (let at = 0; at < text.length; at += 1) {
      const changed = {
        ...azureEvidence,
        tpm_quote: { ...quote, [field]: flipped(text, at).toString('hex') },
      }
      expect(await rejectionOf(azure, changed, request)).toBe('TPM_SIGNATURE_INVALID at quote-signature')
    }
  })
})

/** All byte arrays in a report, by path. */
function byteArrays(value: JsonValue, path: readonly string[] = []): (readonly string[])[] {
  if (Array.isArray(value)) return value.every((entry) => typeof entry === 'number') ? [path] : []
  if (!isJsonObject(value)) return []
  return Object.entries(value).flatMap(([name, entry]) => byteArrays(entry, [...path, name]))
}

describe('every byte of an SNP report in JSON', () => {
  it('is signed, or is the signature', async () => {
    const evidence = machine.evidence({ reportData, initDataDigest })
    const report = evidence.attestation_report as JsonObject
    for (const path of byteArrays(report)) {
      const list = path.reduce<JsonValue>(
        (value, name) => (value as JsonObject)[name] ?? null,
        report,
      ) as number[]
      for (const at of list.keys()) {
        const original = list[at] ?? 0
        list[at] = original ^ 0x20
        expect(await rejectionOf(snp, evidence, request), `${path.join('.')}[${at}]`).toBe(
          'REPORT_SIGNATURE_INVALID at report-signature',
        )
        list[at] = original
      }
    }
    expect(await rejectionOf(snp, evidence, request)).toBe('accepted')
  }, 60_000)
})

const verifiers: readonly [string, Verifier][] = [
  ['snp', snp],
  ['az-snp-vtpm', azure],
  ['tpm', createTpmVerifier()],
  ['sample', createSampleVerifier({ enabled: true })],
]

/** Places in a JSON document, each as a function that puts `value` there in a copy. */
function replaceSomewhere(root: JsonValue, choice: number, value: JsonValue): JsonValue {
  const copy = structuredClone(root)
  let container: JsonValue = copy
  let left = choice
  for (;;) {
    if (!isJsonObject(container)) return copy
    const names = Object.keys(container)
    const name = names[left % names.length]
    if (name === undefined) return copy
    left = Math.floor(left / names.length)
    const child: JsonValue = container[name] ?? null
    if (left % 3 === 0 || !isJsonObject(child)) {
      container[name] = value
      return copy
    }
    left = Math.floor(left / 3)
    container = child
  }
}

const anyJson = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<JsonValue>,
  fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }),
  fc.constantFrom<JsonValue>(2 ** 32, -1, '', '00', [256], [-1], [1.5], {}),
)

describe.each(verifiers)('%s', (name, verifier) => {
  const genuine = name === 'snp' ? machine.evidence({ reportData }) : azureEvidence

  it('gives a verdict on any JSON', async () => {
    await fc.assert(
      fc.asyncProperty(anyJson, async (value) => {
        expect(await rejectionOf(verifier, value, request)).toMatch(/^[A-Z_]+ at [a-z-]+$/)
      }),
    )
  })

  it('gives a verdict on genuine evidence with anything in any place', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), anyJson, async (choice, value) => {
        const evidence = replaceSomewhere(genuine, choice, value)
        expect(await rejectionOf(verifier, evidence, request)).toMatch(/^(accepted|[A-Z_]+ at [a-z-]+)$/)
      }),
      { numRuns: 300 },
    )
  })

  it('gives a verdict on any expected values', async () => {
    const bytes = fc.option(fc.uint8Array({ maxLength: 80 }), { nil: undefined })
    await fc.assert(
      fc.asyncProperty(bytes, bytes, async (expectedReportData, expectedInitDataDigest) => {
        const given: VerificationRequest = {
          now,
          ...(expectedReportData === undefined ? {} : { expectedReportData }),
          ...(expectedInitDataDigest === undefined ? {} : { expectedInitDataDigest }),
        }
        expect(await rejectionOf(verifier, genuine, given)).toMatch(/^(accepted|[A-Z_]+ at [a-z-]+)$/)
      }),
    )
  })
})

describe('evidence made to cost time or memory', () => {
  it('an array of ten million zeros is refused quickly', async () => {
    const evidence = machine.evidence({ reportData })
    const report = evidence.attestation_report as JsonObject
    report.measurement = new Array<JsonValue>(10_000_000).fill(0)
    const begin = performance.now()
    expect(await rejectionOf(snp, evidence, request)).toBe('EVIDENCE_MALFORMED at evidence-format')
    expect(performance.now() - begin).toBeLessThan(200)
  })

  it.each([
    ['a nesting bomb', '['.repeat(100_000)],
    ['two million digits', `{"policy":${'9'.repeat(2 * 1024 * 1024)}}`],
  ])('%s does not get past the parser', (_name, text) => {
    const begin = performance.now()
    expect(() => parseJson(text)).toThrow()
    expect(performance.now() - begin).toBeLessThan(200)
  })

  it('evidence of one TEE is none of another', async () => {
    expect(await rejectionOf(snp, azureEvidence, request)).toBe('EVIDENCE_MALFORMED at evidence-format')
    expect(await rejectionOf(azure, machine.evidence({ reportData }), request)).toBe(
      'EVIDENCE_MALFORMED at evidence-format',
    )
    expect(await rejectionOf(createTpmVerifier(), azureEvidence, request)).toBe(
      'EVIDENCE_MALFORMED at evidence-format',
    )
  })
})
