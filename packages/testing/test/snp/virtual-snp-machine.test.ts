/** The virtual machine is a witness only when it is real: checked here with OpenSSL, not with our verifiers. */
import { createVerify, X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { JsonObject } from '@passport-kbs/protocol'
import { describe, expect, it } from 'vitest'
import { amdExtensionOid } from '../../src/amd/endorsement-key.ts'
import { createVirtualSnpMachine, virtualGenerations } from '../../src/index.ts'

const now = new Date('2026-03-01T12:00:00Z')
const vectors = process.env.KBS_VECTORS ?? resolve(import.meta.dirname, '../../../../../shared/vectors')
const hasVectors = existsSync(join(vectors, 'snp'))
if (!hasVectors && process.env.CI === 'true') throw new Error('no vectors: set KBS_VECTORS')
if (!hasVectors) console.warn(`SKIPPED: no vectors at ${vectors}; set KBS_VECTORS to the vectors folder`)

function derSignature(r: Uint8Array, s: Uint8Array): Buffer {
  const integer = (bytes: Uint8Array) => {
    const digits = Buffer.from(bytes.subarray(0, 48))
      .reverse()
      .toString('hex')
      .replace(/^(00)+/, '')
    const content = Buffer.from(
      Number.parseInt(digits.slice(0, 2), 16) >= 0x80 ? `00${digits}` : digits,
      'hex',
    )
    return Buffer.concat([Uint8Array.of(2, content.length), content])
  }
  const content = Buffer.concat([integer(r), integer(s)])
  return Buffer.concat([Uint8Array.of(0x30, content.length), content])
}

describe.each(virtualGenerations)('a virtual %s machine', (generation) => {
  const machine = createVirtualSnpMachine({ generation, now })
  const leaf = new X509Certificate(machine.endorsementCertificate)

  it('has a chain that OpenSSL verifies', () => {
    const ark = new X509Certificate(machine.roots[generation].ark)
    const ask = new X509Certificate(machine.roots[generation].ask)
    expect(ark.verify(ark.publicKey)).toBe(true)
    expect(ask.verify(ark.publicKey)).toBe(true)
    expect(leaf.verify(ask.publicKey)).toBe(true)
    expect(leaf.checkIssued(ask)).toBe(true)
    expect(ask.ca).toBe(true)
  })

  it('signs a report that OpenSSL verifies', () => {
    const raw = machine.report(() => {})
    expect(raw).toHaveLength(1184)
    const signature = derSignature(raw.subarray(0x2a0, 0x2e8), raw.subarray(0x2e8, 0x330))
    const verify = createVerify('sha384').update(raw.subarray(0, 0x2a0))
    expect(verify.verify(leaf.publicKey, signature)).toBe(true)
  })

  it('has a chip and a root of its own, the root shared with its generation', () => {
    const other = createVirtualSnpMachine({ generation, now })
    expect(other.chipId).not.toEqual(machine.chipId)
    expect(other.roots[generation]).toBe(machine.roots[generation])
  })

  it('evidence has the members of real evidence', () => {
    const evidence = machine.evidence({ reportData: Buffer.alloc(48, 1) })
    const report = evidence.attestation_report as JsonObject
    expect(Object.keys(report)).toHaveLength(29)
    expect(report.report_data).toHaveLength(64)
  })
})

describe.skipIf(!hasVectors)('beside real evidence', () => {
  const real = () => JSON.parse(readFileSync(join(vectors, 'snp/evidence-turin-v5.json'), 'utf8'))
  const machine = createVirtualSnpMachine({ generation: 'Turin', now })

  it('has the same members', () => {
    const report = machine.evidence({ reportData: Buffer.alloc(48) }).attestation_report as JsonObject
    expect(Object.keys(report).sort()).toEqual(Object.keys(real().attestation_report).sort())
  })

  it('has a certificate with the same extensions', () => {
    const oidBytes = (name: keyof typeof amdExtensionOid) => {
      const last = amdExtensionOid[name].split('.').slice(7).map(Number)
      return Buffer.from([0x2b, 0x06, 0x01, 0x04, 0x01, 0x9c, 0x78, ...last])
    }
    const realLeaf = Buffer.from(real().cert_chain[0].data)
    const virtualLeaf = Buffer.from(machine.endorsementCertificate)
    for (const name of Object.keys(amdExtensionOid) as (keyof typeof amdExtensionOid)[]) {
      expect(virtualLeaf.includes(oidBytes(name)), name).toBe(realLeaf.includes(oidBytes(name)))
    }
  })
})
