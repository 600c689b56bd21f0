import { createPublicKey, verify, X509Certificate } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createVirtualIntel, startVirtualPcs, type VirtualPcs } from '../../src/index.ts'

const now = new Date('2026-01-15T12:00:00Z')
const intel = createVirtualIntel(now)

describe('Certificates of the virtual Intel', () => {
  const root = new X509Certificate(intel.rootCertificate)

  test('lead to its root, as OpenSSL sees it', () => {
    expect(root.verify(root.publicKey)).toBe(true)
    expect(root.ca).toBe(true)
    const { authorities } = intel
    const leaf = new X509Certificate(intel.platform().pck.certificate)
    const ca = new X509Certificate(authorities.platform.certificate)
    const signer = new X509Certificate(authorities.tcbSigner.certificate)
    for (const [certificate, issuer] of [
      [leaf, ca],
      [ca, root],
      [signer, root],
    ] as const) {
      expect(certificate.checkIssued(issuer)).toBe(true)
      expect(certificate.verify(issuer.publicKey)).toBe(true)
      expect(certificate.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1')
    }
    expect([leaf.ca, ca.ca, signer.ca]).toEqual([false, true, false])
  })

  test('are those of a vendor of its own each time', () => {
    expect(createVirtualIntel(now).rootCertificate).not.toEqual(intel.rootCertificate)
  })
})

describe('Quotes', () => {
  test.each([
    ['version 4', intel.platform().tdQuote(), 48 + 584],
    ['version 5, TDX 1.0', intel.platform().tdQuote({ version: 5, layout: '1.0' }), 54 + 584],
    ['version 5, TDX 1.5', intel.platform().tdQuote({ version: 5 }), 54 + 648],
    ['version 3', intel.platform().enclaveQuote(), 48 + 384],
  ])('of %s are signed by the key inside them', (_name, quote, signedSize) => {
    const bytes = Buffer.from(quote)
    expect(bytes.readUInt32LE(signedSize)).toBe(bytes.length - signedSize - 4)
    const [signature, point] = [
      bytes.subarray(signedSize + 4, signedSize + 68),
      bytes.subarray(signedSize + 68, signedSize + 132),
    ]
    const jwk = {
      kty: 'EC',
      crv: 'P-256',
      x: point.toString('base64url', 0, 32),
      y: point.toString('base64url', 32),
    }
    const key = createPublicKey({ key: jwk, format: 'jwk' })
    expect(
      verify('sha256', bytes.subarray(0, signedSize), { key, dsaEncoding: 'ieee-p1363' }, signature),
    ).toBe(true)
  })
})

describe('The virtual PCS', () => {
  let pcs: VirtualPcs
  beforeAll(async () => {
    pcs = await startVirtualPcs()
    pcs.serve('tdx', '90c06f000000', 'platform', intel.collateral())
  })
  afterAll(() => pcs.close())

  test('serves TCB info with its issuer chain, percent-encoded', async () => {
    const response = await fetch(`${pcs.url}/tdx/certification/v4/tcb?fmspc=90C06F000000&update=early`)
    const { tcbInfo } = (await response.json()) as { tcbInfo: { id: string; fmspc: string } }
    expect(tcbInfo).toMatchObject({ id: 'TDX', fmspc: '90C06F000000' })
    const chain = decodeURIComponent(response.headers.get('tcb-info-issuer-chain') ?? '')
    expect(chain.match(/BEGIN CERTIFICATE/g)).toHaveLength(2)
  })

  test('does not know other platforms, and fails when told', async () => {
    const unknown = await fetch(`${pcs.url}/tdx/certification/v4/tcb?fmspc=000000000000`)
    expect(unknown.status).toBe(404)
    pcs.fail({ kind: 'status', status: 503, retryAfter: '7' }, 'rootcacrl')
    const busy = await fetch(`${pcs.url}/sgx/certification/v4/rootcacrl`)
    expect([busy.status, busy.headers.get('retry-after')]).toEqual([503, '7'])
    expect((await fetch(`${pcs.url}/sgx/certification/v4/pckcrl?ca=platform&encoding=der`)).status).toBe(200)
  })
})
