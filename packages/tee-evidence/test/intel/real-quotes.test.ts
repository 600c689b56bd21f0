import { decodeBase64, encodeUtf8, type JsonObject } from '@passport-kbs/protocol'
import { describe, expect, test } from 'vitest'
import { createDcap, createSgxVerifier, createTdxVerifier, fixedCollateral } from '../../src/index.ts'
import { vectorJson, vectors } from '../eventlog/vectors.ts'

/** Quotes of real machines with the collateral of their time, under Intel's own root. */
const machines = [
  ['tdx', 'evidence-b0c0.json', 'tdx-b0c06f000000-2025-06.json', '2025-07-01T00:00:00Z', 'b0c0'],
  ['tdx', 'evidence-90c0.json', 'tdx-90c06f000000-2026-02.json', '2026-03-01T00:00:00Z', '90c0'],
  ['tdx', 'evidence-cos113.json', 'tdx-00806f050000-2025-05.json', '2025-06-10T00:00:00Z', 'cos113'],
  [
    'tdx',
    'evidence-cos113-ccel.json',
    'tdx-00806f050000-2025-05.json',
    '2025-06-10T00:00:00Z',
    'cos113-ccel',
  ],
  ['tdx', 'evidence-azure.json', 'tdx-00806f050000-2025-05.json', '2025-06-10T00:00:00Z', 'azure'],
  ['sgx', 'evidence-a067.json', 'sgx-00a067110000-2025-06.json', '2025-07-01T00:00:00Z', 'a067'],
  ['sgx', 'evidence-azure.json', 'sgx-00606a000000-2023-05.json', '2023-05-20T00:00:00Z', 'azure'],
] as const

describe.skipIf(vectors === undefined)('A quote of a real machine', () => {
  test.each(machines)(
    '%s %s gives exactly the published claims',
    async (tee, evidence, bundle, now, claims) => {
      const served = vectorJson(tee, 'collateral', bundle) as Record<string, string>
      const signed = (name: string) => ({
        body: encodeUtf8(served[name] ?? ''),
        issuerChain: served[`${name}_issuer_chain`] ?? '',
      })
      const dcap = createDcap({
        collateral: fixedCollateral({
          tcbInfo: signed('tcb_info'),
          qeIdentity: signed('qe_identity'),
          pckCrl: { body: decodeBase64(served.pck_crl ?? '') },
          rootCaCrl: { body: decodeBase64(served.root_ca_crl ?? '') },
        }),
      })
      const verifier = tee === 'tdx' ? createTdxVerifier({ dcap }) : createSgxVerifier({ dcap })
      const [entry] = await verifier.verify(vectorJson(tee, evidence), { now: new Date(now) })
      const expected = vectorJson(tee, 'claims', `${claims}.claims.json`) as JsonObject
      expect(JSON.parse(JSON.stringify(entry?.claims))).toEqual(JSON.parse(JSON.stringify(expected)))
    },
  )
})
