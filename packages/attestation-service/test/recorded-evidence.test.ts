import {
  decodeHex,
  decodeUtf8,
  encodeBase64,
  encodeUtf8,
  jsonObject,
  parseJson,
  type Tee,
} from '@passport-kbs/protocol'
import { openStorage } from '@passport-kbs/storage'
import {
  createAzureSnpVtpmVerifier,
  createSnpVerifier,
  EvidenceRejected,
  type Verifier,
} from '@passport-kbs/tee-evidence'
import { describe, expect, it } from 'vitest'
import type { EvaluationItem } from '../src/attestation-service.ts'
import { createAttestationService } from '../src/builtin-service.ts'
import { hasVectors, recordedClaims } from './vectors.ts'

const now = new Date('2026-01-01T00:00:00Z')
const context = { now, requestId: 'r' }

async function open(...verifiers: Verifier[]) {
  const storage = await openStorage({ type: 'Memory' })
  const map = new Map<Tee, Verifier>(verifiers.map((verifier) => [verifier.tee, verifier]))
  return await createAttestationService({ verifiers: map, storage, profile: 'production', now: () => now })
}

const register = (values: object) =>
  jsonObject({ type: 'sample', payload: encodeBase64(encodeUtf8(JSON.stringify(values))) })

const cpu0 = (token: string) =>
  JSON.parse(decodeUtf8(Buffer.from(token.split('.')[1] ?? '', 'base64url'))).submods.cpu0

function recordedItem(tee: Tee, evidence: string, reportData: string): EvaluationItem {
  return {
    tee,
    evidence: recordedClaims(evidence),
    runtimeData: { kind: 'raw', bytes: decodeHex(reportData) },
    runtimeDataHash: 'sha384',
  }
}

describe.skipIf(!hasVectors)('evidence that was recorded on hardware', () => {
  const snp = () => {
    const { report_data: reportData } = recordedClaims('snp/evidence-genoa-v3.claims.json')
    return recordedItem('snp', 'snp/evidence-genoa-v3.json', String(reportData))
  }

  it('of a Genoa guest becomes an affirming token when all that it is, is a reference value', async () => {
    const service = await open(createSnpVerifier())
    const { measurement } = recordedClaims('snp/evidence-genoa-v3.claims.json')
    const values = {
      snp_launch_measurement: [measurement],
      snp_bootloader: [10],
      snp_microcode: [25],
      snp_snp_svn: [23],
      snp_tee_svn: [0],
    }
    expect((await service.evaluate([snp()], context)).submods[0]?.status).toBe('contraindicated')
    await service.registerReferenceValues(register(values), now)
    const { token } = await service.evaluate([snp()], context)
    expect(cpu0(token)).toMatchObject({
      'ear.status': 'affirming',
      'ear.trustworthiness-vector': { executables: 3, hardware: 2, configuration: 3 },
    })
  })

  it('gives the recorded claims in the token', async () => {
    const service = await open(createSnpVerifier())
    const { token } = await service.evaluate([snp()], context)
    const { init_data, report_data, ...claims } = JSON.parse(
      JSON.stringify(recordedClaims('snp/evidence-genoa-v3.claims.json')),
    )
    expect(cpu0(token)['ear.veraison.annotated-evidence']).toEqual({
      init_data,
      init_data_claims: null,
      report_data,
      runtime_data_claims: null,
      snp: claims,
    })
  })

  it('for other runtime data is rejected, with the name of the check', async () => {
    const service = await open(createSnpVerifier())
    const runtimeData = { kind: 'structured', value: parseJson('{"nonce":"x"}') } as const
    const error = await service
      .evaluate([{ ...snp(), runtimeData }], context)
      .catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(EvidenceRejected)
    expect(error).toMatchObject({ code: 'REPORT_DATA_MISMATCH', check: 'report-data' })
  })

  it('of an Azure machine becomes a token with its claims as strings', async () => {
    const service = await open(createAzureSnpVtpmVerifier())
    const claims = recordedClaims('az-snp-vtpm/evidence-genoa.claims.json')
    const item = recordedItem('az-snp-vtpm', 'az-snp-vtpm/evidence-genoa.json', String(claims.report_data))
    const { token } = await service.evaluate([item], context)
    const { init_data: _, report_data: __, ...rest } = JSON.parse(JSON.stringify(claims))
    expect(cpu0(token)['ear.veraison.annotated-evidence']['az-snp-vtpm']).toEqual(rest)
    expect(cpu0(token)['ear.trustworthiness-vector']).toMatchObject({
      executables: 33,
      hardware: 97,
      configuration: 36,
    })
  })

  it('without runtime data is rejected where the TEE must be bound', async () => {
    const service = await open(createAzureSnpVtpmVerifier())
    const { runtimeData: _, ...item } = recordedItem('az-snp-vtpm', 'az-snp-vtpm/evidence-genoa.json', 'aa')
    await expect(service.evaluate([item], context)).rejects.toThrow(EvidenceRejected)
  })
})
