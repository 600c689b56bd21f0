import { describe, expect, it } from 'vitest'
import { administration } from '../administration.ts'
import {
  attestation,
  authenticate,
  claimsOf,
  openTestKbs,
  smallPolicy,
  type TestKbs,
  text,
  tokenOf,
} from '../fixtures.ts'
import { expectProblem } from '../problem.ts'

const path = '/kbs/v0/attestation-policy'
const refused = 'Attestation error: Set Attestation Policy failed'
const encoded = (rego: string | Uint8Array) => Buffer.from(rego).toString('base64url')
const message = (policy: string, id = 'default_cpu') =>
  JSON.stringify({ type: 'rego', policy_id: id, policy: encoded(policy) })

async function statusOfSubmod(kbs: TestKbs): Promise<unknown> {
  const { nonce, cookie } = await authenticate(kbs)
  const token = await tokenOf(await kbs.post('/kbs/v0/attest', text(attestation({ nonce })), { cookie }))
  return (claimsOf(token).submods as Record<string, Record<string, unknown>>).cpu0?.['ear.status']
}

describe('POST /attestation-policy (spec 01 §1.2)', () => {
  it('sets the policy, answers 200 without content, and the next attestation is appraised with it', async () => {
    const kbs = await openTestKbs()
    const answer = await kbs.post(path, message(smallPolicy))
    expect(answer.status).toBe(200)
    expect(await answer.text()).toBe('')
    expect(await statusOfSubmod(kbs)).toBe('affirming')
    await kbs.post(path, message(smallPolicy.replace(':= 3 if', ':= 96 if')))
    expect(await statusOfSubmod(kbs)).toBe('contraindicated')
  })

  it('takes the message without a type, which nobody looks at', async () => {
    const kbs = await openTestKbs()
    const body = JSON.stringify({ policy_id: 'default_gpu', policy: encoded(smallPolicy) })
    expect((await kbs.post(path, body)).status).toBe(200)
    expect(await kbs.deps.attestation.getPolicy('default_gpu')).toBe(smallPolicy)
  })

  it('tells the operator who set which policy, but not its text', async () => {
    const admin = await administration()
    const kbs = await openTestKbs({ admin: admin.config })
    await kbs.post(path, message(smallPolicy), await admin.bearer())
    const record = {
      event: 'attestation-policy',
      decision: 'allowed',
      policyId: 'default_cpu',
      subject: 'alice',
    }
    expect(kbs.audits()).toMatchObject([{ ...record, role: 'admin' }])
    expect(kbs.log()).not.toContain('executables')
  })
})

describe('a policy that does not compile', () => {
  it('is refused with line and column, and the one before stays in force', async () => {
    const kbs = await openTestKbs()
    await kbs.post(path, message(smallPolicy))
    const answer = await kbs.post(path, message('package policy\n\ntrust_claims := {\n  "executables": }\n'))
    const problem = await expectProblem(answer, 400, 'AttestationError', refused)
    expect(problem.reason).toMatch(/:4:\d+: /)
    expect(await kbs.deps.attestation.getPolicy('default_cpu')).toBe(smallPolicy)
    expect(await statusOfSubmod(kbs)).toBe('affirming')
  })

  it('because it calls a function that does not exist is refused', async () => {
    const kbs = await openTestKbs()
    const rego = 'package policy\n\ntrust_claims := http.send({"url": "https://example.org"})\n'
    await expectProblem(await kbs.post(path, message(rego)), 400, 'AttestationError', /:3:\d+: .*http\.send/)
  })
})

describe('a malformed message is refused with 400', () => {
  const policy = encoded(smallPolicy)
  it.each([
    ['no JSON', 'x', /not JSON/],
    ['a list', '[]', /object expected/],
    ['no policy', '{"policy_id":"default_cpu"}', /policy/],
    ['no id', JSON.stringify({ policy }), /policy_id/],
    ['a policy that is an object', '{"policy_id":"a","policy":{}}', /policy: string expected/],
    ['padding', JSON.stringify({ policy_id: 'a', policy: `${encoded('ab')}=` }), /base64url/],
    ['standard base64', JSON.stringify({ policy_id: 'a', policy: 'a+b/' }), /base64url/],
    ['non-zero trailing bits', JSON.stringify({ policy_id: 'a', policy: 'QR' }), /base64url/],
    ['Rego that is not UTF-8', JSON.stringify({ policy_id: 'a', policy: encoded(Buffer.of(0xff)) }), /UTF-8/],
    ['an id that climbs', message(smallPolicy, '../kbs/resource-policy'), /policy_id/],
    ['an id with a slash', message(smallPolicy, 'a/b'), /policy_id/],
    ['an empty id', message(smallPolicy, ''), /policy_id/],
    ['an id of 200 characters', message(smallPolicy, 'a'.repeat(200)), /policy id/],
  ])('%s', async (_, body, reason) => {
    const kbs = await openTestKbs()
    const before = await kbs.deps.attestation.listPolicies()
    await expectProblem(await kbs.post(path, body), 400, 'AttestationError', reason)
    expect(await kbs.deps.attestation.listPolicies()).toEqual(before)
  })
})

describe('who may set attestation policies (spec 01 §6, appendix C)', () => {
  const denied = 'admin access denied for endpoint attestation-policy: '
  const wrongKey = `${denied}Admin access denied: Cannot verify token with any of the issuers`

  it('nobody in mode DenyAll', async () => {
    const kbs = await openTestKbs({ admin: { authorization_mode: 'DenyAll' } })
    const text = 'Admin access denied: Admin access denied as DenyAll authorization_mode is enabled'
    await expectProblem(await kbs.post(path, message(smallPolicy)), 401, 'AdminAuthAccess', denied + text)
  })

  it('not without a token, not with the key of a stranger, not in another role', async () => {
    const admin = await administration()
    const kbs = await openTestKbs({ admin: admin.config })
    const post = (headers: Record<string, string>) => kbs.post(path, message(smallPolicy), headers)
    await expectProblem(
      await post({}),
      401,
      'AdminAuthAccess',
      `${denied}Failed to parse HTTP Auth Bearer header`,
    )
    await expectProblem(await post(await admin.strangerBearer()), 401, 'AdminAuthAccess', wrongKey)
    const role = `${denied}Admin access denied: Role guest not allowed for path ${path}`
    await expectProblem(await post(await admin.bearer('guest')), 401, 'AdminAuthAccess', role)
    expect(kbs.audits().map(({ event, decision, reason }) => [event, decision, reason])).toEqual([
      ['attestation-policy', 'denied', 'no-bearer'],
      ['attestation-policy', 'denied', 'unverifiable'],
      ['attestation-policy', 'denied', 'role-not-allowed'],
    ])
  })

  it('is decided before the body is looked at', async () => {
    const kbs = await openTestKbs({ admin: { authorization_mode: 'DenyAll' } })
    await expectProblem(await kbs.post(path, 'x'), 401, 'AdminAuthAccess')
  })
})
