import { presets } from '@passport-kbs/policy'
import { describe, expect, it } from 'vitest'
import { administration } from '../../../kbs-attest/test/administration.ts'
import { expectProblem } from '../../../kbs-attest/test/problem.ts'
import { openTestKbs, passport, type TestKbs, utf8 } from '../fixtures.ts'

const path = '/kbs/v0/resource-policy'
const encoded = (rego: string | Uint8Array) => Buffer.from(rego).toString('base64url')
const message = (rego: string) => JSON.stringify({ policy: encoded(rego) })

async function statusOfRead(kbs: TestKbs): Promise<number> {
  await kbs.storage.namespace('repository').set('a/b/c', utf8('secret'))
  return (await kbs.request('GET', '/kbs/v0/resource/a/b/c', await passport())).status
}

describe('POST /resource-policy (spec 01 §1.2, §4.4)', () => {
  it('sets the policy, answers 200 without content, and decides the next request', async () => {
    const kbs = await openTestKbs({ policy: presets.denyAll })
    expect(await statusOfRead(kbs)).toBe(401)
    const answer = await kbs.request('POST', path, {}, message(presets.allowAll))
    expect([answer.status, await answer.text()]).toEqual([200, ''])
    expect(await statusOfRead(kbs)).toBe(200)
    await kbs.request('POST', path, {}, message(presets.denyAll))
    expect(await statusOfRead(kbs)).toBe(401)
  })

  it('keeps the text byte for byte where Trustee keeps it', async () => {
    const kbs = await openTestKbs()
    const rego = `# schön ✓\r\n${presets.allowAll}`
    await kbs.request('POST', path, {}, message(rego))
    expect(await kbs.storage.namespace('kbs').get('resource-policy.rego')).toEqual(utf8(rego))
  })

  it('ignores other members of the message', async () => {
    const kbs = await openTestKbs()
    const body = JSON.stringify({ type: 'rego', policy_id: 'x', policy: encoded(presets.allowAll) })
    expect((await kbs.request('POST', path, {}, body)).status).toBe(200)
  })

  it('tells the operator who set it and its SHA-384, not its text', async () => {
    const admin = await administration()
    const kbs = await openTestKbs({ admin: admin.config })
    await kbs.request('POST', path, await admin.bearer(), message(presets.allowAll))
    expect(kbs.audits()).toMatchObject([{ event: 'resource-policy', decision: 'allowed', subject: 'alice' }])
    expect(kbs.log()).not.toContain('default allow')
    await statusOfRead(kbs)
    expect(kbs.audits()[1]?.policySha384).toBe(kbs.audits()[0]?.policySha384)
  })
})

describe('a policy that does not compile', () => {
  it.each([
    ['is cut off', 'package policy\n\nallow if {\n', /resource-policy\.rego:\d+:\d+: /],
    ['calls what does not exist', 'package policy\n\nallow if http.send({})\n', /:3:\d+: .*http\.send/],
    ['is no Rego', 'allow everything', /resource-policy\.rego:1:\d+: /],
    ['is empty', '', /resource-policy\.rego:1:\d+: /],
    ['is recursive', 'package policy\n\nallow if data.policy.allow\n', /:3:\d+: .*depend on themselves/],
  ])(
    'because it %s is refused with line and column, and the one before stays in force',
    async (_, rego, where) => {
      const kbs = await openTestKbs({ policy: presets.allowAll })
      const answer = await kbs.request('POST', path, {}, message(rego))
      const { detail } = await expectProblem(answer, 400, 'PolicyEngineError', where)
      expect(detail).toMatch(/^Policy engine error: /)
      expect(await statusOfRead(kbs)).toBe(200)
      expect(await kbs.storage.namespace('kbs').get('resource-policy.rego')).toEqual(utf8(presets.allowAll))
    },
  )
})

describe('a malformed message is refused with 400', () => {
  it.each([
    ['no JSON', 'x', 'not JSON'],
    ['nothing', '', 'not JSON'],
    ['a member twice', `{"policy":"","policy":"${encoded(presets.allowAll)}"}`, 'not JSON'],
    ['nested too deep', `${'['.repeat(100_000)}`, 'not JSON'],
    ['no policy', '{}', 'policy: string expected'],
    ['a policy that is a number', '{"policy":1}', 'policy: string expected'],
    ['padding', '{"policy":"YQ=="}', 'policy: not base64url of UTF-8 without padding'],
    ['standard base64', '{"policy":"a+b/"}', 'policy: not base64url of UTF-8 without padding'],
    ['line breaks', '{"policy":"YWJj\\nYWJj"}', 'policy: not base64url of UTF-8 without padding'],
    ['not UTF-8', '{"policy":"_w"}', 'policy: not base64url of UTF-8 without padding'],
    ['more than 1 MiB', message(`#${'x'.repeat(1_048_600)}`), 'policy: too large'],
  ])('%s', async (_, body, reason) => {
    const kbs = await openTestKbs({ policy: presets.denyAll })
    const answer = await kbs.request('POST', path, {}, body)
    await expectProblem(answer, 400, 'ParsePolicyError', `Failed to parse policy: ${reason}`)
    expect(await statusOfRead(kbs)).toBe(401)
  })
})

describe('GET /resource-policy', () => {
  it('lists the ids, not the text', async () => {
    const kbs = await openTestKbs()
    const answer = await kbs.request('GET', path)
    expect(answer.headers.get('content-type')).toBe('application/json')
    expect(await answer.json()).toEqual(['resource-policy'])
    expect(kbs.audits()).toMatchObject([{ event: 'resource-policy-list', decision: 'allowed' }])
  })
})

describe('the initial policy', () => {
  it('is installed where there is none, and never over one', async () => {
    const kbs = await openTestKbs({ policy: presets.denyAll })
    const stored = () => kbs.storage.namespace('kbs').get('resource-policy.rego')
    expect(await stored()).toEqual(utf8(presets.denyAll))
    await kbs.request('POST', path, {}, message(presets.allowAll))
    expect(await stored()).toEqual(utf8(presets.allowAll))
  })
})

describe('who may set and list policies (spec 01 §6, appendix C)', () => {
  const denied = 'admin access denied for endpoint resource-policy: '

  it('nobody in mode DenyAll', async () => {
    const kbs = await openTestKbs({ admin: { authorization_mode: 'DenyAll' } })
    const text = 'Admin access denied: Admin access denied as DenyAll authorization_mode is enabled'
    await expectProblem(await kbs.request('GET', path), 401, 'AdminAuthAccess', denied + text)
    await expectProblem(await kbs.request('POST', path, {}, 'x'), 401, 'AdminAuthAccess', denied + text)
  })

  it('not the key of a stranger, not another role, not a guest with a passport', async () => {
    const admin = await administration()
    const kbs = await openTestKbs({ admin: admin.config, policy: presets.denyAll })
    const detail = async (headers: Record<string, string>) => {
      const answer = await kbs.request('POST', path, headers, message(presets.allowAll))
      return (await expectProblem(answer, 401, 'AdminAuthAccess')).detail
    }
    const wrongKey = `${denied}Admin access denied: Cannot verify token with any of the issuers`
    expect(await detail(await admin.strangerBearer())).toBe(wrongKey)
    expect(await detail(await passport())).toBe(wrongKey)
    const role = `${denied}Admin access denied: Role guest not allowed for path ${path}`
    expect(await detail(await admin.bearer('guest'))).toBe(role)
    expect(await statusOfRead(kbs)).toBe(401)
  })
})
