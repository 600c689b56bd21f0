/** Spec 03 Annex A: the quote of any TPM. */
import { createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { encodeBase64, encodeHex, type JsonObject, jsonObject } from '@passport-kbs/protocol'
import { createVirtualVtpm, marshalSignature, type VtpmDefectName, vtpmDefects } from '@passport-kbs/testing'
import { describe, expect, it } from 'vitest'
import { createTpmVerifier } from '../../src/index.ts'
import { vectorJson, vectors } from '../eventlog/vectors.ts'
import { rejectionOf } from '../rejection-of.ts'

const now = new Date('2026-03-01T12:00:00Z')
const reportData = randomBytes(48)
const initDataDigest = randomBytes(32)
const request = { now, expectedReportData: reportData, expectedInitDataDigest: initDataDigest }
const tpm = createVirtualVtpm()
const verifier = createTpmVerifier()

/** Evidence as the guest sends it: report data cut to 32 bytes, signature marshalled. */
function evidenceOf(defect?: VtpmDefectName, marshal = marshalSignature): JsonObject {
  const quote = tpm.quote(reportData.subarray(0, 32), initDataDigest, defect && vtpmDefects[defect])
  const key = createPublicKey(tpm.attestationKey).export({ format: 'der', type: 'spki' })
  return jsonObject({
    ak_public: encodeBase64(key),
    tpm_quote: jsonObject({
      signature: encodeBase64(marshal(quote.signature)),
      message: encodeBase64(quote.message),
      pcrs: quote.pcrs.map(encodeHex),
    }),
  })
}

describe('a genuine quote', () => {
  it('is accepted, and every PCR is a claim of its own', async () => {
    const [entry] = await verifier.verify(evidenceOf(), request)
    expect(Object.keys(entry?.claims ?? {})).toHaveLength(27)
    expect(entry?.claims.report_data).toBe(encodeHex(reportData.subarray(0, 32)))
    expect(entry?.claims.init_data).toBe(entry?.claims.pcr08)
    expect(entry?.passed).toEqual(verifier.checks.map(({ name }) => name))
  })

  it('counts the first 32 bytes of the report data only', async () => {
    const longer = Buffer.concat([reportData.subarray(0, 32), randomBytes(16)])
    expect(await rejectionOf(verifier, evidenceOf(), { now, expectedReportData: longer })).toBe('accepted')
  })

  it('is not compared with report data that nobody expects, unless that is required', async () => {
    expect(await rejectionOf(verifier, evidenceOf(), { now })).toBe('accepted')
    const strict = createTpmVerifier({ policy: { requireReportData: true } })
    expect(await rejectionOf(strict, evidenceOf(), { now })).toBe('INPUT_INVALID at nonce')
  })

  it.each([
    ['empty report data', { now, expectedReportData: new Uint8Array() }, 'INPUT_INVALID at nonce'],
    ['report data of 65 bytes', { now, expectedReportData: randomBytes(65) }, 'INPUT_INVALID at nonce'],
    ['other report data', { now, expectedReportData: randomBytes(48) }, 'TPM_NONCE_MISMATCH at nonce'],
    [
      'another init-data digest',
      { now, expectedInitDataDigest: randomBytes(32) },
      'INIT_DATA_MISMATCH at init-data',
    ],
    [
      'an init-data digest of 48 bytes',
      { now, expectedInitDataDigest: randomBytes(48) },
      'INPUT_INVALID at init-data',
    ],
  ])('with %s', async (_name, given, outcome) => {
    expect(await rejectionOf(verifier, evidenceOf(), given)).toBe(outcome)
  })
})

describe('a quote with one defect', () => {
  it.each([
    ['not-a-quote', 'TPM_NOT_A_QUOTE at quote-format'],
    ['attest-trailing-byte', 'TPM_QUOTE_MALFORMED at quote-format'],
    ['quote-signature-bit', 'TPM_SIGNATURE_INVALID at quote-signature'],
    ['quote-of-other-vm', 'TPM_SIGNATURE_INVALID at quote-signature'],
    ['resettable-pcr-in-position-8', 'PCR_SELECTION_UNSUPPORTED at pcr-selection'],
    ['pcr-list-of-23', 'PCR_SELECTION_UNSUPPORTED at pcr-selection'],
    ['pcr-value-invented', 'PCR_DIGEST_MISMATCH at pcr-digest'],
    ['other-nonce', 'TPM_NONCE_MISMATCH at nonce'],
    ['other-init-data-pcr', 'INIT_DATA_MISMATCH at init-data'],
  ] as const)('%s', async (defect, outcome) => {
    expect(await rejectionOf(verifier, evidenceOf(defect), request)).toBe(outcome)
  })

  it.each([
    ['of another scheme', (signature: Uint8Array) => marshalSignature(signature, 0x0016)],
    ['over another hash', (signature: Uint8Array) => marshalSignature(signature, 0x0014, 0x000c)],
    [
      'with a trailing byte',
      (signature: Uint8Array) => Buffer.concat([marshalSignature(signature), Buffer.alloc(1)]),
    ],
    ['cut to the header', (signature: Uint8Array) => marshalSignature(signature).subarray(0, 5)],
    ['without its header', (signature: Uint8Array) => Buffer.from(signature)],
  ])('a signature %s', async (_name, marshal) => {
    expect(await rejectionOf(verifier, evidenceOf(undefined, marshal), request)).toBe(
      'TPM_SIGNATURE_INVALID at quote-signature',
    )
  })
})

describe('the attestation key', () => {
  const spki = (key: Parameters<typeof createPublicKey>[0]) =>
    createPublicKey(key).export({ format: 'der', type: 'spki' })
  it.each([
    ['of 1024 bits', spki(generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey)],
    [
      'with exponent 3',
      spki(generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 }).privateKey),
    ],
    ['on P-256', spki(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)],
    ['that is no key', Buffer.from('no key')],
    ['with bytes behind it', Buffer.concat([spki(tpm.attestationKey), Buffer.alloc(3)])],
  ])('%s is refused', async (_name, key) => {
    const evidence = { ...evidenceOf(), ak_public: encodeBase64(key) }
    expect(await rejectionOf(verifier, evidence, request)).toBe('AK_UNSUPPORTED at attestation-key')
  })

  it('must be standard base64', async () => {
    const evidence = { ...evidenceOf(), ak_public: '-_-_' }
    expect(await rejectionOf(verifier, evidence, request)).toBe('EVIDENCE_MALFORMED at evidence-format')
  })
})

describe.skipIf(vectors === undefined)('the real quote of vectors/tpm', () => {
  it('is accepted without expected report data, with exactly its claims', async () => {
    const [entry] = await verifier.verify(vectorJson('tpm', 'tpm_evidence.json'), { now })
    expect(entry?.claims).toEqual(vectorJson('tpm', 'tpm_evidence.claims.json'))
  })

  it('never fits an expected value: it quotes 64 bytes, the expected value is resized to 32', async () => {
    const evidence = vectorJson('tpm', 'tpm_evidence.json')
    const expectedReportData = Buffer.from(
      'a04182b506878d4f29b91ee606a71a0d3361ccf1b22db20c98adcaa537bea393ef0e41a18b3569ab678f1497fbc5c120',
      'hex',
    )
    expect(await rejectionOf(verifier, evidence, { now, expectedReportData })).toBe(
      'TPM_NONCE_MISMATCH at nonce',
    )
  })
})
