import {
  AttestationRefused,
  type AttestationService,
  AttestationUnavailable,
  ReferenceValueError,
  unmadeCheck,
} from '@passport-kbs/attestation-service'
import { EvidenceRejected } from '@passport-kbs/tee-evidence'
import { describe, expect, it } from 'vitest'
import { attestation, authenticate, openTestKbs, text } from './fixtures.ts'
import { expectProblem } from './problem.ts'

/** A KBS1 whose attestation service, elsewhere, refuses everything with these errors. */
async function openKbs(error: Error) {
  const { deps } = await openTestKbs()
  const fail = () => Promise.reject(error)
  const service: AttestationService = {
    ...deps.attestation,
    evaluate: fail,
    setPolicy: fail,
    getPolicy: fail,
    registerReferenceValues: fail,
    jwks: () => ({ keys: [] }),
  }
  return await openTestKbs({ deps: { attestation: service } })
}

describe('an attestation service elsewhere', () => {
  const secretive = new AttestationRefused('0: verifier: 17 is not 18')

  it('that refuses evidence: 401; its text is for the operator, not for the guest', async () => {
    const kbs = await openKbs(secretive)
    const { nonce, cookie } = await authenticate(kbs)
    const answer = await kbs.post('/kbs/v0/attest', text(attestation({ nonce })), { cookie })
    const body = await expectProblem(answer, 401, 'AttestationError', /evidence rejected/)
    expect(JSON.stringify(body)).not.toContain('is not 18')
    expect(kbs.audits().at(-1)).toMatchObject({
      decision: 'denied',
      reason: expect.stringContaining('17 is not 18'),
    })
  })

  it('that refuses a policy: 400, with its text, which is for the administrator', async () => {
    const kbs = await openKbs(secretive)
    const body = JSON.stringify({ policy_id: 'default_cpu', policy: 'eA' })
    await expectProblem(
      await kbs.post('/kbs/v0/attestation-policy', body),
      400,
      'AttestationError',
      /17 is not 18/,
    )
  })

  it('that shows no policies: 400 instead of an empty history', async () => {
    const kbs = await openKbs(secretive)
    const answer = await kbs.get('/kbs/v0/attestation-policy/default_cpu')
    await expectProblem(answer, 400, 'AttestationError', /17 is not 18/)
  })

  it('that refuses reference values: 400, with its text', async () => {
    const kbs = await openKbs(new ReferenceValueError('unknown type'))
    await expectProblem(await kbs.post('/kbs/v0/reference-value', '{}'), 400, 'RvpsError', /unknown type/)
  })

  it('that cannot be asked: 503, for guests and administrators', async () => {
    const kbs = await openKbs(new AttestationUnavailable('cannot be reached'))
    const { nonce, cookie } = await authenticate(kbs)
    const attest = await kbs.post('/kbs/v0/attest', text(attestation({ nonce })), { cookie })
    await expectProblem(attest, 503, 'ServiceUnavailable')
    await expectProblem(await kbs.post('/kbs/v0/reference-value', '{}'), 503, 'ServiceUnavailable')
  })

  it('that cannot ask the vendor: 503 with the code, no denial, and the nonce is used', async () => {
    const rejection = new EvidenceRejected('VEK_UNAVAILABLE', 'endorsement-key', 'KDS: status 500', {
      outage: true,
    })
    const kbs = await openKbs(unmadeCheck(rejection))
    const { nonce, cookie } = await authenticate(kbs)
    const body = text(attestation({ nonce }))
    const answer = await kbs.post('/kbs/v0/attest', body, { cookie })
    const problem = await expectProblem(
      answer,
      503,
      'ServiceUnavailable',
      'temporarily unavailable, try again later',
    )
    expect(problem.reason).toBe('evidence cannot be verified now: VEK_UNAVAILABLE')
    expect(answer.headers.get('retry-after')).toBe('5')
    expect(kbs.audits().at(-1)).toMatchObject({
      decision: 'failed',
      reason: expect.stringContaining('endorsement-key: VEK_UNAVAILABLE: KDS: status 500'),
    })
    const metrics = await (await kbs.get('/metrics')).text()
    expect(metrics).toContain('kbs_attestation_unavailable_total{tee_type="sample"} 1')
    expect(metrics).not.toContain('kbs_attestation_failures_total{')
    const again = await kbs.post('/kbs/v0/attest', body, { cookie })
    await expectProblem(again, 401, 'AttestationError', /nonce has been used/)
  })

  it('whose keys are not known here: 404 instead of a set without keys', async () => {
    const kbs = await openKbs(secretive)
    expect((await kbs.get('/.well-known/jwks.json')).status).toBe(404)
  })
})
