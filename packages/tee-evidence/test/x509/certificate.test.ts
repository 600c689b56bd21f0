/** RFC 5280: certificates, CRLs and their PEM form, as their bytes say. */
import { X509Certificate } from 'node:crypto'
import { createVirtualSnpMachine, currentCrl, pem, virtualCrl } from '@passport-kbs/testing'
import { describe, expect, it } from 'vitest'
import {
  basicConstraints,
  commonName,
  findExtension,
  keyUsage,
  parseCertificate,
  publicKeyOf,
  validityAt,
} from '../../src/x509/certificate.ts'
import { freshnessAt, parseCertificateRevocationList } from '../../src/x509/crl.ts'
import { DerError } from '../../src/x509/der.ts'
import { decodePemBlocks, decodeSinglePem } from '../../src/x509/pem.ts'

const now = new Date('2026-03-01T12:00:00Z')
const machine = createVirtualSnpMachine({ generation: 'Milan', now })
const { ark, ask } = machine.roots.Milan
const leaf = machine.endorsementCertificate

describe('a certificate', () => {
  it('says what OpenSSL reads in it', () => {
    for (const der of [ark, ask]) {
      const certificate = parseCertificate(der)
      const reference = new X509Certificate(der)
      expect(certificate.serialNumber).toBe(reference.serialNumber.toLowerCase())
      expect(certificate.notBefore).toEqual(reference.validFromDate)
      expect(certificate.notAfter).toEqual(reference.validToDate)
      expect(reference.subject).toContain(`CN=${commonName(certificate.subject)}`)
      expect(publicKeyOf(certificate).equals(reference.publicKey)).toBe(true)
    }
  })

  it('may have serial number 0, which RFC 5280 forbids and AMD uses', () => {
    expect(parseCertificate(leaf).serialNumber).toBe('00')
  })

  it('tells what an authority may do', () => {
    const certificate = parseCertificate(ask)
    expect(basicConstraints(certificate)).toEqual({ ca: true, critical: true, pathLength: 0 })
    expect(keyUsage(certificate)).toMatchObject({ keyCertSign: true, cRLSign: false })
    expect(basicConstraints(parseCertificate(leaf))).toBeUndefined()
    expect(keyUsage(parseCertificate(leaf))).toBeUndefined()
  })

  it('is not one when cut anywhere, or with a byte more', () => {
    for (let length = 0; length < leaf.length; length += 1) {
      expect(() => parseCertificate(leaf.subarray(0, length))).toThrow(DerError)
    }
    expect(() => parseCertificate(Buffer.concat([leaf, Buffer.alloc(1)]))).toThrow(DerError)
  })

  it('with any one byte changed is read or refused, nothing else', () => {
    for (let at = 0; at < leaf.length; at += 1) {
      const changed = Uint8Array.from(leaf)
      changed[at] = (changed[at] ?? 0) ^ 0x41
      try {
        parseCertificate(changed)
      } catch (error) {
        expect(error).toBeInstanceOf(DerError)
      }
    }
  })

  it('refuses an extension that occurs twice when it is asked for', () => {
    const extension = { oid: '1.2.3', critical: false, value: new Uint8Array() }
    expect(findExtension([extension], '1.2.3')).toBe(extension)
    expect(findExtension([extension], '1.2.4')).toBeUndefined()
    expect(() => findExtension([extension, extension], '1.2.3')).toThrow(DerError)
  })

  it('is valid from the first to the last second of its period', () => {
    const certificate = parseCertificate(leaf)
    const at = (time: Date, milliseconds: number) =>
      validityAt(certificate, new Date(time.getTime() + milliseconds))
    expect(at(certificate.notBefore, -1)).toBe('not-yet-valid')
    expect(at(certificate.notBefore, 0)).toBe('valid')
    expect(at(certificate.notAfter, 999)).toBe('valid')
    expect(at(certificate.notAfter, 1000)).toBe('expired')
  })
})

describe('a CRL', () => {
  it('lists serial numbers and its own period', () => {
    const list = parseCertificateRevocationList(currentCrl('Milan', now, ['ask']))
    expect([...list.revoked.keys()]).toEqual([parseCertificate(ask).serialNumber])
    expect(Buffer.from(list.issuer.raw)).toEqual(Buffer.from(parseCertificate(ark).subject.raw))
    expect(freshnessAt(list, now)).toBe('fresh')
    expect(freshnessAt(list, new Date('2027-03-01T12:00:00Z'))).toBe('stale')
    expect(freshnessAt(list, new Date('2025-03-01T12:00:00Z'))).toBe('future')
  })

  it('without nextUpdate is never fresh', () => {
    const list = parseCertificateRevocationList(virtualCrl({ generation: 'Milan', thisUpdate: now }))
    expect(freshnessAt(list, now)).toBe('stale')
  })

  it('is not one when cut anywhere', () => {
    const der = currentCrl('Milan', now, ['ask', 'asvk'])
    for (let length = 0; length < der.length; length += 1) {
      expect(() => parseCertificateRevocationList(der.subarray(0, length))).toThrow(DerError)
    }
  })
})

describe('PEM (RFC 7468)', () => {
  const text = pem('CERTIFICATE', ask)

  it('gives every block', () => {
    expect(decodePemBlocks(`before\n${text}between\n${text}after`, 'CERTIFICATE')).toHaveLength(2)
    expect(decodePemBlocks(text, 'X509 CRL')).toEqual([])
  })

  it('a single block stands alone', () => {
    expect(Buffer.from(decodeSinglePem(`${text}\r\n \n`, 'CERTIFICATE'))).toEqual(Buffer.from(ask))
    expect(() => decodeSinglePem(text + text, 'CERTIFICATE')).toThrow(DerError)
    expect(() => decodeSinglePem(`x${text}`, 'CERTIFICATE')).toThrow(DerError)
    expect(() => decodeSinglePem(`${text}x`, 'CERTIFICATE')).toThrow(DerError)
  })

  it('has an end, and only base64 inside', () => {
    expect(() => decodePemBlocks(text.replace('-----END', ''), 'CERTIFICATE')).toThrow(DerError)
    expect(() => decodePemBlocks(text.replace('\nMI', '\nM!'), 'CERTIFICATE')).toThrow(DerError)
  })
})
