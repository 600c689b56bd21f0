/** The virtual Azure VM is a witness only when it is real: checked here with OpenSSL, not with our verifiers. */
import { createHash, createPublicKey, verify } from 'node:crypto'
import type { JsonObject } from '@passport-kbs/protocol'
import { describe, expect, it } from 'vitest'
import { createVirtualAzureSnpVm } from '../../src/index.ts'

const reportData = Buffer.alloc(48, 5)
const vm = createVirtualAzureSnpVm({ now: new Date('2026-03-01T12:00:00Z') })

function parts(evidence: JsonObject) {
  const quote = evidence.tpm_quote as JsonObject
  const hcl = Buffer.from(String(evidence.hcl_report), 'base64url')
  const variableData = hcl.subarray(0x4d4, 0x4d4 + hcl.readUInt32LE(0x4d0))
  return {
    hcl,
    variableData,
    json: JSON.parse(variableData.toString('utf8')),
    message: Buffer.from(String(quote.message), 'hex'),
    signature: Buffer.from(String(quote.signature), 'hex'),
    pcrs: (quote.pcrs as string[]).map((pcr) => Buffer.from(pcr, 'hex')),
  }
}

describe('evidence of a virtual Azure VM', () => {
  it('has an HCL report of the size of real ones, which binds its variable data', () => {
    const { hcl, variableData } = parts(vm.evidence({ reportData }))
    expect(hcl).toHaveLength(2600)
    const digest = createHash('sha256').update(variableData).digest()
    expect(hcl.subarray(0x20 + 0x50, 0x20 + 0x70)).toEqual(digest)
  })

  it('has a quote signed by the key in the variable data, over all PCRs', () => {
    const { json, message, signature, pcrs } = parts(vm.evidence({ reportData }))
    const [ak] = json.keys
    const key = createPublicKey({ key: { kty: ak.kty, n: ak.n, e: ak.e }, format: 'jwk' })
    expect(verify('sha256', message, key, signature)).toBe(true)
    expect(message).toHaveLength(113 + reportData.length)
    expect(message.subarray(-32)).toEqual(createHash('sha256').update(Buffer.concat(pcrs)).digest())
  })

  it('has the report data in the nonce, and in version 2 also in the user data', () => {
    const { json, message } = parts(vm.evidence({ reportData, version: 2 }))
    expect(message.includes(reportData)).toBe(true)
    expect(json['user-data']).toBe(`${'05'.repeat(48)}${'00'.repeat(16)}`)
    expect(parts(vm.evidence({ reportData, version: 1 })).json['user-data']).toBe('00'.repeat(64))
  })

  it('extends PCR 8 once with the init-data digest', () => {
    const digest = createHash('sha256').update('x').digest()
    const { pcrs } = parts(vm.evidence({ reportData, initDataDigest: digest }))
    expect(pcrs[8]?.toString('hex')).toBe('7f85193790de75e46b70bfec3614098f47332a6993dabac6e38ad35f47df5da4')
  })

  it('version 0 has byte arrays and PEM', () => {
    const evidence = vm.evidence({ reportData, version: 0 })
    expect(Object.keys(evidence)).toEqual(['quote', 'report', 'vcek'])
    expect(evidence.vcek).toMatch(/^-----BEGIN CERTIFICATE-----\n/)
  })
})
