import { createHash } from 'node:crypto'
import { presets } from '@passport-kbs/policy'
import { describe, expect, it } from 'vitest'
import { openTestKbs, type TestKbs } from '../fixtures.ts'

/** What the answers of the workbench hold. */
interface Answer {
  readonly sha384: string
  readonly active: string
  readonly policy: string
  readonly versions: readonly { sha384: string; set_at: string; origin: string }[]
  readonly errors: readonly { code: string; remedy: string }[]
  readonly warnings: readonly { code: string }[]
}
const answerOf = async (answer: Response) => (await answer.json()) as Answer

const path = '/kbs/v0/resource-policy'
const hash = (text: string) => createHash('sha384').update(text).digest('hex')
const upload = (text: string) => JSON.stringify({ policy: Buffer.from(text).toString('base64url') })
const json = { 'content-type': 'application/json' }
const read = async (kbs: TestKbs, below = '') => {
  const answer = await kbs.request('GET', path + below)
  return { status: answer.status, body: await answerOf(answer) }
}
const post = (kbs: TestKbs, below: string, body: string) => kbs.request('POST', path + below, json, body)

describe('GET resource-policy', () => {
  it('still answers the ids, as kbs-client expects', async () => {
    expect(await read(await openTestKbs())).toEqual({ status: 200, body: ['resource-policy'] })
  })

  it('with an id answers the policy in force with its hash, in the form in which it can be set', async () => {
    const kbs = await openTestKbs({ policy: presets.denyAll })
    const { status, body } = await read(kbs, '/resource-policy')
    expect(status).toBe(200)
    expect(body).toMatchObject({ policy_id: 'resource-policy', type: 'rego', sha384: hash(presets.denyAll) })
    expect(Buffer.from(body.policy, 'base64url').toString()).toBe(presets.denyAll)
    expect((await post(kbs, '', JSON.stringify(body))).status).toBe(200)
  })

  it.each(['/other', '/other/history', '/resource-policy/else', '/resource-policy/history/00'])(
    'knows nothing at %s',
    async (below) => {
      const kbs = await openTestKbs()
      expect((await kbs.request('GET', path + below)).status).toBe(404)
    },
  )

  it('is for administrators', async () => {
    const kbs = await openTestKbs({ admin: { authorization_mode: 'DenyAll' } })
    for (const below of ['', '/resource-policy', '/resource-policy/history']) {
      expect((await kbs.request('GET', path + below)).status).toBe(401)
    }
    for (const below of ['/check', '/resource-policy/rollback']) {
      expect((await post(kbs, below, '{}')).status).toBe(401)
    }
  })
})

describe('the history of the resource policy', () => {
  it('has every version, the initial one too, and tells which is in force', async () => {
    const kbs = await openTestKbs({ policy: presets.denyAll })
    await post(kbs, '', upload(presets.affirming))
    await post(kbs, '', upload(presets.allowAll))
    const { body } = await read(kbs, '/resource-policy/history')
    expect(body.active).toBe(hash(presets.allowAll))
    expect(body.versions).toMatchObject([
      { sha384: hash(presets.allowAll), origin: 'set' },
      { sha384: hash(presets.affirming), origin: 'set' },
      { sha384: hash(presets.denyAll), origin: 'found' },
    ])
    expect(body.versions[0]?.set_at).toMatch(/^\d{4}-/)
    const { body: old } = await read(kbs, `/resource-policy/history/${hash(presets.denyAll)}`)
    expect(Buffer.from(old.policy, 'base64url').toString()).toBe(presets.denyAll)
  })

  it('leads back: a rollback sets an old text, and is a version itself', async () => {
    const kbs = await openTestKbs({ policy: presets.denyAll })
    await post(kbs, '', upload(presets.allowAll))
    const body = JSON.stringify({ sha384: hash(presets.denyAll) })
    expect((await post(kbs, '/resource-policy/rollback', body)).status).toBe(200)
    expect((await read(kbs, '/resource-policy')).body.sha384).toBe(hash(presets.denyAll))
    const { versions } = (await read(kbs, '/resource-policy/history')).body
    expect(versions[0]).toMatchObject({ sha384: hash(presets.denyAll), origin: 'rollback' })
    expect(kbs.audits().at(-3)).toMatchObject({
      event: 'resource-policy-rollback',
      decision: 'allowed',
      policySha384: hash(presets.denyAll),
    })
  })

  it('leads nowhere else: an unknown version changes nothing and is on record', async () => {
    const kbs = await openTestKbs({ policy: presets.denyAll })
    const unknown = hash('never set')
    const answer = await post(kbs, '/resource-policy/rollback', JSON.stringify({ sha384: unknown }))
    expect(answer.status).toBe(404)
    expect(kbs.audits().at(-1)).toMatchObject({ decision: 'denied', policySha384: unknown })
    expect((await read(kbs, '/resource-policy')).body.sha384).toBe(hash(presets.denyAll))
    for (const body of ['{}', '{"sha384": "../x"}', 'no json', '[]']) {
      expect((await post(kbs, '/resource-policy/rollback', body)).status).toBe(400)
    }
  })

  it('has no version that did not compile', async () => {
    const kbs = await openTestKbs({ policy: presets.denyAll })
    expect((await post(kbs, '', upload('package policy\n\nallow if unheard_of(1)\n'))).status).toBe(400)
    expect((await read(kbs, '/resource-policy/history')).body.versions).toEqual([])
  })
})

describe('POST resource-policy/check', () => {
  it('tells errors with place, source line and remedy, and changes nothing', async () => {
    const kbs = await openTestKbs({ policy: presets.denyAll })
    const answer = await post(kbs, '/check', upload('package policy\n\nallow if unheard_of(1)\n'))
    expect(answer.status).toBe(200)
    const body = await answerOf(answer)
    expect(body.errors).toMatchObject([
      { code: 'unknown_function', line: 3, source_line: 'allow if unheard_of(1)' },
    ])
    expect(body.errors[0]?.remedy).not.toBe('')
    expect((await read(kbs, '/resource-policy')).body.sha384).toBe(hash(presets.denyAll))
    expect(kbs.audits().find(({ event }) => event === 'resource-policy-check')?.policySha384).toBe(
      body.sha384,
    )
  })

  it('warns of what compiles and is doubtful', async () => {
    const kbs = await openTestKbs()
    const text = 'package policy\n\nrelease if input.submods.cpu0["ear.statuss"] == "affirming"\n'
    const { errors, warnings } = await answerOf(await post(kbs, '/check', upload(text)))
    expect(errors).toEqual([])
    expect(warnings.map(({ code }) => code)).toEqual(['missing_rule', 'unknown_claim'])
  })
})

describe('any other POST below resource-policy', () => {
  it.each(['', '/x', '/x/y', '/resource-policy', '/check/more'])(
    'sets the policy, at "%s" too',
    async (below) => {
      const kbs = await openTestKbs({ policy: presets.denyAll })
      expect((await post(kbs, below, upload(presets.allowAll))).status).toBe(200)
      expect((await read(kbs, '/resource-policy')).body.sha384).toBe(hash(presets.allowAll))
    },
  )
})

describe('the log', () => {
  it('has the hash of a policy when it is loaded', async () => {
    const kbs = await openTestKbs({ policy: presets.denyAll })
    await kbs.deps.policy.decide({}, { plugin: 'resource', method: 'GET', resourcePath: [], query: {} })
    expect(kbs.log()).toContain(hash(presets.denyAll))
  })
})
