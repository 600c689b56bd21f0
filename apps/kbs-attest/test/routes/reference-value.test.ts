import { describe, expect, it } from 'vitest'
import { administration } from '../administration.ts'
import { openTestKbs } from '../fixtures.ts'
import { expectProblem } from '../problem.ts'

const path = '/kbs/v0/reference-value'
const message = (values: unknown, more: object = {}) => {
  const payload = Buffer.from(JSON.stringify(values)).toString('base64')
  return JSON.stringify({ version: '0.1.0', type: 'sample', payload, ...more })
}

describe('POST and GET /reference-value (spec 01 §1.2, §1.5)', () => {
  it('register values with an empty JSON answer, and give back the stored JSON', async () => {
    const kbs = await openTestKbs()
    const answer = await kbs.post(path, message({ svn: ['1'], 'a/b.c': { deep: [true, null, 1.5] } }))
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'application/json'])
    expect(await answer.text()).toBe('')
    const svn = await kbs.get(`${path}/svn`)
    expect([svn.status, svn.headers.get('content-type')]).toEqual([200, 'application/json'])
    expect(await svn.text()).toBe('["1"]')
    expect(await (await kbs.get(`${path}/a/b.c`)).text()).toBe('{"deep":[true,null,1.5]}')
  })

  it('read the message of the specification', async () => {
    const kbs = await openTestKbs()
    const body = '{"version":"0.1.0","type":"sample","payload":"eyJzdm4iOlsiMSJdfQ=="}'
    expect((await kbs.post(path, body)).status).toBe(200)
    expect(await (await kbs.get(`${path}/svn`)).text()).toBe('["1"]')
  })

  it('keep integers beyond 2^53 exactly', async () => {
    const kbs = await openTestKbs()
    const payload = Buffer.from('{"tcb":18446744073709551615}').toString('base64')
    await kbs.post(path, JSON.stringify({ type: 'sample', payload }))
    expect(await (await kbs.get(`${path}/tcb`)).text()).toBe('18446744073709551615')
  })

  it('know no value of another name: 404, also for names that could never be', async () => {
    const kbs = await openTestKbs()
    for (const name of ['unknown', '', '..%2F..%2Fetc', 'a//b', 'x'.repeat(2_000)]) {
      const answer = await kbs.get(`${path}/${name}`)
      await expectProblem(answer, 404, 'RvpsError', 'RVPS configuration failed: reference value not found')
    }
  })

  it('forget a value when it expires', async () => {
    const kbs = await openTestKbs()
    const expiration = `${new Date(kbs.clock.now.getTime() + 60_000).toISOString().slice(0, 19)}Z`
    expect((await kbs.post(path, message({ svn: 1 }, { expiration }))).status).toBe(200)
    expect((await kbs.get(`${path}/svn`)).status).toBe(200)
    kbs.clock.now = new Date(kbs.clock.now.getTime() + 61_000)
    await expectProblem(await kbs.get(`${path}/svn`), 404, 'RvpsError')
  })

  it('forget a value after twelve months unless told', async () => {
    const kbs = await openTestKbs()
    await kbs.post(path, message({ svn: 1 }))
    const day = 86_400_000
    kbs.clock.now = new Date(kbs.clock.now.getTime() + 364 * day)
    expect((await kbs.get(`${path}/svn`)).status).toBe(200)
    kbs.clock.now = new Date(kbs.clock.now.getTime() + 3 * day)
    expect((await kbs.get(`${path}/svn`)).status).toBe(404)
  })

  it('put who did it on the audit record, with names and without values', async () => {
    const admin = await administration()
    const kbs = await openTestKbs({ admin: admin.config })
    await kbs.post(path, message({ svn: 'value-of-svn' }), await admin.bearer())
    await kbs.get(`${path}/svn`, await admin.bearer())
    const who = { decision: 'allowed', subject: 'alice', referenceValues: ['svn'] }
    expect(kbs.audits()).toMatchObject([
      { event: 'reference-value', ...who },
      { event: 'reference-value-read', ...who },
    ])
    expect(kbs.log()).not.toContain('value-of-svn')
  })
})

describe('a message that cannot be taken as a whole is refused with 400 and changes nothing', () => {
  const payload = (value: string) => Buffer.from(value).toString('base64')
  it.each([
    ['no JSON', '{', /not JSON/],
    ['a list', '[]', /object expected/],
    ['no payload', '{"type":"sample"}', /payload/],
    ['another version', message({ svn: 2 }, { version: '0.2.0' }), /version/],
    ['a type nobody knows', message({ svn: 2 }, { type: 'magic' }), /type/],
    ['a CoRIM that is none', message({ svn: 2 }, { type: 'corim' }), /CoRIM/],
    ['a payload without padding', '{"type":"sample","payload":"eyJzdm4iOlsiMSJdfQ"}', /base64/],
    ['a payload in base64url', '{"type":"sample","payload":"-_-_"}', /base64/],
    ['a payload that is not JSON', JSON.stringify({ type: 'sample', payload: payload('x') }), /JSON/],
    ['a payload that is no object', message(['svn']), /object/],
    ['a name twice', JSON.stringify({ type: 'sample', payload: payload('{"svn":1,"svn":2}') }), /JSON/],
    ['no value', message({}), /no reference value/],
    ['an empty name', message({ svn: 2, '': 1 }), /name/],
    ['a control character in a name', message({ svn: 2, 'a\u0000b': 1 }), /control/],
    ['an expiration in the past', message({ svn: 2 }, { expiration: '2020-01-01T00:00:00Z' }), /future/],
    ['an expiration that is no time', message({ svn: 2 }, { expiration: 'tomorrow' }), /expiration/],
    [
      'a payload nested too deep',
      JSON.stringify({ type: 'sample', payload: payload('['.repeat(5_000)) }),
      /JSON/,
    ],
  ])('%s', async (_, body, reason) => {
    const kbs = await openTestKbs()
    await kbs.post(path, message({ svn: 1 }))
    await expectProblem(await kbs.post(path, body), 400, 'RvpsError', reason)
    expect(await (await kbs.get(`${path}/svn`)).text()).toBe('1')
  })
})

describe('who may use reference values (spec 01 §6, appendix C)', () => {
  const denied = 'admin access denied for endpoint reference-value: '

  it('nobody in mode DenyAll, neither for reading nor for writing', async () => {
    const kbs = await openTestKbs({ admin: { authorization_mode: 'DenyAll' } })
    await expectProblem(
      await kbs.get(`${path}/svn`),
      401,
      'AdminAuthAccess',
      /DenyAll authorization_mode is enabled/,
    )
    await expectProblem(
      await kbs.post(path, message({ svn: 1 })),
      401,
      'AdminAuthAccess',
      /^admin access denied for/,
    )
  })

  it('whoever the ACL allows, matched against the decoded path and not against the query', async () => {
    const admin = await administration('^/kbs/v0/reference-value/public/.+$')
    const kbs = await openTestKbs({ admin: admin.config })
    const headers = await admin.bearer()
    const status = async (name: string) => (await kbs.get(`${path}/${name}`, headers)).status
    expect(await status('public/svn')).toBe(404)
    expect(await status('public%2Fsvn')).toBe(404)
    expect(await status('secret/svn')).toBe(401)
    expect(await status('secret/svn?/kbs/v0/reference-value/public/x')).toBe(401)
    expect(await status('secret%3F/public/svn')).toBe(401)
    const answer = await kbs.get(`${path}/secret/svn`, headers)
    const role = `Admin access denied: Role admin not allowed for path ${path}/secret/svn`
    await expectProblem(answer, 401, 'AdminAuthAccess', denied + role)
  })
})
