import { verify } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { caCertificateJson } from '../../src/csv/certificate-json.ts'
import { numberField } from '../../src/csv/hygon-layout.ts'
import { generateSm2Signer } from '../../src/csv/sm2-signer.ts'
import { createVirtualHygonChip, fakeHygonKeyService, virtualEventLog } from '../../src/index.ts'

/** SubjectPublicKeyInfo of a point on the SM2 curve (OID 1.2.156.10197.1.301). */
function spki(x: bigint, y: bigint): Buffer {
  const head = '3059301306072a8648ce3d020106082a811ccf5501822d03420004'
  return Buffer.from(head + [x, y].map((value) => value.toString(16).padStart(64, '0')).join(''), 'hex')
}

/** ECDSA-Sig-Value: two integers in the shortest form. */
function der(r: bigint, s: bigint): Buffer {
  const integers = [r, s].map((value) => {
    const digits = value.toString(16)
    const hex = digits.length % 2 === 1 ? `0${digits}` : digits
    const bytes = Buffer.from(hex >= '8' ? `00${hex}` : hex, 'hex')
    return Buffer.concat([Buffer.from([2, bytes.length]), bytes])
  })
  const body = Buffer.concat(integers)
  return Buffer.concat([Buffer.from([0x30, body.length]), body])
}

describe('the SM2 signer', () => {
  it('makes signatures that OpenSSL accepts, as far as it can: with an empty user id', () => {
    const signer = generateSm2Signer('')
    const message = Buffer.from('message')
    const { r, s } = signer.sign(message)
    const key = { key: spki(signer.x, signer.y), format: 'der', type: 'spki' } as const
    expect(verify('sm3', message, key, der(r, s))).toBe(true)
    expect(verify('sm3', Buffer.from('massage'), key, der(r, s))).toBe(false)
  })

  it('binds the user id', () => {
    const signer = generateSm2Signer('HYGON')
    const { r, s } = signer.sign(Buffer.from('message'))
    const key = { key: spki(signer.x, signer.y), format: 'der', type: 'spki' } as const
    expect(verify('sm3', Buffer.from('message'), key, der(r, s))).toBe(false)
  })
})

describe('a virtual Hygon chip', () => {
  const chip = createVirtualHygonChip({ chipId: 'CHIP1' })

  it('has certificates of the real sizes', () => {
    expect(chip.root.certificate).toHaveLength(832)
    expect(chip.hskCek).toHaveLength(832 + 2084)
    expect(chip.pek).toHaveLength(2084)
  })

  it('puts PEK and serial number where each version has them', () => {
    for (const [version, pek] of [
      [1, 336],
      [2, 1168],
    ] as const) {
      const evidence = chip.evidence({ version, reportData: new Uint8Array(64) })
      const { data } = evidence.attestation_report as { data: number[] }
      expect(data).toHaveLength(4096)
      expect(data.slice(pek, pek + 2084)).toEqual([...chip.pek])
      expect(Buffer.from(data.slice(pek + 2084, pek + 2084 + 5)).toString()).toBe('CHIP1')
    }
  })

  it('masks a V1 report: no report data can be read from it', () => {
    const evidence = chip.evidence({ version: 1, reportData: new Uint8Array(64) })
    const { data } = evidence.attestation_report as { data: number[] }
    expect(data.slice(64, 68)).toEqual(data.slice(188, 192))
  })

  it('puts the registers of the log behind rtmr0', () => {
    const eventLog = virtualEventLog({ banks: ['sm3'] })
    const evidence = chip.evidence({ reportData: new Uint8Array(64), eventLog })
    const { data } = evidence.attestation_report as { data: number[] }
    expect(data.slice(240, 272)).toEqual([...(eventLog.registers[0] ?? [])])
  })

  it('writes numbers little endian', () => {
    expect([...numberField(0x1234n).subarray(0, 3)]).toEqual([0x34, 0x12, 0])
    const json = caCertificateJson(chip.hskCek.subarray(0, 832))
    expect(json).toMatchObject({ body: { pubkey: { g: 3 }, uid_size: 12 } })
  })
})

describe('the fake key service', () => {
  it('knows its chips', async () => {
    const chip = createVirtualHygonChip()
    const service = fakeHygonKeyService([chip])
    const found = await service.fetch(`https://cert.hygon.cn/hsk_cek?snumber=${chip.chipId}`)
    expect(Buffer.from(await found.arrayBuffer())).toEqual(Buffer.from(chip.hskCek))
    expect((await service.fetch('https://cert.hygon.cn/hsk_cek?snumber=OTHER')).status).toBe(404)
    expect(service.requests).toEqual([chip.chipId, 'OTHER'])
  })
})
