/** The catalogue of claims that policies are checked against is what the verifiers emit, for every TEE. */
import { createPublicKey } from 'node:crypto'
import { annotatedEvidence, checkForPurpose, differences, fromJs, tokenClaims } from '@passport-kbs/policy'
import {
  decodeUtf8,
  encodeBase64,
  encodeHex,
  type JsonValue,
  jsonObject,
  parseJson,
  runtimeDataDigest,
  type Tee,
} from '@passport-kbs/protocol'
import { openStorage } from '@passport-kbs/storage'
import {
  createAzureSnpVtpmVerifier,
  createAzureTdxVtpmVerifier,
  createCsvVerifier,
  createDcap,
  createSampleDeviceVerifier,
  createSampleVerifier,
  createSgxVerifier,
  createSnpVerifier,
  createTdxVerifier,
  createTpmVerifier,
  fixedCollateral,
  hygonRoot,
  intelRoot,
  type Verifier,
} from '@passport-kbs/tee-evidence'
import {
  createVirtualAzureSnpVm,
  createVirtualAzureTdxVm,
  createVirtualHygonChip,
  createVirtualHygonRoot,
  createVirtualIntel,
  createVirtualSnpMachine,
  createVirtualVtpm,
  enclaveEvidence,
  marshalSignature,
  sampleDeviceEvidence,
  sampleEvidence,
  tdEvidence,
  virtualEventLog,
} from '@passport-kbs/testing'
import { describe, expect, it } from 'vitest'
import { createAttestationService } from '../src/builtin-service.ts'
import { defaultPolicies } from '../src/default-policies.ts'

const now = new Date('2026-01-15T12:00:00Z')
const runtimeData = parseJson('{"nonce":"AAECAw==","tee-pubkey":{"kty":"EC"},"additional-evidence":""}')
const reportData = runtimeDataDigest(runtimeData, 'sha384')

const snp = createVirtualSnpMachine({ generation: 'Turin', now })
const azureSnp = createVirtualAzureSnpVm({ generation: 'Genoa', now })
const intel = createVirtualIntel(now)
const dcap = (tee: 'tdx' | 'sgx') =>
  createDcap({
    root: intelRoot(intel.rootCertificate),
    collateral: fixedCollateral(intel.collateral({ tee })),
  })
const platform = intel.platform()
const tdLog = virtualEventLog({})
const hygon = createVirtualHygonRoot()
const tpm = createVirtualVtpm()
const flagging = { flagOnly: true, maxCertificateAgeDays: 1 }

const guests: Readonly<Record<string, readonly [Verifier, JsonValue]>> = {
  sample: [createSampleVerifier({ enabled: true }), sampleEvidence(reportData)],
  snp: [createSnpVerifier({ roots: snp.roots }), snp.evidence({ reportData })],
  'snp with extended claims and risks': [
    createSnpVerifier({ roots: snp.roots, policy: { extendedClaims: true, risk: flagging } }),
    snp.evidence({ reportData }),
  ],
  'snp with risks only': [
    createSnpVerifier({ roots: snp.roots, policy: { risk: flagging } }),
    snp.evidence({ reportData }),
  ],
  'az-snp-vtpm': [createAzureSnpVtpmVerifier({ roots: azureSnp.roots }), azureSnp.evidence({ reportData })],
  'az-snp-vtpm with extended claims': [
    createAzureSnpVtpmVerifier({ roots: azureSnp.roots, policy: { extendedClaims: true } }),
    azureSnp.evidence({ reportData }),
  ],
  tdx: [createTdxVerifier({ dcap: dcap('tdx') }), tdEvidence(platform, { reportData })],
  'tdx with an event log': [
    createTdxVerifier({ dcap: dcap('tdx') }),
    tdEvidence(platform, { reportData, eventLog: tdLog.bytes, rtmrs: tdLog.registers }),
  ],
  'az-tdx-vtpm': [
    createAzureTdxVtpmVerifier({ dcap: dcap('tdx') }),
    createVirtualAzureTdxVm(platform).evidence({ reportData }),
  ],
  sgx: [createSgxVerifier({ dcap: dcap('sgx') }), enclaveEvidence(platform, { reportData })],
  csv: [
    createCsvVerifier({ root: hygonRoot(hygon.certificate) }),
    createVirtualHygonChip({ root: hygon }).evidence({
      reportData,
      eventLog: virtualEventLog({ banks: ['sm3'] }),
    }),
  ],
  tpm: [createTpmVerifier(), tpmEvidence()],
}

function tpmEvidence(): JsonValue {
  const quote = tpm.quote(reportData.subarray(0, 32), new Uint8Array(32))
  const key = createPublicKey(tpm.attestationKey).export({ format: 'der', type: 'spki' })
  return jsonObject({
    ak_public: encodeBase64(key),
    tpm_quote: jsonObject({
      signature: encodeBase64(marshalSignature(quote.signature)),
      message: encodeBase64(quote.message),
      pcrs: quote.pcrs.map(encodeHex),
    }),
  })
}

/** The payload of the token that a guest gets, with a device beside it. */
async function tokenOf(verifier: Verifier, evidence: JsonValue): Promise<unknown> {
  const device = createSampleDeviceVerifier({ enabled: true })
  const service = await createAttestationService({
    verifiers: new Map<Tee, Verifier>([verifier, device].map((one) => [one.tee, one])),
    storage: await openStorage({ type: 'Memory' }),
    profile: 'development',
    now: () => now,
  })
  const common = {
    runtimeData: { kind: 'structured', value: runtimeData },
    runtimeDataHash: 'sha384',
  } as const
  const items = [
    { tee: verifier.tee, evidence, ...common },
    { tee: device.tee, evidence: sampleDeviceEvidence(reportData), ...common },
  ]
  const { token } = await service.evaluate(items, { now, requestId: 'r' })
  return JSON.parse(decodeUtf8(Buffer.from(token.split('.')[1] ?? '', 'base64url')))
}

describe('the catalogue of claims', () => {
  it.each(Object.keys(guests))(
    'has every member of a token of %s, and no other that must be there',
    async (name) => {
      const [verifier, evidence] = guests[name] as readonly [Verifier, JsonValue]
      const token = (await tokenOf(verifier, evidence)) as {
        submods: Record<string, { 'ear.veraison.annotated-evidence': object }>
      }
      expect(differences(tokenClaims, fromJs(token))).toEqual([])
      const annotated = token.submods.cpu0?.['ear.veraison.annotated-evidence'] ?? {}
      expect(Object.keys(annotated)).toContain(verifier.tee)
      expect(differences(annotatedEvidence, fromJs(annotated))).toEqual([])
    },
  )
})

describe('a shipped policy', () => {
  it.each([...defaultPolicies])(
    '%s names only paths that there are, and has no body that never holds',
    (id, text) => {
      const found = checkForPurpose([{ file: id, text }], { purpose: 'attestation' })
      // comparisons with values that may be unknown are Trustee's, and kept
      expect(found.filter(({ code }) => code !== 'null_comparison')).toEqual([])
    },
  )
})
