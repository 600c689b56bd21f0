import {
  decodeHex,
  decodeUtf8,
  encodeBase64,
  encodeHex,
  encodeUtf8,
  jsonObject,
  parseJson,
  runtimeDataDigest,
  type Tee,
} from '@passport-kbs/protocol'
import { openStorage } from '@passport-kbs/storage'
import {
  createAzureSnpVtpmVerifier,
  createSnpVerifier,
  EvidenceRejected,
  type Verifier,
} from '@passport-kbs/tee-evidence'
import { createVirtualAzureSnpVm, createVirtualSnpMachine } from '@passport-kbs/testing'
import { describe, expect, it } from 'vitest'
import type { EvaluationItem } from '../src/attestation-service.ts'
import { createAttestationService } from '../src/builtin-service.ts'
import { readInitData } from '../src/init-data.ts'

const now = new Date('2026-06-01T00:00:00Z')
const context = { now, requestId: 'r' }
const value = parseJson('{"nonce":"AAECAw==","tee-pubkey":{"kty":"EC"},"additional-evidence":""}')
const reportData = runtimeDataDigest(value, 'sha384')
const runtimeData = { kind: 'structured', value } as const
const text = 'version = "0.1.0"\nalgorithm = "sha256"\n\n[data]\n"aa.toml" = "x = 1"\n'
const initData = { kind: 'toml', text } as const
const { digest: initDataDigest = new Uint8Array() } = readInitData(initData)

async function open(verifier: Verifier) {
  const verifiers = new Map<Tee, Verifier>([[verifier.tee, verifier]])
  const storage = await openStorage({ type: 'Memory' })
  return await createAttestationService({ verifiers, storage, profile: 'production', now: () => now })
}
const register = (values: object) =>
  jsonObject({ type: 'sample', payload: encodeBase64(encodeUtf8(JSON.stringify(values))) })
const cpu0 = (token: string) =>
  JSON.parse(decodeUtf8(Buffer.from(token.split('.')[1] ?? '', 'base64url'))).submods.cpu0

describe('a SEV-SNP guest', () => {
  const machine = createVirtualSnpMachine({ generation: 'Genoa', now })
  const item = (changes: Partial<EvaluationItem> = {}): EvaluationItem => ({
    tee: 'snp',
    evidence: machine.evidence({ reportData, initDataDigest }),
    runtimeData,
    runtimeDataHash: 'sha384',
    initData,
    ...changes,
  })

  it('gets an affirming token that carries its key and its measured init data', async () => {
    const service = await open(createSnpVerifier({ roots: machine.roots }))
    const { bootloader, microcode, snp, tee } = machine.tcb
    const values = {
      snp_launch_measurement: [encodeHex(machine.measurement)],
      snp_bootloader: [bootloader],
      snp_microcode: [microcode],
      snp_snp_svn: [snp],
      snp_tee_svn: [tee],
    }
    await service.registerReferenceValues(register(values), now)
    const { token, submods } = await service.evaluate([item()], context)
    expect(submods[0]).toMatchObject({ name: 'cpu0', tee: 'snp', status: 'affirming' })
    expect(cpu0(token)['ear.veraison.annotated-evidence']).toMatchObject({
      report_data: encodeHex(reportData).padEnd(128, '0'),
      runtime_data_claims: { 'tee-pubkey': { kty: 'EC' } },
      init_data: encodeHex(initDataDigest),
      init_data_claims: { 'aa.toml': { x: 1 } },
    })
  })

  it('that shows other init data than it was started with gets none', async () => {
    const service = await open(createSnpVerifier({ roots: machine.roots }))
    const other = { kind: 'toml', text: `${text}# more` } as const
    await expect(service.evaluate([item({ initData: other })], context)).rejects.toMatchObject({
      code: 'INIT_DATA_MISMATCH',
    })
    const digest = { kind: 'digest', bytes: decodeHex('00'.repeat(32)) } as const
    await expect(service.evaluate([item({ initData: digest })], context)).rejects.toThrow(EvidenceRejected)
  })

  it('under roots that nobody trusts gets none', async () => {
    const service = await open(createSnpVerifier())
    await expect(service.evaluate([item()], context)).rejects.toThrow(EvidenceRejected)
  })
})

describe('an Azure machine', () => {
  const vm = createVirtualAzureSnpVm({ now })
  const item = (initialData: EvaluationItem['initData']): EvaluationItem => ({
    tee: 'az-snp-vtpm',
    evidence: vm.evidence({ reportData, initDataDigest }),
    runtimeData,
    runtimeDataHash: 'sha384',
    ...(initialData ? { initData: initialData } : {}),
  })

  it('gets a token with the init data that its PCR 8 holds', async () => {
    const service = await open(createAzureSnpVtpmVerifier({ roots: vm.roots }))
    const { token } = await service.evaluate([item(initData)], context)
    expect(cpu0(token)['ear.veraison.annotated-evidence']).toMatchObject({
      report_data: encodeHex(reportData),
      init_data_claims: { 'aa.toml': { x: 1 } },
    })
  })

  it('is affirming once its values are registered, strings all of them', async () => {
    const service = await open(createAzureSnpVtpmVerifier({ roots: vm.roots }))
    const first = cpu0((await service.evaluate([item(initData)], context)).token)
    const claims = first['ear.veraison.annotated-evidence']['az-snp-vtpm']
    const values = {
      measurement: [claims.measurement],
      snp_pcr11: [claims.tpm.pcr11],
      tcb_bootloader: [claims.reported_tcb_bootloader],
      tcb_microcode: [claims.reported_tcb_microcode],
      tcb_snp: [claims.reported_tcb_snp],
      tcb_tee: [claims.reported_tcb_tee],
      smt_enabled: [claims.platform_smt_enabled],
      tsme_enabled: [claims.platform_tsme_enabled],
      abi_major: [claims.policy_abi_major],
      abi_minor: [claims.policy_abi_minor],
      single_socket: [claims.policy_single_socket],
      smt_allowed: [claims.policy_smt_allowed],
    }
    await service.registerReferenceValues(register(values), now)
    const { submods } = await service.evaluate([item(initData)], context)
    expect(submods[0]?.status).toBe('affirming')
  })

  it('with init data of a digest that its PCR cannot hold gets none, and nothing breaks', async () => {
    const service = await open(createAzureSnpVtpmVerifier({ roots: vm.roots }))
    const sha384 = { kind: 'toml', text: text.replace('sha256', 'sha384') } as const
    await expect(service.evaluate([item(sha384)], context)).rejects.toThrow(EvidenceRejected)
  })
})
