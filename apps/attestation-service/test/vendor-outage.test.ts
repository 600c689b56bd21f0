import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { status } from '@grpc/grpc-js'
import { createRemoteAttestationService } from '@passport-kbs/attestation-service/remote'
import { runtimeDataDigest } from '@passport-kbs/protocol'
import { createVirtualHygonChip, createVirtualHygonRoot } from '@passport-kbs/testing'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  encoded,
  openFolder,
  runtimeData,
  startAttestationService,
  type TestService,
  text,
} from './fixtures.ts'
import { attestation, connect, type TrusteeKbs } from './trustee-kbs.ts'

const root = createVirtualHygonRoot()
/** What Hygon's service answers, and what it was asked. */
const hygon = { status: 500, asked: 0 }

let vendor: Server
let folder: Awaited<ReturnType<typeof openFolder>>
let service: TestService
let kbs: TrusteeKbs
beforeAll(async () => {
  vendor = createServer((_request, response) => {
    hygon.asked++
    response.writeHead(hygon.status).end()
  }).listen(0, '127.0.0.1')
  await once(vendor, 'listening')
  const { port } = vendor.address() as { readonly port: number }
  folder = await openFolder()
  const trustedRoot = await folder.write('hrk.cert', root.certificate)
  const csv = {
    trusted_root: trustedRoot,
    cert_dir: `${trustedRoot}.none`,
    base_url: `http://127.0.0.1:${port}`,
  }
  service = await startAttestationService({
    attestation_service: { type: 'coco_as_builtin', verifier_config: { csv_verifier: csv } },
  })
  kbs = connect(service.grpc)
}, 30_000)
afterAll(async () => {
  kbs?.client.close()
  await service?.close()
  await folder?.close()
  vendor?.close()
})
beforeEach(() => {
  hygon.status = 500
  hygon.asked = 0
})

/** Evidence of a chip that nobody has seen before, whose certificates the guest does not bring. */
function newEvidence() {
  const reportData = runtimeDataDigest(runtimeData, 'sha384')
  return createVirtualHygonChip({ root }).evidence({ reportData, withChain: false })
}

function requestWith(evidence: ReturnType<typeof newEvidence>) {
  const request = { tee: 'csv', evidence: encoded(evidence), runtime_data_hash_algorithm: 'sha384' }
  return {
    verification_requests: [{ ...request, structured_runtime_data: text(runtimeData) }],
    policy_ids: ['default'],
  }
}

describe('evidence whose certificates the vendor’s service', () => {
  it('cannot be asked for: UNAVAILABLE, with the check in the trailers, and no denial', async () => {
    const refusal = kbs.call(attestation, 'AttestationEvaluate', requestWith(newEvidence()))
    const { code, details, metadata } = await refusal.catch((error) => error)
    expect({ code, details }).toEqual({
      code: status.UNAVAILABLE,
      details:
        'temporarily unavailable, try again later: evidence cannot be verified now: CSV_CHAIN_UNAVAILABLE',
    })
    expect(metadata.get('attestation-rejection')).toEqual(['CSV_CHAIN_UNAVAILABLE'])
    expect(metadata.get('attestation-check')).toEqual(['chip-certificates'])
    const audit = service.log().findLast((line) => line.audit === true)
    expect(audit).toMatchObject({
      decision: 'failed',
      reason: expect.stringMatching(/chip-certificates: CSV_CHAIN_UNAVAILABLE: .*status 500/),
    })
    const metrics = await (await fetch(`${service.url}/metrics`)).text()
    expect(metrics).toMatch(/kbs_attestation_unavailable_total\{tee_type="csv"\} \d/)
    expect(metrics).not.toMatch(/kbs_attestation_failures_total\{tee_type="csv"\}/)
  })

  it('cannot be asked for, over REST: 503 with Retry-After and the code', async () => {
    const individual = {
      tee: 'csv',
      evidence: encoded(newEvidence()),
      runtime_data: { structured: runtimeData },
      runtime_data_hash_algorithm: 'sha384',
    }
    const answer = await fetch(`${service.url}/attestation`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ verification_requests: [individual], policy_ids: ['default'] }),
    })
    expect(answer.status).toBe(503)
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(await answer.json()).toMatchObject({
      reason: 'evidence cannot be verified now: CSV_CHAIN_UNAVAILABLE',
    })
  })

  it('cannot be asked for: a KBS1 that asks is told so, and does not ask again at once', async () => {
    const remote = createRemoteAttestationService({
      url: new URL(`http://${service.grpc}`),
      maxConnections: 1,
      requestTimeoutMs: 10_000,
      messageLimit: 1_048_576,
      policyId: 'default',
    })
    try {
      const evaluation = remote.evaluate(
        [
          {
            tee: 'csv',
            evidence: newEvidence(),
            runtimeData: { kind: 'structured', value: runtimeData },
            runtimeDataHash: 'sha384',
          },
        ],
        { now: new Date(), requestId: crypto.randomUUID() },
      )
      const before = service.log().filter((line) => line.audit === true).length
      await expect(evaluation).rejects.toMatchObject({
        name: 'AttestationUnavailable',
        unmade: { code: 'CSV_CHAIN_UNAVAILABLE', check: 'chip-certificates', outage: true },
      })
      expect(service.log().filter((line) => line.audit === true)).toHaveLength(before + 1)
    } finally {
      await remote.close()
    }
  })

  it('does not have: INVALID_ARGUMENT, also once more, when it is not asked', async () => {
    hygon.status = 404
    const request = requestWith(newEvidence())
    for (const _time of [1, 2]) {
      await expect(kbs.call(attestation, 'AttestationEvaluate', request)).rejects.toMatchObject({
        code: status.INVALID_ARGUMENT,
        details: 'evidence rejected: CSV_CHAIN_UNAVAILABLE',
      })
    }
    expect(hygon.asked).toBe(1)
  })
})
